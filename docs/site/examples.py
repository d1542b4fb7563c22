"""The page of the examples: scripts of docs/examples with what they print.

    python docs/site/examples.py            run all of them and keep what they print
    python docs/site/examples.py own_rule   one

The page shows what is kept in docs/examples/output; the tests run the scripts and compare.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from texts import first_paragraph

DOCS = Path(__file__).parent.parent
PAGE = "reference/examples.md"
ORDER = ("own_network", "sb3_by_hand", "own_rule", "pathwise_training", "read_and_export")
HEAD = """# Examples

Five scripts, each a few seconds long, from `docs/examples/`. They write into the folder in which they are run. The tests run
them; last digits differ from one machine to another.
"""


def words(text: str) -> str:
    """What a script printed without numbers and spacing, which differ from machine to machine."""
    return re.sub(r"[\s─]+", " ", re.sub(r"[+-]?\d[\d,.]*%?", "#", text)).strip()


def page() -> str:
    """The page as Markdown."""
    lines = [HEAD]
    for name in ORDER:
        code = (DOCS / "examples" / f"{name}.py").read_text(encoding="utf-8")
        doc = re.match(r'"""(.*?)"""\n+', code, re.DOTALL)
        title, _, about = first_paragraph(doc[1] if doc else name).partition(": ")
        body = code[doc.end() :] if doc else code
        printed = (DOCS / "examples" / "output" / f"{name}.txt").read_text(encoding="utf-8").rstrip()
        lines += [f"## {title}", "", f"{about[:1].upper()}{about[1:]} `python docs/examples/{name}.py`", ""]
        lines += [f"```python\n{body.rstrip()}\n```", "", f"prints\n\n```\n{printed}\n```", ""]
    return "\n".join(lines)


def main() -> None:
    """Run what is named, or all, and keep what is printed."""
    folder = DOCS / "examples" / "output"
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"COLUMNS": "100", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    for name in sys.argv[1:] or ORDER:
        with tempfile.TemporaryDirectory() as work:
            script = DOCS / "examples" / f"{name}.py"
            call = [sys.executable, str(script)]
            done = subprocess.run(call, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: exit code {done.returncode}\n{done.stderr}")
        kept = "\n".join(line.rstrip() for line in done.stdout.splitlines())
        (folder / f"{name}.txt").write_text(kept.strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
