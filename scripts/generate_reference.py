"""Writes the pages of docs/ that are generated from the code, and docs/cortex.schema.json.

With `--check` it writes nothing; the exit code is 0 if all files are up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from insula.project.configuration.kinds import Schema
from insula.project.configuration.rules import ENDPOINT_SEGMENTS_MAX, ENDPOINTS_RESERVED
from insula.project.configuration.sections import Key
from insula.project.configuration.spec import API
from insula.project.configuration.tree import Json
from scripts.reference import cli, errors, limits, metrics, settings

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = Path("docs/cortex.schema.json")
REFERENCE = Path("docs/cortex-yaml.md")

INTRODUCTION = f"""\
# cortex.yaml

Written by `make reference` from the dataclasses that the file is read into (insula.project.configuration.spec); do not
edit.

The file is a list of APIs. A key that is not below is an error, and so is one given twice; null is the same as leaving
the key out. An error names file, API, key, line and column. The smallest file:

```yaml
# yaml-language-server: $schema=../../docs/cortex.schema.json
- name: my-api
  kind: AsyncAPI
  handler:
    type: python
    path: handler.py
```

The first line is for editors with a YAML language server: they complete keys, show what each is for and underline
mistakes. It holds the path from the configuration to [{SCHEMA.name}]({SCHEMA.name}); copy that file to wherever suits.

Some keys are for clusters and have no effect on one machine, where each API has one worker. The table says so, and
`insula up` and `insula deploy` name those that you set.
"""

TOGETHER = f"""\
## What keys have to do with each other

- `name` and `networking.endpoint` are unique in the file, and over all directories of one `insula up`.
- `min_replicas` <= `init_replicas` <= `max_replicas`; `target_replica_concurrency` <= `max_replica_concurrency`.
- `max_surge` and `max_unavailable` are not both zero; `gpu` and `inf` are not both requested.
- `handler.models` is required by the type tensorflow and refused for the type python; it has exactly one of `path`,
  `paths` and `dir`, and the names in `paths` differ.
- An endpoint has at most {ENDPOINT_SEGMENTS_MAX} parts between slashes, no empty one, no `.` or `..`, and is none of
  {", ".join(f"`{each}`" for each in sorted(ENDPOINTS_RESERVED))}.
- Paths lie inside the project directory. The three files of `handler.dependencies` may be missing under their default
  names; under a name of your own they must exist.

The schema knows keys, kinds and bounds; these rules only `insula up` and `insula deploy` check.
"""


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
    default = "required" if key.required else default_text(key.written_default)
    return f"| `{path}` | {words} | {default} | {key.meaning} |"


def reference() -> str:
    """Return the text of docs/cortex-yaml.md."""
    head = ["## Keys", "", "| key | value | default | what it is for |", "|---|---|---|---|"]
    return "\n".join([INTRODUCTION, *head, *(row(path, key) for path, key in API.all_keys()), "", TOGETHER])


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
