"""The site: `make docs` builds it with Sphinx, from README.md, the pages of docs/ and those of the examples.

The source folder is the repository, so that the links which work there work in the site. Nothing that a page shows is
fetched from elsewhere, and its search needs no server: the site can be read from a folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parent.parent
CHAPTERS: Final = {
    "Use": (
        "docs/glossary",
        "docs/writing-a-handler",
        "docs/cortex-yaml",
        "docs/concurrency",
        "docs/python-client",
        "docs/batches",
        "docs/cli",
        "docs/errors",
        "docs/from-cortex",
    ),
    "Operate": (
        "docs/running-a-stack",
        "docs/images",
        "docs/kubernetes",
        "docs/autoscaling",
        "k8s/RUNBOOK",
        "docs/redis-and-s3",
        "docs/architecture",
        "docs/settings",
        "docs/limits",
        "docs/sizing",
        "docs/benchmark",
        "docs/metrics",
        "docs/invariants",
    ),
    "Examples": ("examples/README", "examples/*/README"),
    "Develop": ("CONTRIBUTING", "CHANGELOG"),
}
"""The pages of the site, under the headings of their chapters."""
PAGES: Final = {
    title: [
        path.relative_to(ROOT).with_suffix("").as_posix() for name in names for path in sorted(ROOT.glob(f"{name}.md"))
    ]
    for title, names in CHAPTERS.items()
}

project = "Insula"
html_title = "Insula"
html_theme = "furo"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
extensions = ["myst_parser"]
myst_heading_anchors = 3
root_doc = "README"
include_patterns = [f"{page}.md" for page in (root_doc, *(page for pages in PAGES.values() for page in pages))]
exclude_patterns = [".*", "build", "tests"]


def write_contents(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001 - the event's signature
    """Put the list of chapters behind the first page, and lead links to a folder to its README."""

    def to_readme(link: re.Match[str]) -> str:
        is_folder = (ROOT / page).parent.joinpath(link[1]).is_dir()
        return f"]({link[1].rstrip('/')}/README.md)" if is_folder else link[0]

    text = re.sub(r"\]\(([\w./-]+)\)", to_readme, source[0])
    if page == root_doc:
        for title, pages in PAGES.items():
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])
    source[0] = text


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Let the first page be found under the name that servers and people look for."""
    if error is None:
        first = Path(app.outdir, f"{root_doc}.html").read_text(encoding="utf-8")
        Path(app.outdir, "index.html").write_text(first, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", write_contents)
    app.connect("build-finished", write_index)
