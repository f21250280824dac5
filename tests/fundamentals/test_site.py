"""The site that `make docs` builds: every page of docs/ is in it, and a reader needs no network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FETCHED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "object": "data"}
ELSEWHERE = re.compile(r"(?:https?:)?//")


class Page(HTMLParser):
    """The addresses that a browser fetches for a page, and the page's own links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if address := values.get(FETCHED.get(tag, "")):
            self.fetched.append(address)
        if tag == "a" and (address := values.get("href")):
            self.links.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a warning, such as one of a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = (str(Path(sys.executable).parent / "sphinx-build"), "-q", "--fail-on-warning", "--keep-going", "-c", "docs")
    command = [*build, "-d", str(folder / "trees"), ".", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def pages(site: Path) -> dict[str, Page]:
    """Every page by its path in the site."""
    return {str(path.relative_to(site)): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_document_is_a_page(site: Path) -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
    wanted = {str(path.relative_to(ROOT).with_suffix(".html")) for path in documents}
    assert wanted | {"index.html", "search.html"} <= pages(site).keys()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    fetched = [(name, address) for name, page in pages(site).items() for address in page.fetched]
    assert fetched
    assert [each for each in fetched if ELSEWHERE.match(each[1])] == []
    styles = [
        path.name
        for path in site.rglob("*.css")
        if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text())
    ]
    assert styles == []


def test_every_link_inside_the_site_leads_to_a_file(site: Path) -> None:
    for name, page in pages(site).items():
        for link in (*page.links, *page.fetched):
            path = re.split(r"[?#]", link)[0]
            if path and not re.match(r"[a-z]+:|//", link):
                assert (site / name).parent.joinpath(path).exists(), f"{name} links to {link}"


def test_the_search_finds_pages_without_a_server(site: Path) -> None:
    """A page may load a script from its folder, but fetch nothing else: so the index is a script."""
    assert "searchindex.js" in pages(site)["search.html"].fetched
    script = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))
    found = index["terms"]["retent"]  # the stem of "retention"
    names = {index["docnames"][number] for number in ([found] if isinstance(found, int) else found)}
    assert "docs/invariants" in names
