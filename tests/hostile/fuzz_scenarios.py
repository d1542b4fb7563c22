"""Hostile scenarios: every key of three of them in some twenty ways, texts that are no YAML, tables, ranges."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_inputs import Case, Nonsense

from echelongym.agents import load_policy
from echelongym.envs import Network, Scenario, simulate

CATEGORIES = (
    "scenario key",
    "scenario structure",
    "YAML text",
    "network table",
    "demand table",
    "randomise",
    "override",
)

WHOLE = {
    "name": "whole",
    "units": "integer",
    "horizon": 12,
    "warm_up": 2,
    "products": {"milk": {"shelf_life": 3, "volume": 1.5}, "bread": {}},
    "nodes": {
        "plant": {"kind": "supplier", "capacity": 60},
        "store": {"holding_cost": {"milk": 1.0, "bread": 0.5}, "disposal_cost": 2.0, "initial": 6, "fixed_cost": 0.1},
    },
    "lanes": {
        "road": {"source": "plant", "target": "store", "lead_time": 2, "batch": {"milk": 4}, "priority": 2},
        "back": {"source": "shoppers", "target": "store", "lead_time": 1, "return_share": 0.1, "recovery": 0.5},
    },
    "customers": {
        "shoppers": {
            "sources": {"store": {"acceptance": 0.5, "products": ["milk", "bread"]}},
            "demand": {
                "milk": {"kind": "discrete", "values": [0, 2, 5], "probabilities": [0.2, 0.5, 0.3]},
                "bread": {"kind": "negative_binomial", "mean": 3, "dispersion": 0.5},
            },
            "lost_share": 0.5,
            "patience": {"milk": 2, "bread": 1},
            "lost_sale_cost": 9,
            "backorder_cost": 1,
            "issuing": "lifo",
            "targets": {"fill_rate": 0.9, "served_within": {"periods": 2, "share": 0.9}},
        }
    },
    "observe": {"history": 3, "lead_time": "quoted", "demand": "sales"},
    "targets": {"waste_share": 0.1},
    "reward_scale": 10.0,
}


@cache
def bases() -> dict[str, dict[str, Any]]:
    """Three scenarios as plain data: with every common feature, with recorded demand, in whole units with a shelf life."""
    grocery = Scenario.load("grocery").to_dict()
    shops = list(grocery["customers"])[:2]
    synthetic = {
        "kind": "trace",
        "file": "synthetic:grocery?seed=1",
        "block": 7,
        "windows": {"train": [0, 199], "tune": [0, 199], "test": [210, 349]},
    }
    for shop in shops:
        grocery["customers"][shop]["demand"] = dict(synthetic)
    grocery["customers"] = {shop: grocery["customers"][shop] for shop in shops}
    recorded = {**grocery, "name": "recorded", "horizon": 20, "warm_up": 5}
    return {"two_region": {**Scenario.load("two_region").to_dict(), "horizon": 20, "warm_up": 5, "disruptions": EVENTS},
            "recorded": recorded, "whole": copy.deepcopy(WHOLE)}  # fmt: skip


EVENTS = {
    "dairy_outage": {"when": {"mean_up": 60, "mean_down": 8}, "effects": [{"nodes": "dairy", "availability": 0.0}]},
    "storm": {
        "when": {"from": 8, "to": 9},
        "effects": [
            {"lanes": {"target": "north"}, "lead_time_factor": 2},
            {"customers": {"region": "north"}, "demand_factor": 1.3},
        ],
    },
}


class Odd:
    """An object of no known type."""


def deep(depth: int) -> Any:
    """Lists within lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def deep_mapping(depth: int) -> Any:
    """Mappings within mappings."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


# What anybody may write where something else is meant: name, value, and what it is.
VALUES: list[tuple[str, Any, str]] = [
    ("null", None, "null"),
    ("true", True, "boolean"),
    ("false", False, "boolean"),
    ("text", "northern", "text"),
    ("empty text", "", "empty"),
    ("blank text", "  ", "empty"),
    ("number as text", "7", "text"),
    ("long text", "x" * 100_000, "bad text"),
    ("control characters", "a\x1b[31m\x00\nb", "bad text"),
    ("lone surrogate", "a\udc80b", "bad text"),
    ("override of direction", "a\u202egnp\u2066", "bad text"),
    ("NaN", math.nan, "bad number"),
    ("infinity", math.inf, "bad number"),
    ("minus infinity", -math.inf, "bad number"),
    ("-1", -1, "negative"),
    ("-0.5", -0.5, "negative"),
    ("zero", 0, "number"),
    ("a half", 0.5, "number"),
    ("a million", 1_000_000, "number"),
    ("1e9", 1e9, "number"),
    ("1e12", 1e12, "number"),
    ("1e308", 1e308, "bad number"),
    ("denormal", 5e-324, "number"),
    ("300 digits", 10**300, "bad number"),
    ("5000 digits", 10**5000, "bad number"),
    ("20 digits", 10**20, "number"),
    ("empty list", [], "list"),
    ("list of one", [1], "list"),
    ("list of texts", ["a", "b"], "list"),
    ("list in list", [[]], "list"),
    ("deep list", deep(3000), "bad list"),
    ("empty mapping", {}, "mapping"),
    ("other mapping", {"zzz": 1}, "bad mapping"),
    ("mapping of numbers", {1: 2}, "bad mapping"),
    ("key null", {None: 1}, "bad mapping"),
    ("key tuple", {(1, 2): 3}, "bad mapping"),
    ("deep mapping", deep_mapping(3000), "bad mapping"),
    ("date", datetime.date(2024, 3, 1), "object"),
    ("time", datetime.datetime(2024, 3, 1, 4, 5), "object"),
    ("bytes", b"ab\xff", "object"),
    ("set", {"a"}, "object"),
    ("complex", 1 + 2j, "object"),
    ("object", Odd(), "object"),
    ("function", print, "object"),
]  # fmt: skip

# What a key that holds a value of some type must refuse.
REFUSED = {
    "number": {"boolean", "text", "empty", "bad text", "bad number", "list", "bad list", "bad mapping", "object"},
    "text": {"boolean", "empty", "bad text", "number", "negative", "bad number", "list", "bad list", "mapping",
             "bad mapping", "object"},
    "list": {"boolean", "text", "empty", "bad text", "number", "negative", "bad number", "bad list", "bad mapping", "object"},
    "mapping": {"boolean", "text", "empty", "bad text", "negative", "bad number", "list", "bad list", "bad mapping", "object"},
}  # fmt: skip
MAY_BE_NEGATIVE = ("priority",)


def kind_of(value: Any) -> str:
    """Which row of ``REFUSED`` a value has."""
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "number"


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of plain data, outermost first."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    """The value at a place."""
    for key in path:
        data = data[key]
    return data


def put(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of the data with another value at a place."""
    data = copy.deepcopy(data)
    at(data, path[:-1])[path[-1]] = value
    return data


