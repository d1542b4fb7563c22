"""Tables of past demand as people have them: what is plainly readable is read, what is ambiguous says what to do."""

import datetime
import gzip
import random

import numpy as np
import pytest

from echelongym.envs.core.errors import InputError
from echelongym.envs.recorded.files import load_recorded
from echelongym.envs.recorded.reading import Dialect

UNITS = [0, 3, 12, 1, 0, 7, 2, 5, 4, 9]
DAYS = [datetime.date(2024, 3, 5) + datetime.timedelta(days=k) for k in range(10)]


def load(folder, text, name="sales.csv", **dialect):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return load_recorded(name, folder, dialect=Dialect(**dialect))


def rows(form="%Y-%m-%d", units=UNITS, days=DAYS, separator=","):
    return "".join(f"{day.strftime(form)}{separator}{x}\n" for day, x in zip(days, units, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "date,shop\n" + rows(),
        "\ufeffDate , shop\r\n" + rows().replace("\n", "\r\n"),
        "DATE,shop\n" + rows("%Y-%m-%d 00:00:00"),
        "timestamp,shop\n" + rows("%Y-%m-%dT00:00:00Z"),
        "date,shop\n" + rows("%Y%m%d"),
        "date,shop\n" + rows("%Y/%m/%d"),
        "date,shop\n" + rows("%d.%m.%Y"),
        "date,shop\n" + rows("%m/%d/%Y"),
        "date,shop\n" + rows("%d-%b-%Y"),
        "date;shop\n" + rows(separator=";"),
        "date\tshop\n" + rows(separator="\t"),
        "# exported\n\n# twice\ndate,shop\n" + rows(),
        "date,shop,,\n" + rows().replace("\n", ",,\n"),
        "date,shop\n" + rows(days=DAYS[::-1], units=UNITS[::-1]),
        "period,shop\n" + "".join(f"{t},{x}\n" for t, x in enumerate(UNITS)),
        ",shop\n" + "".join(f"{t},{x}\n" for t, x in enumerate(UNITS)),
        "Unnamed: 0,shop\n" + rows(),
        "date,Shop\n" + rows(),
        'date,shop\n"2024-03-05","0"\n' + rows(days=DAYS[1:], units=UNITS[1:]),
    ],
)
def test_dialects_of_one_table_read_alike(tmp_path, text):
    recorded = load(tmp_path, text)
    np.testing.assert_array_equal(recorded.units("shop"), UNITS)
    if recorded.record.calendar is not None:
        assert [start.date() for start in recorded.record.calendar.starts] == DAYS
        assert recorded.record.calendar.step == "1 day"


def test_packed_excel_and_parquet_tables_read_alike(tmp_path):
    pandas = pytest.importorskip("pandas")
    text = "date,shop\n" + rows()
    np.testing.assert_array_equal(load(tmp_path, gzip.compress(text.encode()), "s.CSV.gz").units("shop"), UNITS)
    frame = pandas.DataFrame({"date": pandas.to_datetime(DAYS), "shop": np.array(UNITS) + 0.25})
    made = []
    for package, write, name in (("pyarrow", frame.to_parquet, "s.parquet"), ("openpyxl", frame.to_excel, "s.xlsx")):
        try:
            __import__(package)
        except ImportError:
            continue
        write(tmp_path / name, index=False)
        made.append(load_recorded(name, tmp_path))
    for recorded in made:
        np.testing.assert_array_equal(recorded.units("shop"), np.array(UNITS) + 0.25)
        assert recorded.record.calendar.starts[0] == datetime.datetime(2024, 3, 5)


def test_a_workbook_of_several_sheets_needs_one_named(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    with pandas.ExcelWriter(tmp_path / "s.xlsx") as book:
        for name, units in (("north", [1, 2]), ("south", [3, 4])):
            pandas.DataFrame({"period": [0, 1], "shop": units}).to_excel(book, sheet_name=name, index=False)
    with pytest.raises(InputError, match=r"s.xlsx: sheet = None: expected one of north, south"):
        load_recorded("s.xlsx", tmp_path)
    chosen = load_recorded("s.xlsx", tmp_path, dialect=Dialect(sheet="south"))
    np.testing.assert_array_equal(chosen.units("shop"), [3, 4])


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        (["2,5", "1.250,75", "3"], ";", [2.5, 1250.75, 3]),
        (["1 250", "0,5", "7"], ";", [1250, 0.5, 7]),
        (["1,250", "2", "3.5"], ",", [1250, 2, 3.5]),
        (["1,250,000", "2", "3"], ";", [1_250_000, 2, 3]),
        (["0,250", "1,250", "2"], ";", [0.25, 1.25, 2]),
        (["1'250.5", "2", "1e2"], ",", [1250.5, 2, 100]),
        (["2,5", "1", "0"], ",", [2.5, 1, 0]),
    ],
)
def test_numbers_are_read_as_they_are_written(tmp_path, cells, separator, expected):
    body = "".join(f'{t}{separator}"{cell}"\n' for t, cell in enumerate(cells))
    np.testing.assert_array_equal(load(tmp_path, f"period{separator}shop\n{body}").units("shop"), expected)


