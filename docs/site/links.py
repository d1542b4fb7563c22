"""Check links: in Markdown, as a code host follows them, and in the built site; internal links only, nothing is fetched.

python docs/site/links.py               the Markdown of the repository
python docs/site/links.py build/site    the site, too
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)*)>?(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


def pages(root: Path = ROOT) -> list[Path]:
    """Every Markdown file of the repository; the reference of the interface is made for the site alone."""
    api = root / "docs" / "reference" / "api"
    return sorted([*root.glob("*.md"), *(page for page in (root / "docs").rglob("*.md") if api not in page.parents)])


def slug(heading: str) -> str:
    """The anchor of a heading by the rule of code hosts: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The anchors of a page; a heading that comes again gets a number."""
    found: dict[str, int] = {}
    names = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        name = slug(heading)
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def links(text: str) -> list[str]:
    """Targets of the links and pictures of a page, code left out."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def broken_in_markdown(root: Path = ROOT) -> Iterator[str]:
    """A line for every link to a file or an anchor that is not there."""
    for page in pages(root):
        for target in links(page.read_text(encoding="utf-8")):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            where = f"{page.relative_to(root)}: {target}"
            if not file.exists():
                yield f"{where}: no such file"
            elif parts.fragment and file.suffix == ".md" and parts.fragment not in anchors(file.read_text("utf-8")):
                yield f"{where}: no such heading"


class _Page(HTMLParser):
    """The anchors and the links of a page of the site."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag names and what it leads to."""
        for key, value in attrs:
            if key in ("id", "name") and value:
                self.ids.add(value)
            if value and (key, tag) in {("href", "a"), ("href", "link"), ("src", "img"), ("src", "script")}:
                self.targets.append(value)


def broken_in_site(site: Path) -> Iterator[str]:
    """A line for every link of the built site that leads nowhere, and for whatever would be fetched from elsewhere."""
    read: dict[Path, _Page] = {}
    for file in sorted(site.rglob("*.html")):
        read[file.resolve()] = page = _Page()
        page.feed(file.read_text(encoding="utf-8"))
    for file, page in read.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = file if not parts.path else (file.parent / unquote(parts.path)).resolve()
            where = f"{file.relative_to(site.resolve())}: {target}"
            if not other.is_file():
                yield f"{where}: no such file"
            elif parts.fragment and other in read and unquote(parts.fragment) not in read[other].ids:
                yield f"{where}: no such anchor"


def main() -> int:
    """Print what is broken; 1 if anything is."""
    found = list(broken_in_markdown())
    checked = f"{sum(len(links(page.read_text('utf-8'))) for page in pages())} links in {len(pages())} Markdown files"
    for site in map(Path, sys.argv[1:]):
        found += broken_in_site(site)
        checked += f", {len(list(site.rglob('*.html')))} pages in {site}"
    print("\n".join([*found, f"{checked}: {len(found)} broken"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