def works(scenario: Scenario) -> None:
    """Whether an accepted scenario can be written, read, drawn from and simulated, and costs what is a number."""
    again = Scenario.from_mapping({**scenario.to_dict(), "base_dir": scenario.base_dir}, where="read back")
    if again.digest != scenario.digest:
        raise Nonsense("is another scenario when it is read back")
    periods = min(scenario.horizon, scenario.warm_up + 8)
    outcome = simulate(scenario, load_policy("echelon_base_stock", scenario), scenario.sample(2, 1, "tune", periods))
    for line, values in {**outcome.costs, "total": outcome.cost_per_period}.items():
        if not all(math.isfinite(value) for value in values.tolist()):
            raise Nonsense(f"{line} = {values.tolist()}")
        if min(values.tolist()) < 0:
            raise Nonsense(f"{line} = {values.tolist()}")
    outcome.kpis()


def read(data: dict[str, Any]) -> Callable[[Path], None]:
    """Reads a mapping, and uses it if it is accepted."""
    return lambda folder: works(Scenario.from_mapping(data, where="hostile.yaml"))


def _key_cases() -> Iterator[Case]:
    for base, data in bases().items():
        seen = set()
        for path in paths(data):
            # Entries of one kind are alike: the second node adds nothing to the first.
            alike = tuple("*" if k and path[k - 1] in ("products", "nodes", "lanes", "customers") else part
                          for k, part in enumerate(path))  # fmt: skip
            given = at(data, path)
            if (alike, kind_of(given)) in seen:
                continue
            seen.add((alike, kind_of(given)))
            place, key = ".".join(map(str, path)), path[-1]
            for name, value, what in VALUES:
                must = what in REFUSED[kind_of(given)] or (what == "negative" and key not in MAY_BE_NEGATIVE)
                if key == "probabilities":
                    must = True
                if what == "text" and kind_of(given) == "text":
                    must = False
                if (
                    kind_of(given) == "text"
                    and isinstance(value, int)
                    and not isinstance(value, bool)
                    and what != "bad number"
                ):
                    must = False  # places and labels that are numbers are read as text
                if key == "reward_scale" and what == "number" and name not in ("zero", "denormal"):
                    must = False  # auto or a number: auto stands in the data
                if key == "horizon" and name in ("20 digits", "1e12"):
                    must = True
                yield Case("scenario key", f"{base}: {place}: {name}", read(put(data, path, value)),
                           "refused" if must and what != "null" else "either")  # fmt: skip