@pytest.mark.parametrize("dialect", [{"decimal": ","}, {"decimal": "."}])
def test_what_may_be_a_fraction_or_thousands_is_asked_for(tmp_path, dialect):
    text = "period;shop\n0;1,250\n1;2,125\n"
    with pytest.raises(InputError, match=r"number = '1,250': expected decimal: '\.' or decimal: ','"):
        load(tmp_path, text)
    found = load(tmp_path, text, **dialect).units("shop")
    np.testing.assert_array_equal(found, [1.25, 2.125] if dialect["decimal"] == "," else [1250, 2125])


def test_random_numbers_survive_every_way_of_writing_them(tmp_path):
    draw = random.Random(3)
    values = [round(draw.uniform(0, 5e6), 2) + 0.01 for _ in range(200)]
    english = [f"{v:,.2f}" for v in values]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    for cells, separator in ((english, ","), (english, ";"), (german, ";"), (german, ",")):
        body = "".join(f'{t}{separator}"{cell}"\n' for t, cell in enumerate(cells))
        found = load(tmp_path, f"period{separator}shop\n{body}", f"{len(cells)}{separator == ','}.csv").units("shop")
        np.testing.assert_array_equal(found, [float(f"{v:.2f}") for v in values])


def test_months_weeks_and_hours_are_periods_too(tmp_path):
    starts = [f"{2023 + m // 12}-{m % 12 + 1:02d}-01" for m in range(15)]
    ends = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    weeks = [str(datetime.date(2024, 1, 1) + datetime.timedelta(weeks=k)) for k in range(9)]
    hours = [f"2024-01-{1 + h // 24:02d} {h % 24:02d}:00" for h in range(30)]
    quarters = ["2023-10", "2024-01", "2024-04"]
    for dates, step in (
        (starts, "1 month"), (ends, "1 month"), (weeks, "1 week"), (hours, "1 hour"), (quarters, "3 months"),
    ):  # fmt: skip
        recorded = load(tmp_path, "date,shop\n" + "".join(f"{d},1\n" for d in dates), f"{step}{len(dates)}.csv")
        assert (recorded.record.periods, recorded.record.calendar.step) == (len(dates), step)
        assert recorded.record.label(len(dates) - 1).startswith(dates[-1])


def test_gaps_are_refused_or_taken_as_zero(tmp_path):
    days = [day for day in DAYS if day.weekday() != 6]
    text = "date,shop\n" + "".join(f"{day},5\n" for day in days) + f"{DAYS[-1] + datetime.timedelta(days=1)},\n"
    with pytest.raises(InputError, match=r"line 7, date = '2024-03-11': .* 1 missing before it \(missing: zero"):
        load(tmp_path, text)
    expected = [0 if day.weekday() == 6 else 5 for day in DAYS] + [0]
    np.testing.assert_array_equal(load(tmp_path, text, missing="zero").units("shop"), expected)


LONG = "day,store,item,sold,price\n" + "".join(
    f"{day},{store},{item},{10 * store + item + k},9.5\n"
    for k, day in enumerate(DAYS) for store in (7, 8) for item in (1, 2)
)  # fmt: skip


def test_a_long_table_is_read_by_the_names_of_its_columns(tmp_path):
    names = {"date": "day", "customer": "store", "product": "item", "units": "sold"}
    recorded = load(tmp_path, LONG, **names)
    assert set(recorded.columns) == {"7/1", "7/2", "8/1", "8/2"}
    np.testing.assert_array_equal(recorded.units("8", "2"), np.arange(10) + 82)
    shuffled = LONG.splitlines(keepends=True)
    random.Random(1).shuffle(body := shuffled[1:])
    again = load(tmp_path, shuffled[0] + "".join(body), "other.csv", **names)
    for column in recorded.columns:
        np.testing.assert_array_equal(again.units(column), recorded.units(column))
    cut = shuffled[0] + "".join(line for line in shuffled[1:] if not line.startswith("2024-03-06,7,1"))
    with pytest.raises(InputError, match=r"7/1 at 2024-03-06 = None: expected a row in the long table \(missing: zero"):
        load(tmp_path, cut, "cut.csv", **names)
    filled = load(tmp_path, cut, "cut.csv", missing="zero", **names).units("7/1")
    np.testing.assert_array_equal(filled, [71, 0, *range(73, 81)])


