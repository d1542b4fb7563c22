"""The field's language: words of the project's own that a reader would have to guess stand in no text that is shipped."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest
from checkout import CHECKOUT

#: What may not stand in a text (a pattern, any case), and what is written instead.
WORDS = {
    r"information at a price\b": "information-relaxation bound",
    r"further lanes?\b": "secondary lane",
    r"short positions?\b": "expedited inventory position",
    r"judged worlds?\b": "validation worlds",
    r"(discrete|random|few|other|of its) moves\b": "discrete actions",
    r"yardsticks?\b": "baselines and bounds",
    r"price of missed\b": "Lagrange multipliers",
    r"under way\b": "in transit, the pipeline; running, of a command",
    r"what is missed\b": "shortfall, missed target",
    r"a hair\b": "tolerance",
    r"dear(er|est)?\b": "expensive",
    r"floor under\b": "baseline",
}
PATTERN = re.compile(r"\b(" + "|".join(WORDS) + ")", re.IGNORECASE)


def shipped() -> list[Path]:
    """Files with texts that a reader meets: code, configs, pages."""
    code = [path for room in ("envs", "agents", "experiments") for path in (CHECKOUT / room).rglob("*.py")]
    configs = [*(CHECKOUT / "configs").rglob("*.yaml")]
    pages = [
        CHECKOUT / "README.md",
        CHECKOUT / "CHANGELOG.md",
        CHECKOUT / "CONTRIBUTING.md",
        *(CHECKOUT / "docs").rglob("*.md"),
    ]
    return sorted(path for path in [*code, *configs, *pages] if "api" not in path.parts)


def texts(path: Path) -> list[tuple[int, str]]:
    """Line and text of all that is prose: comments and strings of a module, all of another file."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [(1, content)]
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    found = tokenize.generate_tokens(io.StringIO(content).readline)
    return [(token.start[0], token.string) for token in found if token.type in kinds]


def private(text: str) -> list[tuple[int, str, str]]:
    """Lines below the first of a text, words found on them, and what to write instead."""
    flat = re.sub(r"\s+#?\s*", lambda gap: " " * len(gap[0]), text)  # a word may be broken over two lines
    spaced = re.compile(PATTERN.pattern.replace(" ", r"\s+"), re.IGNORECASE)
    found = []
    for match in spaced.finditer(flat):
        words = re.sub(r"\s+", " ", match[0])
        instead = next(better for word, better in WORDS.items() if re.fullmatch(word, words, re.IGNORECASE))
        found.append((text.count("\n", 0, match.start()), words, instead))
    return found


def test_shipped_texts_speak_the_language_of_the_field() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}:{line + below}: {words!r}: write {instead}"
        for path in shipped()
        for line, text in texts(path)
        for below, words, instead in private(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("units under way", [(0, "under way")]),
        ("A further\n    lane", [(0, "further lane")]),
        ("# one\n# is a hair\n# below", [(1, "a hair")]),
        ("Dearer", [(0, "Dearer")]),
        ("in transit, further on, a secondary lane; hairy", []),
    ],
)
def test_words_are_found_wherever_a_line_breaks(text: str, expected: list[tuple[int, str]]) -> None:
    assert [(line, word) for line, word, _ in private(text)] == expected
