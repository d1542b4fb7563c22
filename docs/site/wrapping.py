"""Lines of Markdown kept below 120 characters: ``python docs/site/wrapping.py FILE ...`` wraps paragraphs of longer ones.

Tables, blocks of code, headings and HTML stay as they are.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

LONGEST = 119  # characters of a line
WIDTH = 116  # of a paragraph that is wrapped, so that a word more does not move all of its lines
_ITEM = re.compile(r"( *)([-*+]|\d+\.)( +(?:\[[ x]\] )?)")
_FIXED = re.compile(r" *(\||#|<|!\[|\{|\$\$|:::)")
_WHOLE = re.compile(r"`[^`]+`|\[[^\]]{1,60}\]\([^)]*\)|<!--.*?-->|\[[^\[\]]{1,30}\]")
_MOST = 80  # characters of code or of a link that are kept on one line
_GAP = "\x00"


def long_lines(text: str) -> list[int]:
    """Numbers of the lines of prose that are too long, from 1."""
    lines = text.split("\n")
    return [number for number, prose in enumerate(_prose(lines), 1) if prose and len(lines[number - 1]) > LONGEST]


def wrapped(text: str) -> str:
    """The text with every paragraph wrapped that has too long a line."""
    lines = text.split("\n")
    out: list[str] = []
    paragraph: list[str] = []
    for line, prose in zip(lines, _prose(lines), strict=True):
        if paragraph and (not prose or _ITEM.match(line)):
            out += _paragraph(paragraph)
            paragraph = []
        if prose:
            paragraph.append(line)
        else:
            out.append(line)
    return "\n".join([*out, *_paragraph(paragraph)])


def _prose(lines: list[str]) -> Iterator[bool]:
    """Whether each line is part of a paragraph or of an item of a list."""
    fence = ""
    for line in lines:
        mark = re.match(r" *(`{3,}|~{3,})", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
            yield False
        else:
            yield not fence and bool(line.strip()) and not _FIXED.match(line)


def _paragraph(lines: list[str]) -> list[str]:
    if not any(len(line) > LONGEST for line in lines):
        return lines
    item = _ITEM.match(lines[0])
    first = item[0] if item else " " * (len(lines[0]) - len(lines[0].lstrip()))
    later = " " * len(first) if item else first
    if item and len(lines) > 1:
        later = " " * (len(lines[1]) - len(lines[1].lstrip()))
    words = " ".join(line.strip() for line in lines)[len(first.strip()) :].strip()
    whole = _WHOLE.sub(lambda match: match[0].replace(" ", _GAP) if len(match[0]) <= _MOST else match[0], words)
    whole = re.sub(r" (?=(?:[-+*#>|]|\d+\.) )", _GAP, whole)  # would begin a list, a heading or a table
    filled = textwrap.wrap(
        whole, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_GAP, " ") for line in filled]


def main() -> None:
    """Wrap the files named."""
    for name in sys.argv[1:]:
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        if long_lines(text):
            path.write_text(wrapped(text), encoding="utf-8")


if __name__ == "__main__":
    main()