def _structure_cases() -> Iterator[Case]:
    for base, data in bases().items():
        mappings = [(), *(path for path in paths(data) if isinstance(at(data, path), dict))]
        for path in mappings:
            for name, key in (("misspelt", "horizont_x"), ("number", 1), ("null", None), ("true", True), ("empty", ""),
                              ("tuple", (1, 2)), ("date", datetime.date(2024, 1, 1)), ("NaN", math.nan),
                              ("control characters", "a\x1b[31mb"), ("long", "k" * 50_000), ("bytes", b"a")):  # fmt: skip
                changed = copy.deepcopy(data)
                at(changed, path)[key] = {} if path and path[-1] in ("nodes", "products") else 1
                fine = name in ("misspelt", "number") and path in (("nodes",), ("products",))
                yield Case("scenario structure", f"{base}: a further key ({name}) in {'.'.join(map(str, path)) or 'all'}",
                           read(changed), "either" if fine else "refused")  # fmt: skip
        for path in paths(data):
            changed = copy.deepcopy(data)
            del at(changed, path[:-1])[path[-1]]
            yield Case("scenario structure", f"{base}: without {'.'.join(map(str, path))}", read(changed), "either")
        for name, value, _ in VALUES:
            yield Case("scenario structure", f"{base}: {name} in place of all",
                       lambda folder, value=value: works(Scenario.from_mapping(value)))  # fmt: skip
    many = copy.deepcopy(WHOLE)
    many["horizon"] = 10**8
    yield Case("scenario structure", "a horizon of 10^8, played", lambda folder: play(many))
    for key, section in (("horizon", {"forecast": {"horizon": 10**9}}), ("history", {"observe": {"history": 10**9}})):
        yield Case("scenario structure", f"{next(iter(section))}.{key} of 1e9",
                   lambda folder, section=section: play({**copy.deepcopy(WHOLE), **section}))  # fmt: skip
    for lead_time in (10**6, {"values": [1, 10**7], "probabilities": [0.5, 0.5]}):
        yield Case("scenario structure", f"lead time {lead_time}",
                   lambda folder, lead_time=lead_time: play(put(WHOLE, ("lanes", "road", "lead_time"), lead_time)))  # fmt: skip
    yield Case("scenario structure", "a shelf life of 1e7",
               lambda folder: play(put(WHOLE, ("products", "milk", "shelf_life"), 10**7)))  # fmt: skip
    yield Case("scenario structure", "a patience of 1e8",
               lambda folder: play(put(WHOLE, ("customers", "shoppers", "patience"), 10**8)))  # fmt: skip


