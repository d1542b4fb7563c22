"""Tables and YAML as spreadsheets, planning systems and people write them: read as meant or refused in one line, and what
is written is read back.
"""

import csv
import io
import json
import random
import typing
import unicodedata

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from echelongym.envs import InputError, Network, Scenario
from echelongym.envs.core import yaml_reading
from echelongym.envs.core.names import folder_name
from echelongym.envs.core.yaml_reading import NAMING_LISTS, parse_yaml
from echelongym.envs.network import csv_tables as tabular
from echelongym.envs.network import entities
from echelongym.envs.storage.files import read_yaml, write_yaml

# Words that YAML, JSON or a spreadsheet takes for something else.
HOSTILE = (
    "101 007 0 -0 00 1e5 1E5 1e400 0x1F 0o17 0b1 1_000 null Null NULL true True false NO no ON on Yes yes off y n N NaN nan "
    "inf None none auto default name mode source 2024-01-05 20240105 1-2 _ __ _- 99999999999999999999 all supplier"
).split()
NAMES = st.one_of(st.sampled_from(HOSTILE), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,8}", fullmatch=True)).filter(
    lambda name: not name.startswith("-")
)
LABELS = st.one_of(
    st.sampled_from(
        [*HOSTILE, "~", "[red]", "$x^{$", "${oc.env:HOME}", "a;b", "a,b", '"quoted"', "#x", "{a: b}", "[1]", "=1+1"]
    ),
    st.text(min_size=1, max_size=12),
).filter(lambda text: text.isprintable() and text == text.strip() and text)
NUMBERS = st.one_of(st.floats(0, 1e9), st.integers(0, 10**6), st.sampled_from([1e-300, 1e15, 5e-324, 0.1, 2**53]))


@st.composite
def networks(draw):
    """A supplier, a hub and some shops with hostile names and any numbers."""
    products = draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    places = draw(st.lists(NAMES, min_size=4, max_size=5, unique=True))
    supplier, hub, *rest = places
    shops, customers = rest[:-1], [rest[-1]]
    amount = st.one_of(NUMBERS, st.fixed_dictionaries(dict.fromkeys(products, NUMBERS)))
    lanes = draw(st.lists(NAMES, min_size=len(shops) + 1, max_size=len(shops) + 1, unique=True))
    return {
        "products": {name: draw(st.sampled_from([{}, {"volume": 2.5}, {"shelf_life": 7}])) for name in products},
        "nodes": {
            supplier: {"kind": "supplier"},
            hub: {"holding_cost": draw(amount), "initial": draw(st.sampled_from(["auto", 5, 0.25]))},
            **{shop: {"storage_capacity": draw(NUMBERS)} for shop in shops},
        },
        "lanes": {
            lanes[0]: {"source": supplier, "target": hub, "lead_time": draw(st.integers(0, 4)), "mode": draw(LABELS)},
            **{
                lane: {"source": hub, "target": shop, "purchase_cost": draw(amount), "products": products[:1]}
                for lane, shop in zip(lanes[1:], shops, strict=True)
            },
        },
        "customers": {
            name: {
                "sources": {shop: {"transport_cost": draw(amount)} for shop in (*shops, hub)},
                "demand": {"kind": "poisson", "mean": draw(st.floats(0.1, 50))},
                "lost_share": 1.0,
                "segment": draw(LABELS),
                "region": draw(LABELS),
            }
            for name in customers
        },
    }


@given(networks(), LABELS)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, data, label):
    scenario = Scenario.from_mapping(data | {"name": label})
    folder = tmp_path_factory.mktemp("tables")
    scenario.to_csv(folder)
    assert Network.from_csv(folder) == Network.from_mapping(data)
    assert Scenario.from_csv(folder, name=label).digest == scenario.digest
    scenario.save(folder / "scenario.yaml")
    again = Scenario.load(folder / "scenario.yaml")
    assert again.digest == scenario.digest
    assert again.name == unicodedata.normalize("NFC", label) or again.name == label


