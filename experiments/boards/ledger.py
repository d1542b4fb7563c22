"""The ledger: what is to be said of each published number, given what it comes to here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .entries import BoardEntry, PublishedNumber
from .records import OwnRecord

REPRODUCED, NOT_REPRODUCED, CONTEXT = "reproduced", "not reproduced", "context only"
BEATEN, REACHED, NOT_REACHED = "beaten", "reached", "not reached"
UNDECIDED, NOT_RUN = "undecided", "not run yet"

#: What each status means, for the page.
MEANINGS = {
    REPRODUCED: "ours, its whole interval, lies within the tolerance of the published number",
    NOT_REPRODUCED: "it lies outside with its whole interval, or could not be run",
    BEATEN: "a learner of ours is better than the published one by more than tolerance and interval; "
    "theirs was not run again",
    REACHED: "a learner of ours is as good: no worse than the tolerance allows, with its whole interval",
    NOT_REACHED: "a learner of ours is worse by more than that",
    UNDECIDED: "the interval of ours reaches across the edge of the tolerance: more worlds, or seeds, would tell",
    CONTEXT: "another protocol or model, so that no number here could confirm or refute it",
    NOT_RUN: "nothing was run of it as it stands now",
}


@dataclass(frozen=True)
class LedgerLine:
    """What the ledger says of one published number.

    Attributes
    ----------
    entry, published
        The number and its instance.
    status, why
        One of :data:`MEANINGS`, and the reason.
    record
        What it is held against; None where there is nothing.
    """

    entry: BoardEntry
    published: PublishedNumber
    status: str
    why: str
    record: OwnRecord | None

    @property
    def percent(self) -> float | None:
        """Ours less theirs, in percent of theirs."""
        if self.record is None or self.record.value is None or not self.published.value:
            return None
        return 100 * (self.record.value - self.published.value) / abs(self.published.value)

    def to_dict(self) -> dict[str, Any]:
        """The line as a row of a table."""
        record, source = self.record, self.entry.of.source
        return {
            "board": self.entry.board,
            "instance": self.entry.name,
            "number": self.published.name,
            "kind": self.published.kind,
            "published": self.published.value,
            "published_error": self.published.error,
            "source": f"{source.authors} {source.year}, {source.published_in}",
            "status": self.status,
            "why": self.why,
            "ours": None if record is None else record.value,
            "ours_low": None if record is None else record.low,
            "ours_high": None if record is None else record.high,
            "difference_percent": self.percent,
            "tolerance": allowed(self.entry, self.published),
            "date": None if record is None else record.date,
            "commit": None if record is None else record.commit,
            "cpu_seconds": None if record is None else record.cpu_seconds,
            "command": command(self.entry) if record is None else record.command,
        }


def lines(entries: Sequence[BoardEntry], records: Mapping[tuple[str, str], OwnRecord]) -> list[LedgerLine]:
    """What the ledger says of every published number of these instances."""
    return [judged(entry, one, records) for entry in entries for one in entry.instance.published]


def judged(entry: BoardEntry, published: PublishedNumber, records: Mapping[tuple[str, str], OwnRecord]) -> LedgerLine:
    """What the ledger says of one published number."""
    if published.rerun is None and published.kind == "learner":
        record = best_learner(entry, records)
        status, why = _learned(entry, published, record)
    else:
        record = records.get((entry.name, published.name))
        status, why = _rerun(entry, published, record)
    if published.context:
        return LedgerLine(entry, published, CONTEXT, published.context, record)
    why = "; ".join(filter(None, (why, published.why if status in (NOT_REPRODUCED, NOT_REACHED) else "")))
    return LedgerLine(entry, published, status, why, record)


def _rerun(entry: BoardEntry, published: PublishedNumber, record: OwnRecord | None) -> tuple[str, str]:
    if record is None:
        return NOT_RUN, ""
    if record.value is None:
        return NOT_REPRODUCED, record.error
    room = allowed(entry, published)
    low, high = record.ends
    if max(abs(low - published.value), abs(high - published.value)) <= room:
        return REPRODUCED, ""
    if low - published.value > room or published.value - high > room:
        return NOT_REPRODUCED, f"ours is {_apart(record, published)}"
    return UNDECIDED, f"ours is {_apart(record, published)}, on the edge of the tolerance"


def _learned(entry: BoardEntry, published: PublishedNumber, record: OwnRecord | None) -> tuple[str, str]:
    if record is None:
        return NOT_RUN, ""
    if record.value is None:
        return NOT_REACHED, record.error
    sign = -1.0 if entry.protocol.profit else 1.0
    room, theirs = allowed(entry, published), sign * published.value
    low, high = sorted(sign * end for end in record.ends)
    said = f"ours, {record.name}, is {_apart(record, published)}"
    if high < theirs - room:
        return BEATEN, said
    if high <= theirs + room:
        return REACHED, said
    if low > theirs + room:
        return NOT_REACHED, said
    return UNDECIDED, said


def _apart(record: OwnRecord, published: PublishedNumber) -> str:
    assert record.value is not None
    apart = record.value - published.value
    percent = f"{100 * abs(apart) / abs(published.value):.2g} %" if published.value else f"{abs(apart):.3g}"
    return "equal" if not apart else f"{percent} {'above' if apart > 0 else 'below'}"


def allowed(entry: BoardEntry, published: PublishedNumber) -> float:
    """How far from a published number ours may be: its tolerance, its rounding and twice its own standard error."""
    share = entry.protocol.tolerance if published.tolerance is None else published.tolerance
    return share * abs(published.value) + entry.protocol.rounding * (1 + 1e-9) + 2 * published.error


def best_learner(entry: BoardEntry, records: Mapping[tuple[str, str], OwnRecord]) -> OwnRecord | None:
    """The best of our learners on an instance; one that failed only where there is no other."""
    found = [records.get((entry.name, name)) for name, rerun in entry.reruns.items() if rerun.how == "trained"]
    return _best(entry, found)


def best_rule(entry: BoardEntry, records: Mapping[tuple[str, str], OwnRecord]) -> OwnRecord | None:
    """The best of the rules that were run here on an instance."""
    rules = ("best", "stated", "tuned")
    found = [records.get((entry.name, name)) for name, rerun in entry.reruns.items() if rerun.how in rules]
    best = _best(entry, found)
    return None if best is None or best.value is None else best


def _best(entry: BoardEntry, records: Sequence[OwnRecord | None]) -> OwnRecord | None:
    there = [record for record in records if record is not None]
    done = [record for record in there if record.value is not None]
    sign = -1.0 if entry.protocol.profit else 1.0
    return min(done, key=lambda one: sign * (one.value or 0.0)) if done else next(iter(there), None)


@dataclass(frozen=True)
class PublishedClaim:
    """What a published learner gains, in percent of a rule, against the rule published beside it and the best one here."""

    line: LedgerLine
    against: PublishedNumber
    published: float
    rule: OwnRecord
    here: float

    @property
    def verdict(self) -> str:
        """What is left of the gain."""
        if self.here <= 0:
            return "gone"
        return "survives" if self.here >= 0.5 * self.published else "less than half is left"


def claims(entries: Sequence[BoardEntry], records: Mapping[tuple[str, str], OwnRecord]) -> list[PublishedClaim]:
    """Gains over rules that sources claim of learners, where rules were run here by the same protocol."""
    found = []
    for entry in entries:
        rule, sign = best_rule(entry, records), -1.0 if entry.protocol.profit else 1.0
        published = {one.name: one for one in entry.instance.published}
        for one in published.values():
            if one.gains_over and not one.context and rule is not None and rule.value is not None:
                against = published[one.gains_over]
                gains = [100 * sign * (base - one.value) / abs(base) for base in (against.value, rule.value)]
                found.append(PublishedClaim(judged(entry, one, records), against, gains[0], rule, gains[1]))
    return found


def command(entry: BoardEntry) -> str:
    """The command that re-runs an instance."""
    return f"echelongym board instances={entry.name}"


__all__ = [
    "MEANINGS",
    "LedgerLine",
    "PublishedClaim",
    "allowed",
    "best_learner",
    "best_rule",
    "claims",
    "command",
    "judged",
    "lines",
]