def play(data: dict[str, Any]) -> None:
    """Uses a scenario for as long as it says."""
    scenario = Scenario.from_mapping(data)
    simulate(scenario, load_policy("echelon_base_stock", scenario), scenario.sample(2, 1, "tune"))


GOOD_TEXT = """
nodes: {plant: {kind: supplier}, store: {holding_cost: 1}}
lanes: {road: {source: plant, target: store}}
customers: {shoppers: {sources: {store: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1, lost_sale_cost: 9}}
horizon: 12
"""
TEXTS: list[tuple[str, bytes]] = [
    ("empty", b""), ("blank", b"\n\n"), ("comment", b"# nothing\n"), ("null", b"null\n"), ("list", b"- 1\n"),
    ("number", b"5\n"), ("text", b"hello\n"), ("not UTF-8", b"name: caf\xe9\n"), ("UTF-16", "name: a\n".encode("utf-16")),
    ("NUL", b"name: a\x00b\n"), ("binary", bytes(range(256)) * 40), ("tabs", b"nodes:\n\t- a\n"),
    ("open bracket", b"a: [1, 2\n"), ("open quote", b'a: "b\n'), ("two documents", b"a: 1\n---\nb: 2\n"),
    ("unhashable key (list)", b"? [1, 2]\n: 3\n"), ("unhashable key (mapping)", b"? {a: 1}\n: 3\n"),
    ("unhashable key (flow)", b"{[1]: 2}\n"), ("key twice", b"name: a\nname: b\n"), ("unknown tag", b"a: !foo 1\n"),
    ("Python tag", b"a: !!python/object/apply:os.system ['true']\n"), ("bad binary", b"a: !!binary '###'\n"),
    ("bad float tag", b"a: !!float abc\n"), ("bad int tag", b"a: !!int abc\n"), ("bad time tag", b"a: !!timestamp abc\n"),
    ("impossible date", b"a: 2024-02-31\n"), ("unknown alias", b"a: *nowhere\n"),
    ("alias of itself", b"a: &a [*a]\n"), ("mapping of itself", b"a: &a {b: *a}\n"), ("merge of no mapping", b"<<: 5\n"),
    ("merge of a list of numbers", b"<<: [1, 2]\n"), ("key null", b"~: 1\n"), ("key true", b"true: 1\n"),
    ("deep list", b"a: " + b"[" * 5000 + b"]" * 5000), ("deep mapping", b"a: " + b"{a: " * 3000 + b"1" + b"}" * 3000),
    ("deep block", b"".join(b" " * k + b"a:\n" for k in range(2000))),
    ("deep, not closed", b"[" * 100_000), ("long scalar", b"name: " + b"x" * 3_000_000), ("long number", b"horizon: " + b"9" * 10_000),
    ("long hexadecimal", b"horizon: 0x" + b"f" * 10_000), ("sexagesimal", b"horizon: 1:2:3:4:5:6:7:8:9:1:2:3:4\n"),
    ("long exponent", b"horizon: 1e" + b"9" * 5000),
    ("bomb of aliases", b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (k, k, b",".join([b"*a%d" % (k - 1)] * 9)) for k in range(1, 12))),
    ("bomb of merges", b"a0: &a0 {x: 1}\n" + b"".join(
        b"a%d: &a%d {%s}\n" % (k, k, b", ".join(b"k%d: *a%d" % (j, k - 1) for j in range(9))) for k in range(1, 12))),
    ("many keys", b"nodes: {" + b", ".join(b"n%d: {}" % k for k in range(50_000)) + b"}"),
    ("lone surrogate", b'name: "\\ud800"\n' + GOOD_TEXT.encode()), ("escape", b'name: "\\e[31mred"\n' + GOOD_TEXT.encode()),
    ("NUL escaped", b'name: "\\0"\n' + GOOD_TEXT.encode()), ("path as a name", b"name: ../../../x\n" + GOOD_TEXT.encode()),
]  # fmt: skip