def test_a_long_table_of_usual_names_needs_no_keys_and_others_are_told(tmp_path):
    usual = LONG.replace("day,store,item,sold,price", "date,store,item,sales,x").replace(",9.5", "").replace(",x", "")
    assert set(load(tmp_path, usual).columns) == {"7/1", "7/2", "8/1", "8/2"}
    strange = usual.replace("store,item", "branch no,article no")
    with pytest.raises(InputError, match=r"each period once .* columns: \{date: date, .*branch no, article no, sales"):
        load(tmp_path, strange, "strange.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,shop\n03/04/2024,1\n04/04/2024,2\n", "line 2, date = '03/04/2024': .*date_format: '%d/%m/%Y' or"),
        ("date,shop\n13/04/2024,1\n04/14/2024,2\n", "line 3, date = '04/14/2024': expected day and month in the same"),
        ("date,shop\n45352,1\n45353,2\n", "line 2, date = '45352': expected a date like"),
        ("date,shop\n2024-02-30,1\n", "line 2, date = '2024-02-30': expected a date like"),
        ("date,shop\n01.02.24,1\n", "line 2, date = '01.02.24': expected a date like"),
        ("date,shop\n2024-01-01,-3\n", "line 2, shop = '-3': .* what came back is no demand"),
        ("period,shop\n0,1_000\n", "line 2, shop = '1_000': expected a number"),
        ("period,shop\n0,1e300\n", "line 2, shop = '1e300': expected a number"),
        ("period,shop\n0," + "9" * 5000 + "\n", "line 2, shop = '999"),
        ("period,shop\n" + "9" * 5000 + ",1\n", "line 2, period = '999"),
        ("date,shop\n2024-01-01,1\n9999-12-31,2\n2024-01-02,1\n", "expected dates evenly spaced"),
        ("period,shop\n0,2,5;3\n", "line 2 = '0,2,5;3': expected 2 cells"),
        ("period;shop\n0;2,5\n1;3.75\n", "number = '2,5': expected one decimal mark in a file"),
        (b"period,sh\xf6p\n0,1\n", "cannot be read as a table: it is not UTF-8"),
        (b"period,shop\n0,\x001\n", "cannot be read as a table: it holds bytes 0"),
        (b"\xff\xfe\x00\x80", "cannot be read as a table"),
        ('period,shop\n0,"' + "x" * 200_000 + "\n", "cannot be read as a table: field larger"),
        ("period\n", "header = 'period': expected period or date"),
        ("\n\n", "header = '': expected"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_why(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["s.csv.gz", "s.xlsx", "s.parquet", "s.csv"])
def test_random_bytes_end_in_one_line(tmp_path, name):
    pytest.importorskip({"s.xlsx": "openpyxl", "s.parquet": "pyarrow"}.get(name, "numpy"))
    draw = random.Random(7)
    heads = [b"", b"PK\x03\x04", b"PAR1", b"\x1f\x8b\x08\x00", b"date,shop\n"]
    for head in heads:
        with pytest.raises(InputError) as error:
            load(tmp_path, head + draw.randbytes(300), name)
        assert "\n" not in str(error.value)


def test_an_archive_that_inflates_is_stopped(tmp_path, monkeypatch):
    from echelongym.envs.recorded import cells

    monkeypatch.setattr(cells, "MOST_BYTES", 10_000)
    with pytest.raises(InputError, match=r"size = 'more': expected at most"):
        load(tmp_path, gzip.compress(b"period,shop\n" + b"0" * 1_000_000), "bomb.csv.gz")


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
def test_a_format_settles_what_is_ambiguous(tmp_path, form):
    days = [datetime.date(2024, 3, 4), datetime.date(2024, 3, 5)]
    recorded = load(tmp_path, "date,shop\n" + rows(form, [1, 2], days), date_format=form)
    assert recorded.record.calendar.starts[0] == datetime.datetime(2024, 3, 4)


@pytest.mark.parametrize("rows_after", [10, 20_000])  # a cell of more than 131,072 characters has an error of its own
@pytest.mark.parametrize(
    ("text", "line"), [('date,"shop\n', 1), ('date,shop\n"2024-01-01,3\n', 2), ('date,"sh"op\n', 1)]
)
def test_a_quotation_mark_that_stays_open_is_found(tmp_path, text, line, rows_after):
    """It would swallow the rest of the file: no row, or one short row, would be left."""
    text += "2024-03-05,1\n" * rows_after
    with pytest.raises(InputError, match=f"^sales.csv: line {line}: .*quotation mark at both ends of a cell"):
        load(tmp_path, text)


def test_words_among_units_are_told_how_a_long_table_is_read(tmp_path):
    text = "Date,Shop,Sold\n" + "".join(f"{day},north,{x}\n" for day, x in zip(DAYS, UNITS, strict=True))
    with pytest.raises(InputError, match=r"Shop = 'north': .*columns: \{date: ..., customer: ..., units: ...\}"):
        load(tmp_path, text)
