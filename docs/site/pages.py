"""Write the pages that are made from the code; `make docs` calls this before it builds the site.

python docs/site/pages.py            write them into docs/
python docs/site/pages.py --check    say which are not what the code says, and write nothing
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).parent.parent
sys.path.insert(0, str(DOCS / "site"))

from wrapping import wrapped  # noqa: E402

NOTE = "<!-- Made by `make docs` from {}: do not edit. -->\n\n"
#: Modules here that make a page each, and what from.
MADE_FROM = {
    "scenario_keys": "the models of the scenario file",
    "gallery": "configs/scenario",
    "examples": "docs/examples",
    "architecture": "the packages and their imports",
}


def made(names: Iterable[str] = MADE_FROM) -> dict[Path, str]:
    """Text of generated pages that the repository keeps, by path."""
    found = {}
    for name in names:
        module = importlib.import_module(name)
        found[DOCS / module.PAGE] = wrapped(NOTE.format(MADE_FROM[name]) + module.page().rstrip() + "\n")
    return found


def stale(names: Iterable[str] = MADE_FROM) -> list[str]:
    """Pages that differ from what the code says."""
    return [
        str(path.relative_to(DOCS.parent))
        for path, text in made(names).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write or check."""
    if "--check" in sys.argv[1:]:
        found = stale()
        print("\n".join(f"{page}: not what the code says: run make docs" for page in found))
        return bool(found)
    for path, text in made().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    importlib.import_module("api").write(DOCS / "reference" / "api")
    return 0


if __name__ == "__main__":
    sys.exit(main())