def _text_cases() -> Iterator[Case]:
    def attempt(content: bytes) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            path = folder / "hostile.yaml"
            path.write_bytes(content)
            works(Scenario.load(path))

        return run

    for name, content in TEXTS:
        yield Case("YAML text", name, attempt(content), "either" if name == "path as a name" else "refused")
    yield Case("YAML text", "sound", attempt(GOOD_TEXT.encode()), "accepted")
    for cut in range(10, len(GOOD_TEXT), 23):
        yield Case("YAML text", f"cut at {cut}", attempt(GOOD_TEXT.encode()[:cut]), "either")
    yield Case("YAML text", "a folder", lambda folder: Scenario.load(_made_folder(folder / "x.yaml")))
    yield Case("YAML text", "a device", lambda folder: Scenario.load(_linked(folder / "x.yaml", "/dev/zero")))
    yield Case("YAML text", "a pipe", lambda folder: Scenario.load(_pipe(folder / "x.yaml")))
    for name, value, _ in VALUES:
        yield Case("YAML text", f"path: {name}", lambda folder, value=value: Scenario.load(value))


def _made_folder(path: Path) -> Path:
    path.mkdir()
    return path


def _linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _pipe(path: Path) -> Path:
    import os

    os.mkfifo(path)
    return path


TABLE_EDITS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("empty", lambda text: b""),
    ("not UTF-8", lambda text: text + b"\xe9\xff,1\n"),
    ("NUL", lambda text: text[:12] + b"\x00" + text[12:]),
    ("binary", lambda text: bytes(range(256)) * 20),
    ("header only", lambda text: text.splitlines()[0] + b"\n"),
    ("ragged", lambda text: text + b"x\n"),
    ("too wide", lambda text: text + b"," * 500 + b"\n"),
    ("doubled column", lambda text: b"\n".join(line + b"," + line.split(b",")[-1] for line in text.splitlines())),
    ("first column twice", lambda text: b"\n".join(line.split(b",")[0] + b"," + line for line in text.splitlines())),
    ("row twice", lambda text: text + text.splitlines()[-1] + b"\n"),
    ("huge cell", lambda text: text + b"x" * 200_000 + b"\n"),
    ("open quote", lambda text: text + b'"abc\n'),
    ("deep cell", lambda text: text.splitlines()[0] + b"\nn," + b"[" * 20_000 + b",\n"),
    ("long number", lambda text: text.replace(b",", b"," + b"9" * 5000, 2)),
    ("NaN", lambda text: text.replace(b"0", b"NaN")),
    ("Infinity", lambda text: text.replace(b"1", b"Infinity")),
    ("negative", lambda text: text.replace(b",", b",-", 12)),
    ("no separator", lambda text: text.replace(b",", b"|")),
]  # fmt: skip


