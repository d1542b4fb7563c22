"""The page of the boards, ``docs/boards.md``: the ledger, our records, and claims that did not survive tuning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from echelongym.envs.scenario.overrides import dotted

from .entries import BoardEntry, PublishedBoard, by_board
from .ledger import CONTEXT, MEANINGS, NOT_RUN, LedgerLine, PublishedClaim, claims, lines
from .records import OwnRecord, Records, valid

WIDTH = 116  # characters of a line of prose
MOST_SHOWN = 12  # numbers of one parameter that a row shows

_HEAD = """<!-- Made by `echelongym board ledger=docs`: do not edit. -->

# Boards: published instances

Instances of the field as scenario files, the numbers that were published of them, and what they come to here. The
entries are `configs/board/*.yaml`: scenario, source, protocol, published numbers, what is run, assumptions and
tolerance. `boards.json` and `boards.csv` beside this page hold its figures.

```sh
echelongym board                                         # list the instances
echelongym board instances=zheng_federgruen              # re-run one: a name, a board, a pattern, [a, b], or all
echelongym board instances=all trainings=false           # rules and optima alone
echelongym board instances='lost_sales_*' ledger=docs    # and bring this page up to date with what was found
```
"""


def page(entries: Sequence[BoardEntry], records: Records) -> str:
    """The whole page as Markdown."""
    known = valid(entries, records)
    found = lines(entries, known)
    parts = [_HEAD, _summary(found), *(_board(board, mine, found) for board, mine in by_board(entries))]
    parts += [_records(entries, known), _claims(claims(entries, known))]
    return "\n".join(parts).rstrip() + "\n"


def _summary(found: Sequence[LedgerLine]) -> str:
    counts = {status: sum(line.status == status for line in found) for status in MEANINGS}
    rows = [[status, str(counts[status]), meaning] for status, meaning in MEANINGS.items() if counts[status]]
    return f"## The ledger in short\n\n{table(['status', 'numbers', 'meaning'], rows)}"


def _board(board: PublishedBoard, mine: Sequence[BoardEntry], found: Sequence[LedgerLine]) -> str:
    source, protocol = board.source, board.protocol
    facts = [f"{source.authors} ({source.year}), {source.published_in}. Protocol: {protocol.theirs}."]
    share = [f"{100 * protocol.tolerance:.3g} %"] if protocol.tolerance else []
    share += [f"{protocol.rounding:g} for rounding"] if protocol.rounding else []
    facts += [f"Here: {_ours(mine[0])}; tolerance {' and '.join(share) or 'none'}."]
    text = [f"## {board.title}", "", wrapped(" ".join(facts)), ""]
    assumed = [*board.assumptions, *(f"`{one.name}`: {text}" for one in mine for text in one.instance.assumptions)]
    text += [*(wrapped(f"- Assumed: {one}.", "  ") for one in assumed), *([""] if assumed else [])]
    rows = []
    for line in (line for line in found if line.entry in mine):
        record = line.record
        rows.append(
            [
                f"`{line.entry.name}`: {line.published.name}",
                number(line.published.value, 10) + (f" ({line.published.error:g})" if line.published.error else ""),
                "" if record is None else interval(record),
                "" if line.percent is None else f"{line.percent:+.2f} %",
                f"**{line.status}**" if line.status not in (CONTEXT, NOT_RUN) else line.status,
                line.why,
            ]
        )
    text.append(table(["number", "published (se)", "ours", "difference", "status", "why"], rows))
    return "\n".join(text)


def _ours(entry: BoardEntry) -> str:
    protocol = entry.protocol
    counted = "those of the scenario" if protocol.periods is None else f"{protocol.periods:,}"
    warm_up = "" if protocol.warm_up is None else f" after {protocol.warm_up:,}"
    simulated = f"{protocol.worlds:,} worlds, periods {counted}{warm_up}"
    if protocol.measure == "long_run":
        simulated = "long-run average, exact" + (f", or {simulated}" if protocol.periods else "")
    parts = ", by store" if entry.instance.stores != 1 else ""
    parts += f", times {protocol.multiple:g}" if protocol.multiple != 1 else ""
    kind = {"long_run": "", "average": ", a period", "total": ", of all counted periods"}[protocol.measure]
    return f"{simulated}{kind}{parts}"


def _records(entries: Sequence[BoardEntry], known: Records) -> str:
    rows = []
    for entry in entries:
        for (instance, name), record in known.items():
            if instance != entry.name or record.value is None:
                continue
            rerun = entry.reruns[name]
            seeds = ", ".join(map(str, record.seeds))
            rows.append(
                [
                    f"`{instance}`: {name}",
                    interval(record),
                    _above_optimum(entry, record, known),
                    said(rerun.policy, record.parameters),
                    f"{record.cpu_seconds:.1f}" + (f" of {record.budget:g}" if record.budget else ""),
                    seeds,
                    record.date,
                    f"`{record.commit}`" if record.commit else "",
                    f"`{record.command}`",
                ]
            )
    head = ["ours", "value", "above the optimum", "by", "CPU-seconds", "seeds", "date", "commit", "command"]
    note = (
        "CPU-seconds are of solving or tuning with the evaluation, or of the training alone (of its budget). A `+` behind a "
        "commit: files had been changed since. A range in brackets is a 95 % interval over worlds and training seeds; "
        "without one the value is exact. "
    )
    return f"## Records: what the instances come to here\n\n{wrapped(note)}\n\n{table(head, rows)}"


def _above_optimum(entry: BoardEntry, record: OwnRecord, known: Records) -> str:
    """How far a record is above the optimum found here, in percent, where there is one in the same units."""
    names = [name for name, rerun in entry.reruns.items() if rerun.how == "optimum"]
    least = known.get((entry.name, names[0])) if names else None
    if least is None or least is record or not least.value or record.value is None:
        return ""
    return f"{100 * (record.value / least.value - 1):.3f} %"


def _claims(found: Sequence[PublishedClaim]) -> str:
    text = ["## Claims that did not survive tuning, and those that did", ""]
    note = (
        "What a published learner gains over the rule that its source compares it with, and over the best rule that was run "
        "here by the same protocol. Where the second is much less, the gain was in the rule's levels, not in learning."
    )
    text += [wrapped(note), ""]
    rows = [
        [
            f"`{one.line.entry.name}`: {one.line.published.name}",
            f"{one.against.name}, {number(one.against.value)}",
            f"{one.published:.1f} %",
            f"{one.rule.name}, {interval(one.rule)}",
            f"{one.here:+.1f} %",
            f"**{one.verdict}**" if one.verdict != "survives" else one.verdict,
            "" if one.line.record is None else f"{interval(one.line.record)} ({one.line.status})",
        ]
        for one in sorted(found, key=lambda one: one.here)
    ]
    head = ["claim", "published rule", "gain", "best rule here", "gain over it", "what is left", "our learner"]
    return "\n".join([*text, table(head, rows) if rows else "None was looked at yet."])


def said(policy: str | None, parameters: Mapping[str, Any]) -> str:
    """A rule with its parameters in short: ``echelon_base_stock store 25``."""
    names: dict[str, list[str]] = {}
    for key, value in dotted(parameters):
        if isinstance(value, int | float) and not isinstance(value, bool):
            names.setdefault(key.partition(".")[0], []).append(f"{value:.4g}")
    listed = "; ".join(f"{key} {', '.join(values)}" for key, values in names.items() if len(values) <= MOST_SHOWN)
    return f"{policy or 'optimum'}{f' ({listed})' if listed else ''}"


def number(value: float | None, digits: int = 6) -> str:
    """A number with so many digits, or with one behind the point where it is large."""
    if value is None:
        return ""
    return f"{value:,.1f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"


def interval(record: OwnRecord) -> str:
    """A value with its interval, unless it is exact."""
    if record.value is None:
        return ""
    low, high = record.ends
    if record.exact and high - low <= 1e-6 * abs(record.value):
        return number(record.value, 9)
    return f"{number(record.value)} [{number(low)}, {number(high)}]"


def wrapped(text: str, indent: str = "") -> str:
    """Prose in lines of a page; those after the first are indented."""
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    cells = [[text.replace("|", "/").replace("\n", " ") for text in row] for row in rows]
    text = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in cells)]
    return "\n".join(text) + "\n"


__all__ = ["interval", "number", "page", "said", "table"]
