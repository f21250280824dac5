"""The fenced blocks of the pages that people read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w.-]+)\n")
"""The first line of a block that is a file of a project."""
PICTURE = re.compile("[│─►]")


@dataclass(frozen=True)
class Block:
    """One block: its page, its language as the page names it, its text, and the `text` block straight after it."""

    page: str
    language: str
    text: str
    output: str | None

    def __str__(self) -> str:
        """As test ids and the table of exceptions name it: page and first line."""
        return f"{self.page}: {self.text.partition(chr(10))[0]}"

    @property
    def file(self) -> str:
        """The name of the project's file that it is, or an empty text."""
        found = FILE.match(self.text)
        return found[1] if found else ""

    @property
    def is_handler(self) -> bool:
        """Whether it is the source of a handler."""
        return self.language == "python" and "\nclass Handler" in f"\n{self.text}"

    @property
    def is_picture(self) -> bool:
        """Whether it is drawn with lines."""
        return not self.language and PICTURE.search(self.text) is not None


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page in order. An output block belongs to the block before it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    fences = re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)
    assert len(fences) == 2 * len(found), (
        f"{page}: a block begins with ``` and at most one word, at the start of a line"
    )
    for block, after in zip(found, [*found[1:], None], strict=False):
        follows = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
        if block[1] != "text":
            yield Block(page, block[1], block[2], after[2] if after is not None and follows else None)


BLOCKS = tuple(block for page in PAGES for block in blocks_of(page))
PROJECT_PAGES = ("README.md", "docs/writing-a-handler.md")
"""The pages that show a whole project."""


def write_project(page: str, folder: Path) -> Path:
    """Write the project's files that a page shows into `folder`, and return it."""
    for block in BLOCKS:
        if block.page == page and block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder
