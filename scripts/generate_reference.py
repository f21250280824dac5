"""Write the pages of docs/ that come from the code, and docs/cortex.schema.json.

With `--check` nothing is written: the exit code says whether all are what they would be.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from insula.project.fields import INTEGER_MAX, Amount, Duration, Field, Integer, Number, RelativePath, Share, Text
from insula.project.keys import API
from insula.project.rules import ENDPOINT_SEGMENTS_MAX, ENDPOINTS_RESERVED
from insula.project.schema import config_schema, default_of, duration_text, meaning
from insula.project.sections import RESERVED_PREFIXES, Environment, FreeForm, Section, Sections, Texts
from scripts.reference import errors, settings

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = Path("docs/cortex.schema.json")
REFERENCE = Path("docs/cortex-yaml.md")

INTRODUCTION = f"""\
# cortex.yaml

Written by `make reference` from the table that reads the file (src/insula/project/keys.py); do not edit.

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


WORDS: Mapping[type, str] = {
    RelativePath: "path below the project directory",
    Share: "number of replicas, or a percentage such as `25%`",
    Texts: "list of texts",
    Environment: f"map of scalars; no name starts with {' or '.join(RESERVED_PREFIXES)}",
    FreeForm: "map of anything JSON can hold",
    Section: "map",
    Sections: "list of maps",
}
"""What the kinds without bounds take."""


def rows(section: Section, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield every key below `section` with its dotted path, in the order of the table."""
    for name, field in section.keys.items():
        path = f"{prefix}{name}"
        yield path, field
        match field:
            case Section():
                yield from rows(field, f"{path}.")
            case Sections():
                yield from rows(field.item, f"{path}.")
            case _:
                pass


def value_text(field: Field) -> str:
    """What a key takes, in words."""
    match field:
        case Text():
            return _text(field)
        case Integer() | Number():
            return _number(field)
        case Duration():
            least = f", at least {duration_text(field.minimum)}" if field.minimum else ""
            step = f", a multiple of {duration_text(field.multiple_of)}" if field.multiple_of else ""
            return f"duration such as `90s` or `1h30m`{least}{step}"
        case Amount():
            least = f", at least {field.minimum}" if field.minimum.amount else ""
            return f"quantity such as `200m`, `1.5` or `20Mi`{least}"
        case _:
            return WORDS[type(field)]


def _text(field: Text) -> str:
    if field.choices:
        return " or ".join(f"`{choice}`" for choice in field.choices)
    if not field.pattern:
        return "text"
    limit = f", at most {field.characters_max} characters" if field.characters_max < Text().characters_max else ""
    pattern = field.pattern.replace("|", "\\|")
    return f"text matching `{pattern}`{limit}"


def _number(field: Integer | Number) -> str:
    if isinstance(field, Integer):
        bounded = field.maximum < INTEGER_MAX
        return f"whole number, {field.minimum} {f'to {field.maximum}' if bounded else 'or more'}"
    bounds = (("at least", field.minimum), ("above", field.above), ("below", field.below))
    return ", ".join(["number", *(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))])


def default_text(field: Field) -> str:
    """What leaving the key out means."""
    if field.required:
        return "required"
    default = default_of(field)
    return "" if default is None else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def reference() -> str:
    """The text of docs/cortex-yaml.md."""
    lines = [
        f"| `{path}` | {value_text(field)} | {default_text(field)} | {meaning(path)} |" for path, field in rows(API)
    ]
    head = ["## Keys", "", "| key | value | default | what it is for |", "|---|---|---|---|"]
    return "\n".join([INTRODUCTION, *head, *lines, "", TOGETHER])


def main(*, check: bool) -> int:
    """Write the files, or compare them; 0 unless they differ."""
    made = {SCHEMA: json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n", REFERENCE: reference()}
    made |= {Path(f"docs/{each.__name__.rpartition('.')[2]}.md"): each.page() for each in (errors, settings)}
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