@given(networks(), st.sampled_from(["semicolon", "tab", "utf-16", "mark", "headings", "crlf", "order", "sep"]))
@settings(max_examples=40, deadline=None)
def test_dialects_mean_the_same(tmp_path_factory, data, dialect):
    """The written tables put into another dialect by Python's csv module alone."""
    scenario = Scenario.from_mapping(data)
    folder = tmp_path_factory.mktemp("dialect")
    scenario.to_csv(folder)
    for path in folder.glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        if dialect == "headings":
            rows[0] = [f" {heading.replace('_', ' ').title()} " for heading in rows[0]]
        if dialect == "order":
            rows = [row[::-1] for row in rows]
        if dialect in ("semicolon", "sep"):
            keys = {"kind", "source", "target", "mode", "segment", "region", "name", "issuing"}
            for row in rows[1:]:
                for column, cell in enumerate(row):
                    if rows[0][column] not in keys and cell[:1] not in ("{", "["):
                        row[column] = cell.replace(".", ",")
        text = io.StringIO()
        sign = {"semicolon": ";", "sep": ";", "tab": "\t"}.get(dialect, ",")
        csv.writer(text, delimiter=sign, lineterminator="\r\n" if dialect == "crlf" else "\n").writerows(rows)
        said = "sep=;\n" + text.getvalue() if dialect == "sep" else text.getvalue()
        path.write_bytes(said.encode({"utf-16": "utf-16", "mark": "utf-8-sig"}.get(dialect, "utf-8")))
    assert Network.from_csv(folder) == Network.from_mapping(data)


def tables(folder, nodes, suffix="csv", encoding="utf-8"):
    (folder / f"nodes.{suffix}").write_bytes(nodes.encode(encoding))
    (folder / "lanes.csv").write_text("name,source,target\n1,a,b\n")
    (folder / "customers.csv").write_text(
        'name,demand,lost_share,sources\nc,"{""kind"": ""poisson"", ""mean"": 5}",1,b\n'
    )


