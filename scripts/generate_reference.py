"""Writes the pages of docs/ that are generated from the code, and docs/cortex.schema.json.

With `--check` it writes nothing; the exit code is 0 if all files are up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from insula.project.configuration.effects import WITHOUT_EFFECT as WITHOUT_EFFECT_PATHS
from insula.project.configuration.kinds import Schema
from insula.project.configuration.rules import ENDPOINT_SEGMENTS_MAX, ENDPOINTS_RESERVED
from insula.project.configuration.sections import NO_EFFECT, Key
from insula.project.configuration.spec import API
from insula.project.configuration.tree import Json
from scripts.reference import cli, errors, limits, metrics, settings

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = Path("docs/cortex.schema.json")
REFERENCE = Path("docs/cortex-yaml.md")

INTRODUCTION = f"""\
# cortex.yaml

<!-- Written by `make reference` from the dataclasses that the file is read into (insula.project.configuration.spec); do
not edit. -->

The file is a list of APIs. Its format is that of Cortex 0.35. This is the smallest file:

```yaml
- name: my-api
  kind: AsyncAPI
  handler:
    type: python
    path: handler.py
```

An unknown key is an error, and so is a key that is given twice. Null is the same as leaving the key out. An error
message has the file, the API, the key, the line and the column. [Writing a handler](writing-a-handler.md) explains the
class; the [glossary](glossary.md) explains the words of this page.

An editor with a YAML language server completes keys, shows what each is for and underlines mistakes. Copy
[{SCHEMA.name}]({SCHEMA.name}) from `docs/` of this repository into your project, and make this the first line of the
file:

```yaml
# yaml-language-server: $schema={SCHEMA.name}
```

## Keys

Every key may be left out, unless its default is `required`. A replica is one worker with its handler processes; on one
machine each API has one, or as many as `insula up --replicas` says.
"""

WITHOUT_EFFECT = """\
## Keys without effect on one machine

These keys are for [Kubernetes](kubernetes.md), where `handler.tensorflow_serving_image` has no effect either. `insula
up` checks and keeps them, and prints a warning if you set one. So does `insula deploy` to a stack on this machine.
"""

TENSORFLOW = """\
## An API with TensorFlow

The constructor of `type: tensorflow` gets a `tensorflow_client` for the SavedModels. With one `path`,
`tensorflow_client.predict(model_input)` needs no name. With `paths` or `dir`, the second argument is the name of a
model. See [TensorFlow](from-cortex.md#tensorflow).

```yaml
- name: waveforms
  kind: AsyncAPI
  handler:
    type: tensorflow
    path: handler.py
    models:
      paths:
        - name: large
          path: s3://my-bucket/models/large/
        - name: small
          path: s3://my-bucket/models/small/
```
"""

TOGETHER = f"""\
## Rules for several keys

The schema does not check these rules. `insula up` and `insula deploy` do.

- `name` and `networking.endpoint` are unique in the file, and in all projects of one `insula up`.
- `min_replicas` <= `init_replicas` <= `max_replicas`, and `target_replica_concurrency` <= `max_replica_concurrency`.
- `max_surge` and `max_unavailable` are not both zero. `gpu` and `inf` are not both above zero.
- `handler.max_memory_per_process` is less than `compute.mem`, which is the limit of all processes together.
- `handler.models` is required for `type: tensorflow` and refused for `type: python`. It has exactly one of `path`,
  `paths` and `dir`. The names in `paths` differ.
- An endpoint has at most {ENDPOINT_SEGMENTS_MAX} parts between slashes, no empty one, no `.` or `..`. These endpoints
  are reserved: {", ".join(f"`{each}`" for each in sorted(ENDPOINTS_RESERVED))}. `/healthz` answers `ok`; the others
  answer 404.
- Paths lie inside the project directory. The three files of `handler.dependencies` may be missing under their default
  names. Under a name of your own they must exist.
"""
DEFAULTS = {
    "handler.config": "`{}`",
    "autoscaling.init_replicas": "`min_replicas`",
    "autoscaling.target_replica_concurrency": "1",
    "compute.mem": "no limit",
    "handler.max_requests_per_process": "no limit",
    "handler.max_memory_per_process": "no limit",
    "networking.endpoint": "`/<name>`",
}
"""Texts in the column `default`, for keys whose default is another key's value, or is clearer in other words."""


def config_schema() -> Schema:
    """Return the JSON Schema of a configuration file, for editors."""
    described = {"title": "cortex.yaml", "description": "The APIs of one project."}
    return {**described, "type": "array", "minItems": 1, "items": API.schema}


def default_text(default: Json) -> str:
    """Return the default of a key as Markdown code."""
    return "" if default is None else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def row(path: str, key: Key) -> str:
    """Return the table's row for one key."""
    words = key.kind.words.replace("|", "\\|")
    default = "required" if key.required else DEFAULTS.get(path) or default_text(key.written_default)
    meaning = key.meaning.removesuffix(NO_EFFECT).rstrip()
    return f"| `{path.replace('.paths.', '.paths[].')}` | {words} | {default} | {meaning} |"


def table(rows: Iterable[str]) -> str:
    """The rows as a table of Markdown."""
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows, ""])


def reference() -> str:
    """The text of docs/cortex-yaml.md."""
    rows = {path: row(path, key) for path, key in API.all_keys()}
    idle = table(rows.pop(path) for path in WITHOUT_EFFECT_PATHS)
    return "\n".join([INTRODUCTION, table(rows.values()), TENSORFLOW, TOGETHER, WITHOUT_EFFECT, idle])


def main(*, check: bool) -> int:
    """Write the files, or compare them if `check`. Return 0 unless they differ."""
    made = {SCHEMA: json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n", REFERENCE: reference()}
    pages = (cli, errors, limits, metrics, settings)
    made |= {Path(f"docs/{each.__name__.rpartition('.')[2]}.md"): each.page() for each in pages}
    stale = [path for path, text in made.items() if not (ROOT / path).is_file() or (ROOT / path).read_text() != text]
    if check and stale:
        print(f"not what the code says; run `make reference`: {', '.join(map(str, stale))}")
        return 1
    for path in stale:
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(check=sys.argv[1:] == ["--check"]))