def _table_cases() -> Iterator[Case]:
    def attempt(table: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            Scenario.load("two_region").to_csv(folder)
            path = folder / f"{table}.csv"
            path.write_bytes(edit(path.read_bytes()))
            works(Scenario.from_csv(folder, horizon=12))

        return run

    for table in ("products", "nodes", "lanes", "customers"):
        for name, edit in TABLE_EDITS:
            loose = name in ("too wide", "NaN", "Infinity", "header only", "negative", "long number")
            yield Case("network table", f"{table}: {name}", attempt(table, edit), "either" if loose else "refused")
        yield Case("network table", f"{table}: sound", attempt(table, lambda text: text), "accepted")
    yield Case("network table", "a file for a folder", lambda folder: Network.from_csv(__file__))
    for name, value, _ in VALUES:
        yield Case("network table", f"folder: {name}", lambda folder, value=value: Network.from_csv(value))


def _demand_cases() -> Iterator[Case]:
    sound = "date,shoppers\n" + "".join(
        f"{datetime.date(2024, 1, 1) + datetime.timedelta(k)},{k % 5}\n" for k in range(60)
    )
    plain = "period,shoppers\n" + "".join(f"{k},{k % 5}\n" for k in range(60))

    def attempt(content: bytes, **more: Any) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            (folder / "sales.csv").write_bytes(content)
            (folder / "s.yaml").write_text(GOOD_TEXT)
            demand = {"kind": "trace", "file": "sales.csv", "block": 7, **more}
            works(Scenario.load(folder / "s.yaml", {"customers.shoppers.demand": demand}))

        return run

    for name, text in (("dates", sound), ("periods", plain)):
        yield Case("demand table", f"{name}: sound", attempt(text.encode()), "accepted")
        for edit, change in TABLE_EDITS:
            loose = edit in ("NaN", "Infinity", "too wide")
            if edit in ("long number", "row twice", "no separator", "first column twice", "negative", "deep cell"):
                loose = edit == "no separator"
            yield Case(
                "demand table", f"{name}: {edit}", attempt(change(text.encode())), "either" if loose else "refused"
            )
        for cell in (
            "",
            " ",
            "1e400",
            "-1",
            "nan",
            "inf",
            "1_000",
            "٣",
            "1e308",
            "0x10",
            "1,5",
            "9" * 400,
            "True",
            "None",
        ):
            fine = cell in ("٣", "", " ")
            yield Case("demand table", f"{name}: cell {cell[:10]!r}", attempt(text.replace(",3\n", f",{cell}\n", 1).encode()),
                       "either" if fine else "refused")  # fmt: skip
    for key, value in (
        ("file", ""), ("file", "."), ("file", "../../../../etc/passwd"), ("file", "/dev/zero"), ("file", "x\x00.csv"),
        ("file", "nope.csv"), ("file", "x" * 5000 + ".csv"), ("file", "synthetic:"), ("file", "synthetic:grocery?seed=-1"),
        ("file", "synthetic:grocery?seed=" + "9" * 5000), ("file", "synthetic:grocery?nope=1"), ("file", "synthetic:grocery?%"),
        ("file", "completejourney:"), ("file", "completejourney:yearly"), ("file", "http://localhost/x.csv"), ("file", "~/x.csv"),
        ("series", "nobody"), ("series", "a\x1bb"), ("block", 0), ("block", 10**9), ("block", 61), ("block", 10**300),
        ("windows", {"train": [0, 10**12]}), ("windows", {"train": [5, 2]}), ("windows", {"train": [-7, 20]}),
        ("windows", {"train": [0, 30], "test": [20, 50]}), ("windows", {"train": 5}), ("windows", {"train": [0, 10**300]}),
        ("windows", {"train": [True, 20]}), ("windows", {"train": [0.0, 20.5]}), ("windows", {"train": []}),
    ):  # fmt: skip
        yield Case("demand table", f"{key} = {str(value)[:40]}", attempt(plain.encode(), **{key: value}))


def _range_cases() -> Iterator[Case]:
    base = Scenario.load("distribution_family").to_dict()
    base = {key: value for key, value in base.items() if key not in ("nodes", "lanes", "customers")}
    for path in paths(base["randomise"], ("randomise",)):
        given = at(base, path)
        for name, value, what in VALUES:
            must = what in REFUSED[kind_of(given)] and not (what == "number" and kind_of(given) == "mapping")
            if kind_of(given) == "text" and what == "text":
                must = False
            fine = what == "null" or (what == "boolean" and path[-1] in ("whole", "together"))
            yield Case("randomise", f"{'.'.join(map(str, path))}: {name}", _vary(put(base, path, value)),
                       "refused" if must and not fine else "either")  # fmt: skip
    ends: list[Any] = [
        {"low": 5, "high": 1}, {"low": 1}, {"high": 1}, {"low": -1, "high": 2}, {"low": math.nan, "high": 2},
        {"low": 1, "high": math.inf}, {"low": 1, "high": 1e308}, {"low": -1e308, "high": 1e308}, {"low": 1, "high": 10**300},
        {"low": 0.5, "high": 3.5, "whole": True}, {"values": []}, {"values": [None]}, {"values": [{}]}, {"values": ["a"]},
        {"values": [math.nan]}, {"factor": {"low": 0, "high": 1}}, {"factor": {"low": 1, "high": 1e308}},
        {"factor": {"low": 2, "high": 1}}, {"factor": 2}, {"low": 1, "high": 2, "factor": {"low": 1, "high": 2}},
        {"low": 1, "high": 2, "values": [1]}, {"low": "1", "high": 2}, {"low": True, "high": 2}, [], [1, 2], "1 to 2", 10**300,
    ]  # fmt: skip
    two = bases()["two_region"]
    for pattern in ("customers.*.demand.mean", "lanes.*.transport_cost", "nodes.north.holding_cost", "horizon"):
        for end in ends:
            must = not (isinstance(end, dict) and end.get("whole"))
            yield Case("randomise", f"{pattern} = {str(end)[:60]}", _vary({**two, "randomise": {"values": {pattern: end}}}),
                       "refused" if must else "either")  # fmt: skip
    for pattern in ("", ".", "*", "**", "customers", "customers.", ".customers", "[", "customers.[.demand", "nope.*.x",
                    "customers.*.demand.kind", "name", "base_dir", "randomise", "x" * 20_000, "a\x1b[31m", "*." * 500,
                    "nodes.*.kind", "units", "products.milk"):  # fmt: skip
        yield Case(
            "randomise",
            f"pattern {pattern[:30]!r}",
            _vary({**two, "randomise": {"values": {pattern: {"low": 1, "high": 2}}}}),
        )
    family = Scenario.load("distribution_family")
    for number in (-1, 1.5, "1", None, 10**300, math.nan, True, [], 2**64):
        yield Case("randomise", f"variant {str(number)[:20]}", lambda folder, number=number: family.variant(number),
                   "either" if number == 2**64 else "refused")  # fmt: skip
    for number in (-1, 1.5, "1", None, 10**300, math.nan, [], 2**70):
        yield Case(
            "randomise", f"variant seed {str(number)[:20]}", lambda folder, number=number: family.variant(1, number)
        )
    for purpose in ("", "Train", None, 5, [], "test\x00"):
        yield Case(
            "randomise", f"variant purpose {purpose!r}", lambda folder, purpose=purpose: family.variant(1, 0, purpose)
        )
    for nodes in (0, 1, 10**5, 10**9, 10**300, 1e9, -5):
        yield Case("randomise", f"nodes {str(nodes)[:20]}", _vary(put(base, ("randomise", "network", "nodes"), nodes)))


def _vary(data: dict[str, Any]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        scenario = Scenario.from_mapping(data, where="hostile.yaml")
        for number in (0, 1):
            works(scenario.variant(number))

    return run


def _override_cases() -> Iterator[Case]:
    for key in ("", ".", "..", "a.", "nodes..x", "nodes.hub.holding_cost.", "nodes.hub.holding_cost.x.y", "horizon.x", "x" * 10_000,
                "a\x00b", "nodes.hub", "base_dir", "__class__", "name.x", "lanes.hub_north.lead_time.values.0"):  # fmt: skip
        yield Case(
            "override",
            f"key {key[:30]!r}",
            lambda folder, key=key: works(Scenario.load("two_region", {key: 5})),
            "either" if key.endswith(".0") else "refused",
        )
    for key in (None, 5, (1, 2), b"a", True):
        yield Case("override", f"key {key!r}", lambda folder, key=key: works(Scenario.load("two_region", {key: 5})))
    for name, value, what in VALUES:
        if what not in ("null", "mapping"):
            yield Case("override", f"overrides = {name}", lambda folder, value=value: Scenario.load("two_region", value),
                       "either" if not value else "refused")  # fmt: skip
        for key in ("horizon", "nodes.hub.holding_cost", "lanes", "customers.north_shops.demand"):
            yield Case("override", f"{key} = {name}", lambda folder, key=key, value=value: works(
                Scenario.load("two_region").with_overrides({key: value, "warm_up": 0})), "either")  # fmt: skip


def cases(folder: Path) -> list[Case]:
    """All of this module."""
    makers = (_key_cases, _structure_cases, _text_cases, _table_cases, _demand_cases, _range_cases, _override_cases)
    return [case for make in makers for case in make()]