REFUSED_TABLES = [
    ("name,kind\na,supplier\nb,stock\nM\u00fcnchen,stock\n", "cp1252", ["nodes.csv", "line 4", "UTF-8"]),
    ("name,kind,holding cost,holding_cost\na,supplier,,\nb,stock,1,2\n", "utf-8", ["nodes.csv", "holding_cost", "once"]),
    ("name,kind,holding_cots\na,supplier,\nb,stock,1\n", "utf-8", ["nodes.csv", "holding_cots", "holding_cost"]),
    ("kind,holding_cost\nsupplier,\nstock,1\n", "utf-8", ["nodes.csv", "name"]),
    ("name,kind,holding_cost\na,supplier,\nb,stock,1\nb,stock,1\n", "utf-8", ["line 4", "'b'", "once"]),
    ("name,kind,holding_cost\na,supplier\nb,stock,1\n", "utf-8", ["line 2", "2 cells", "3"]),
    ("name;kind;holding_cost\na;supplier;\nb;stock;1.234\n", "utf-8", ["line 3", "holding_cost", "1.234", "thousands"]),
    ("name;kind;holding_cost;capacity\na;supplier;;\nb;stock;0,5;1.5\n", "utf-8", ["line 3", "capacity", "1.5", "comma"]),
    ('name,kind,holding_cost\na,supplier,\nb,stock,"1,5"\n', "utf-8", ["nodes.b.holding_cost", "1,5"]),
    ('name,kind,holding_cost\na,supplier,\nb,stock,"{""product"": 1\n', "utf-8", ["nodes.csv", "CSV"]),
    ('name,kind,holding_cost\na,supplier,\nb,stock,"{""product"": 1"\n', "utf-8", ["line 3", "holding_cost", "JSON"]),
    ('name,kind,holding_cost\na,supplier,\nb,stock,"{""product"": 1, ""product"": 2}"\n', "utf-8", ["holding_cost", "twice"]),
    ("name,kind,holding_cost\na,supplier,\nb,stock," + "[" * 100_000 + "\n", "utf-8", ["line 3", "holding_cost", "JSON"]),
    ("name,kind,holding_cost\na,supplier,\nb,stock," + "9" * 5000 + "\n", "utf-8", ["nodes.b.holding_cost"]),
    ("name,kind,holding_cost\na,supplier,\nb,stock,1e999\n", "utf-8", ["nodes.b.holding_cost", "inf"]),
    ("name,kind,holding_cost\na,supplier,\nb,stock,NaN\n", "utf-8", ["nodes.b.holding_cost", "NaN"]),
    ("name,kind,,\na,supplier,,5\nb,stock,,\n", "utf-8", ["line 2", "'5'", "heading"]),
    ("name,kind\na,supplier\nb\x1b[31m,stock\n", "utf-8", ["b\\x1b[31m"]),
    ("", "utf-8", ["nodes.csv", "columns"]),
    ("name,kind\n" + "a" * 200_000 + ",stock\n", "utf-8", ["nodes.csv"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "encoding", "words"), REFUSED_TABLES)
def test_tables_refused_in_one_line(tmp_path, text, encoding, words):
    tables(tmp_path, text, encoding=encoding)
    with pytest.raises(InputError) as caught:
        Scenario.from_csv(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 600
    assert all(word in message for word in words), message


def test_workbooks_say_what_to_do(tmp_path):
    tables(tmp_path, "PK", suffix="xlsx")
    with pytest.raises(InputError, match=r"nodes.csv.*nodes.xlsx as 'CSV UTF-8'"):
        Scenario.from_csv(tmp_path)
    with pytest.raises(InputError, match=r"folder with nodes.csv.*CSV UTF-8"):
        Scenario.from_csv(tmp_path / "nodes.xlsx")


def test_every_column_of_text_is_known_as_one():
    """A name in a column that is not would be taken for a number."""
    for section in tabular.SECTIONS:
        for key, field in getattr(entities, section.capitalize()[:-1]).model_fields.items():
            plain = typing.get_origin(field.annotation) is typing.Literal or field.annotation is str
            if plain:
                assert key in tabular._TEXT, f"{section}.{key}"


# YAML ------------------------------------------------------------------------------------------------------------------

FINE_YAML = [
    ("a: {NO: 1, on: yes, 007: off}", {"a": {"NO": 1, "on": "yes", "007": "off"}}),
    ("a: 1e3\nb: -1E-2\nc: .5\nd: 1.\ne: +4", {"a": 1e3, "b": -0.01, "c": 0.5, "d": 1.0, "e": 4}),
    ("a: 2024-01-05\nb: 1:30\nc: 0x1F", {"a": "2024-01-05", "b": "1:30", "c": "0x1F"}),
    ("a: 007\nb: '5'\nc: !!str 5\nd: .inf", {"a": "007", "b": "5", "c": "5", "d": float("inf")}),
    ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
    (
        "x: &x {a: 1}\nz: &z {a: 2, c: 3}\ny: {b: 0, <<: [*x, *z]}",
        {"x": {"a": 1}, "z": {"a": 2, "c": 3}, "y": {"a": 1, "c": 3, "b": 0}},
    ),
    ("lanes: {1: {source: 101}}\nproducts: [1, NO, 1e5]\nnodes: 12", {
        "lanes": {"1": {"source": "101"}}, "products": ["1", "NO", "1e5"], "nodes": 12,
    }),
    ("\ufeffa: ~\nb: null\nc:", {"a": None, "b": None, "c": None}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), FINE_YAML)
def test_yaml_is_read_as_meant(text, wanted):
    assert parse_yaml(text, "x.yaml") == wanted


@pytest.mark.parametrize("parser", ["C", "Python"])
def test_both_parsers_of_yaml_give_what_was_written(parser, monkeypatch):
    if parser == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    rng = random.Random(5)
    signs = "aé0-: #'\"\\\n\t,[]{}&*!|>%@`~<=?"

    def value(depth):
        kind = rng.randrange(7 if depth else 5)
        if kind == 5:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 6:
            return {f"k{rng.choice(signs[:8])}{i}": value(depth - 1) for i in range(rng.randrange(4))}
        text = "".join(rng.choice(signs) for _ in range(rng.randrange(6)))
        return [None, rng.random() < 0.5, rng.randrange(-99, 99), rng.gauss(0, 1e3), text][kind]

    for _ in range(40):
        data = {"all": value(4)}
        assert parse_yaml(json.dumps(data, ensure_ascii=False), "x.yaml") == data  # JSON is YAML
    for text, wanted in FINE_YAML:
        assert parse_yaml(text, "x.yaml") == wanted
    for name, text, words in REFUSED_YAML:
        if "bomb" not in name:  # these are slow, and parsed before they grow
            with pytest.raises(InputError) as error:
                parse_yaml(text, "x.yaml")
            assert all(word in str(error.value) for word in words), name


def test_a_file_of_too_many_values_is_given_up_early(monkeypatch):
    monkeypatch.setattr(yaml_reading, "MOST_VALUES", 1_000)
    assert len(parse_yaml("a: [" + "1, " * 990 + "]", "x.yaml")["a"]) == 990
    with pytest.raises(InputError, match="line 1: expected at most 1,000 values"):
        parse_yaml("a: [" + "1, " * 999 + "] # and then what is no YAML: }", "x.yaml")


def test_aliases_are_copies():
    found = parse_yaml("a: &a {x: [1]}\nb: *a\nc: {<<: *a}", "x.yaml")
    found["a"]["x"].append(2)
    assert found["b"] == found["c"] == {"x": [1]}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)
)
REFUSED_YAML = [
    ("a bomb of aliases", BOMB, ["aliases", "1,000,000"]),
    ("a bomb of merge keys", BOMB.replace("[x", "[{a: 1}, x"), ["1,000,000"]),
    ("an alias within its anchor", "a: &a [*a]", ["line 1", "alias"]),
    ("deep lists", "a: " + "[" * 20_000, ["100 deep"]),
    ("deep mappings", "a: " + "{a: " * 20_000, ["100 deep"]),
    ("nesting that is closed", "a: " + "[" * 150 + "]" * 150, ["line 1", "100 deep"]),
    ("a list as a key", "? [1, 2]\n: 3", ["line 1", "key", "text"]),
    ("a mapping as a key", "? {a: 1}\n: 3", ["line 1", "key", "text"]),
    ("a number of 5000 digits", "a: " + "9" * 5000, ["line 1", "number"]),
    ("a key twice", "a: 1\nb: 2\na: 3", ["line 3", "'a'", "once"]),
    ("an object of Python", "a: !!python/object/apply:os.system [ls]", ["line 1", "!!python"]),
    ("bytes", "a: !!binary aGVsbG8=", ["line 1", "!!binary"]),
    ("a merge of a number", "a: {<<: 5}", ["line 1", "<<"]),
    ("tabs", "a:\n\tb: 1", ["line 2", "YAML"]),
    ("two documents", "a: 1\n---\nb: 2", ["YAML", "document"]),
    ("a control character", "a: \x07", ["YAML"]),
    ("nothing", "", ["mapping"]),
    ("a number", "5", ["mapping"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "words"), REFUSED_YAML, ids=[kind for kind, *_ in REFUSED_YAML])
def test_yaml_refused_in_one_line(tmp_path, kind, text, words):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Scenario.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert "x.yaml" in message
    assert len(message) < 600
    assert all(word in message for word in words), message


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "utf-32"])
def test_other_encodings_are_refused(tmp_path, encoding):
    path = tmp_path / "x.yaml"
    path.write_bytes("name: M\u00fcnchen\n".encode(encoding))
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    assert "x.yaml" in str(caught.value)


# Lists under these keys are text, whatever it looks like.
KEYS = st.one_of(NAMES, LABELS).filter(lambda key: key not in NAMING_LISTS | {"demand", "effects", "<<"})
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False), LABELS, st.text()
)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=3), max_leaves=8
)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_yaml_written_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    try:
        write_yaml({"key": value}, path)
    except UnicodeEncodeError:
        return  # a lone surrogate, which no text file can hold
    assert read_yaml(path) == {"key": value}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_end_in_a_traceback(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "x.yaml"
    path.write_bytes(content)
    said = ""
    try:
        read_yaml(path)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert said.isprintable()


# Names -----------------------------------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.text(), st.sampled_from(["../../../x", "..", ".", "", "/etc/passwd", "a\\b", "a\0b", "-rf", "x" * 999])
    )
)
def test_a_folder_name_is_one_visible_part_of_a_path(text):
    name = folder_name(text)
    assert name
    assert name == name.strip(".")
    assert ".." not in name
    assert len(name.encode()) <= 80
    assert not set(name) & set('/\\\0:*?"<>|$ \t\n\r')
    assert name.isprintable()


def test_names_in_a_path_are_as_they_are_where_that_is_safe():
    for name in ("two_region", "distribution_family_test_3", "two_region_severity_0.5", "M\u00fcnchen-2"):
        assert folder_name(name) == name


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a\nb", "a\x00b", "\u202etxt", "\ud800", "", "  ", "x" * 300, None, 1.5, True, ["a"]]
)
@pytest.mark.parametrize("place", ["name", "segment", "region", "mode"])
def test_labels_that_are_no_line_of_text_are_refused(text, place):
    data = Scenario.load("lost_sales").to_dict()
    spot = {"name": data, "mode": data["lanes"]["supplier_store"]}.get(place, data["customers"]["shoppers"])
    spot[place] = text
    with pytest.raises(InputError) as caught:
        Scenario.from_mapping(data)
    assert place in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
