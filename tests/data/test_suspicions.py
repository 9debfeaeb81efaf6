"""What a careful person would ask about a column, as `create` finds it: with the true reason and the key for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.artifacts import paths
from retrace.artifacts.findings import Finding
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import read_table
from retrace.runtime.errors import UserError
from stages import create as stage
from tests.project import turn

TABLES = Path("data/tables")
ROWS = 200


@pytest.fixture(autouse=True)
def own(project):
    TABLES.mkdir(parents=True)
    turn(project, {"create.dataset": "table", "create.table.path": "data/tables/t.csv"})


def frame(**columns) -> pd.DataFrame:
    random = np.random.default_rng(0)
    honest = pd.DataFrame({"size": random.normal(size=ROWS).round(2), "class": np.resize(["cat", "dog", "eel"], ROWS)})
    return honest.assign(**columns)


def found(table: pd.DataFrame, **changes) -> Schema:
    table.to_csv(TABLES / "t.csv", index=False)
    turn(Path(), changes)
    stage.main()
    return read_schema()


def only(schema: Schema) -> Finding:
    (finding,) = schema.findings
    return finding


def resized(*values) -> np.ndarray:
    return np.resize(np.array(values, dtype=object), ROWS)


def test_an_honest_table_has_none():
    random = np.random.default_rng(1)
    table = frame(
        age=random.integers(17, 91, ROWS),
        children=random.poisson(1.0, ROWS),
        income=np.where(random.random(ROWS) < 0.6, 0, random.integers(100, 9000, ROWS)),
        town=resized("Rome", "Oslo", "New York", "Bern"),
        share=random.random(ROWS).round(3),
        rank=resized(1, 2, 3, 4, 5),
        year=random.integers(1950, 2020, ROWS),
        balance=random.normal(0, 50, ROWS).round(),
    )
    assert found(table).findings == []


# --- codes (case 4) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [("007", "07", "7"), ("00", "0", "1"), ("0123", "123", "9")])
def test_04_codes_that_differ_in_zeros_only_are_kept_apart(codes):
    schema = found(frame(code=resized(*codes, codes[2])))
    assert schema.kind("code") == "categorical"
    assert read_table(paths.DATASET).column("code").to_pylist()[:3] == list(codes)
    assert only(schema).kind == "codes"
    assert "whole numbers that begin with 0" in only(schema).text
    schema = found(frame(code=resized(*codes, codes[2])), **{"create.columns.numeric": ["code"]})
    assert schema.kind("code") == "numeric"
    assert schema.findings == []


def test_04_codes_of_one_length_are_numbers_with_a_word(monkeypatch):
    monkeypatch.setattr("retrace.data.source.BLOCK", 500)
    schema = found(frame(zip=resized("98765", *["12345"] * 90, "01234")))
    assert schema.kind("zip") == "numeric"
    assert only(schema).line == (
        "column zip has whole numbers that begin with 0, such as '01234', as codes have, and is taken as a number;"
        " create.columns.categorical settles it"
    )
    assert found(frame(zip=resized("98765", "01234")), **{"create.columns.categorical": ["zip"]}).findings == []


@pytest.mark.parametrize("codes", [("008.45", "250.00", "401.9", "8.45"), ("01.5", "12.25", "3", "4")])
def test_04_codes_with_a_point_are_numbers_with_a_word(codes):
    schema = found(frame(code=resized(*codes)))
    assert only(schema).line == (
        f"column code has numbers that begin with 0, such as {codes[0]!r}, as codes have, and is taken as a number;"
        " create.columns.categorical settles it"
    )
    assert found(frame(code=resized("0.45", "0", "0.5", "-0.5"))).findings == []


# --- identifiers (case 5) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Id", "patient_id", "CustomerID", "subject", "order no", "x"])
def test_05_a_number_that_names_whom_a_row_is_about(name):
    random = np.random.default_rng(2)
    ids = random.integers(1_000_000, 9_999_999, ROWS)
    ids[random.permutation(ROWS)[:16]] = ids[0]
    schema = found(frame(**{name: ids}))
    assert name in schema.features
    assert only(schema).param == "create.columns.identifier"
    assert f"different values in {ROWS} rows" in only(schema).text
    assert f"split.method: group and split.column: {name}" in only(schema).text
    schema = found(frame(**{name: ids}), **{"create.columns.identifier": [name]})
    assert (schema.carried, schema.findings) == ([name], [])


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__", "level_0", "IDs", "Fallnummer", "kundnr"])
def test_05_an_index_that_was_shuffled_names_the_row(name):
    """As pandas writes it of a part of a frame, or R of names of rows."""
    index = np.random.default_rng(2).permutation(10 * ROWS)[:ROWS]
    schema = found(pd.DataFrame({name: index}).join(frame()))
    assert "is different in every row and is called an id" in only(schema).text
    schema = found(pd.DataFrame({name: np.sort(index)}).join(frame()))
    assert (schema.carried, only(schema).kind) == ([name or "column_1"], "left_out")


def test_05_also_where_it_repeats_often_or_is_a_text():
    for ids in (np.arange(ROWS) // 8 + 500, [f"P{row // 8}" for row in range(ROWS)]):
        assert only(found(frame(patient_id=ids))).kind == "identifier"
    # Of a text that hardly repeats, why it is not a feature, and what keeps its rows together.
    ids = [f"P{row // 2 if row < 20 else row}" for row in range(ROWS)]
    schema = found(frame(patient_id=ids))
    assert schema.carried == ["patient_id"]
    assert "split.method: group with split.column: patient_id" in only(schema).text


def test_05_measured_whole_numbers_name_nobody(monkeypatch):
    monkeypatch.setattr("retrace.data.source.BLOCK", 600)
    random = np.random.default_rng(3)
    table = frame(
        people=random.permutation(100_000)[:ROWS],
        year=np.repeat(np.arange(ROWS // 10), 10),
        weight=np.arange(ROWS) + 0.5,
        gap=[None, *range(ROWS - 1)],
        late=[*range(ROWS - 1), 5],
        nearly=[*range(2, ROWS - 1), 0, 0, 1],
    )
    assert found(table.astype({"gap": "Int64"})).findings == []


@pytest.mark.parametrize("most", [20, 10_000])
def test_05_numbers_that_count_the_rows_in_some_order(monkeypatch, most):
    """Also where there are more of them than can be kept, and across blocks."""
    monkeypatch.setattr("retrace.data.profile.MOST_DISTINCT", most)
    monkeypatch.setattr("retrace.data.source.BLOCK", 600)
    random = np.random.default_rng(3)
    mixed, gaps = random.permutation(ROWS) - 50, np.cumsum(random.integers(1, 9, ROWS))
    for values, seen in (
        (mixed, "has each whole number from -50 to 149 once"),
        (gaps, "rises with every row"),
        (gaps[::-1], "falls with every row"),
    ):
        assert f"column x {seen}, as if it named" in only(found(frame(x=values))).text
    mixed[[7, 9]] = mixed[11]
    assert found(frame(x=mixed)).findings == []
    long = random.permutation(10**6)[:ROWS] * 7 + 10**8
    assert [each.kind for each in found(frame(x=long)).findings if each.kind == "identifier"] == ["identifier"]
    several = random.integers(0, 90, ROWS)
    number = f"more than {most}" if most < 90 else len({*several})
    text = only(found(frame(device_id=several))).text
    assert f"column device_id has {number} different values in {ROWS} rows and is called an id" in text


# --- what texts look like (case 6) ----------------------------------------------------------------------------------


def test_06_dates_are_read_where_they_have_one_reading():
    days = [f"{1 + row % 28:02}/{1 + row % 12:02}/2019" for row in range(ROWS)]
    schema = found(frame(day=days))
    assert (schema.kind("day"), schema.date_formats["day"], schema.findings) == ("datetime", "day first", [])
    assert str(read_table(paths.DATASET).column("day")[12].as_py()) == "2019-01-13 00:00:00"
    for texts, date_format, first in (
        ([f"{1 + row % 12}/{1 + row % 28}/2019" for row in range(ROWS)], "month first", "2019-01-01 00:00:00"),
        ([f"{1 + row % 28}.{1 + row % 12}.2019 10:30" for row in range(ROWS)], "day first", "2019-01-01 10:30:00"),
        ([f"2019/{1 + row % 12}/{1 + row % 28}" for row in range(ROWS)], "without a zone", "2019-01-01 00:00:00"),
        ([f"2019-01-{1 + row % 28:02} 10:00:00+01" for row in range(ROWS)], "with a zone", "2019-01-01 09:00:00"),
        (
            [f"2019-01-{1 + row % 28:02} 10:00:00.123456789" for row in range(ROWS)],
            "without a zone",
            "2019-01-01 10:00:00.123456",
        ),
        (
            [f"2019-01-{1 + row % 28:02}T10:00:00.123456789Z" for row in range(ROWS)],
            "with a zone",
            "2019-01-01 10:00:00.123456",
        ),
    ):
        schema = found(frame(day=texts))
        assert (schema.kind("day"), schema.date_formats["day"]) == ("datetime", date_format)
        assert str(read_table(paths.DATASET).column("day")[0].as_py()) == first


LOOKS = [
    ("dates with the day or the month first", [f"{1 + row % 12:02}/{1 + row % 11:02}/2019" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28:02}.{1 + row % 12:02}.19" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28}-{['Jan', 'Mar', 'Dec'][row % 3]}-2019" for row in range(ROWS)]),
    ("dates", [f"{['May', 'March'][row % 2]} {1 + row % 28}, 2019" for row in range(ROWS)]),
    ("times of day", [f"{row % 24:02}:{row % 60:02}" for row in range(ROWS)]),
    ("times of day", [f"{1 + row % 12}:{row % 60:02} PM" for row in range(ROWS)]),
    ("e-mail addresses", [f"a{row}@b.org" for row in range(ROWS)]),
    ("web addresses", [f"https://b.org/{row}" for row in range(ROWS)]),
    ("numbers with a unit", [f"{row % 70} kg" for row in range(ROWS)]),
    ("numbers with a unit", [f"{row}cm" for row in range(ROWS)]),
    ("numbers with a unit", ["1.2k", "3M", "900", "5k"] * 50),
    ("addresses of machines", [f"10.0.{row % 7}.{row}" for row in range(ROWS)]),
    ("telephone or other numbers of persons", [f"{100 + row}-{10 + row % 90}-{1000 + row}" for row in range(ROWS)]),
    ("months, quarters or weeks", [f"2019-W{1 + row % 52:02}" for row in range(ROWS)]),
    ("months, quarters or weeks", [f"2019-{1 + row % 12:02}" for row in range(ROWS)]),
    ("durations", [f"{1 + row % 9}h{row % 60}m" for row in range(ROWS)]),
    ("degrees", [f"{row % 90}°{row % 60}'N" for row in range(ROWS)]),
    ("percentages", [f"{row % 100}‰" for row in range(ROWS)]),
    ("amounts of money", [f"Rs. {row}.50" for row in range(ROWS)]),
    ("texts in quotes or formulas", [f"'{row}.5'" for row in range(ROWS)]),
    ("numbers written in another way", [f"1_{row:03}" for row in range(ROWS)]),
    ("numbers written in another way", [f"{row}.5-" for row in range(ROWS)]),
    ("numbers written in another way", ["16:9", "4:3"] * 100),
    ("amounts of money", ["1.200,50 kr", "3,00 kr"] * 100),
    ("amounts of money", ["1 200,50 z\u0142", "3,00 z\u0142"] * 100),
    ("numbers with a unit", ["12.5\u00b0C", "13\u00b0C"] * 100),
    ("numbers with a unit", ["12 km/h", "13 km/h"] * 100),
    ("numbers with a unit", ["12 m\u00b2", "1 200 m\u00b2"] * 100),
    ("texts in quotes or formulas", ["'5", "'6"] * 100),
    ("times of day", [f"T{row % 24:02}:00" for row in range(ROWS)]),
    ("months, quarters or weeks", ["Jan-20", "Feb-20", "Sept 2021"] * 66 + ["Jan-20"] * 2),
    ("dates", [f"2019-W{1 + row % 52:02}-1" for row in range(ROWS)]),
    ("dates", [f"201901{1 + row % 28:02}T1000" for row in range(ROWS)]),
    ("dates", [f"2019\u5e741\u6708{1 + row % 28}\u65e5" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28:02}JAN2019" for row in range(ROWS)]),  # SAS
    ("dates", [f"{1 + row % 28:02}JAN2019:08:00:00" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28:02}jan2019 08:00:00" for row in range(ROWS)]),  # Stata
    ("dates", [f"Mon, {1 + row % 28:02} Jan 2019 08:00:00 +0000" for row in range(ROWS)]),
    ("dates", [f"Tue Jan {1 + row % 28:2} 08:00:00 2019" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28:02}/Jan/2019:08:00:00 +0100" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28} f\u00e9vr. 2019" for row in range(ROWS)]),
    ("dates", [f"lundi {1 + row % 28} ao\u00fbt 2019" for row in range(ROWS)]),
    ("dates", [f"{1 + row % 28} maj 2019" for row in range(ROWS)]),
    ("months, quarters or weeks", [f"2019m{1 + row % 12}" for row in range(ROWS)]),
    ("months, quarters or weeks", [f"KW {1 + row % 52}/2019" for row in range(ROWS)]),
    ("times of day", [f"{row % 24}h{row % 60:02}" for row in range(ROWS)]),
    ("times of day", [f"{row % 24}.{row % 60:02} Uhr" for row in range(ROWS)]),
    ("durations", [f"{row % 3} days 00:{row % 60:02}:00" for row in range(ROWS)]),
    ("amounts of money", [f"\u00a3{row % 70}k" for row in range(ROWS)]),
    ("amounts of money", [f"{row % 70} nok" for row in range(ROWS)]),
    ("numbers with a unit", [f"{row % 70} min" for row in range(ROWS)]),
    ("numbers with a unit", [f"{row % 70} PCS" for row in range(ROWS)]),
    ("days without a year", [f"{1 + row % 28}-Jan" for row in range(ROWS)]),
    ("numbers of versions or sections", ["1.2.3", "1.10.0", "2.0.1"] * 66 + ["1.2.3"] * 2),
    ("numbers written in another way", ["1.5\u00d710^3", "2.5x10-4", "7"] * 66 + ["7"] * 2),
    ("numbers written in another way", ["0.5*", "0.7**", "0.3"] * 66 + ["0.3"] * 2),
    ("numbers written in another way", ["1\u00bd", "\u00be", "2"] * 66 + ["2"] * 2),
    ("numbers written in another way", ["5'11\"", "6'2\""] * 100),
    ("numbers written in another way", ["12.-", "15.50", "7.\u2013"] * 66 + ["12.-"] * 2),
]


@pytest.mark.parametrize(("what", "texts"), LOOKS)
def test_06_what_is_not_read_is_named_for_what_it_looks_like(what, texts):
    schema = found(frame(odd=texts))
    assert f"column odd looks like {what} ({texts[0]!r})" in only(schema).text
    assert "names the row" not in only(schema).text
    assert only(schema).param == "create.columns"
    assert found(frame(odd=texts), **{"create.columns.ignored": ["odd"]}).findings == []


TIMES = [
    ("date", "dates", lambda row: 20190101 + 100 * (row % 12) + row % 28),
    ("time", "seconds since 1970", lambda row: 1_600_000_000 + 997 * row),
    ("updated_at", "milliseconds since 1970", lambda row: 1_600_000_000_000 + 997 * row * (-1) ** row),
    ("date", "days of a spreadsheet", lambda row: 43_466 + row * 7 % 400),
    ("when", "days of a spreadsheet", lambda row: 43_466 + row * 7 % 400),
    ("created", "seconds since 1970", lambda row: 1_600_000_000 + 997 * row),
    ("timestamp", "seconds since 1970", lambda row: 1_600_000_000.25 + 997 * row),
    ("Datum", "days of a spreadsheet", lambda row: 43_466.25 + row * 7 % 400),
]


@pytest.mark.parametrize("most", [100, 10_000])
@pytest.mark.parametrize(("name", "what", "value"), TIMES)
def test_06_numbers_that_are_times_are_named_as_such(monkeypatch, name, what, value, most):
    """Also where there are more of them than can be kept, but for dates, of which there are never so many."""
    if what != "dates":
        monkeypatch.setattr("retrace.data.profile.MOST_DISTINCT", most)
    findings = found(frame(**{name: [value(row) for row in np.random.default_rng(0).permutation(ROWS)]})).findings
    assert [each.kind for each in findings if each.kind != "large_numbers"] == ["looks_like"]
    assert f"column {name} looks like {what} (" in findings[-1].text


@pytest.mark.parametrize(
    "texts",
    [
        ["Lot 12", "Lot 13"],
        ["REF 100", "ROW 7"],
        ["sample 5", "sample 6"],
        ["Set 10", "Market 12"],
        ["Section 10", "Sector 11"],
    ],
)
def test_06_a_word_before_a_number_is_no_currency_and_no_month(texts):
    assert found(frame(odd=resized(*texts))).findings == []


@pytest.mark.parametrize(
    ("texts", "day"), [(["1-2", "3-4", "05-Jun"], "05-Jun"), (["BRCA1", "TP53", "1-Mar"], "1-Mar")]
)
def test_06_what_a_spreadsheet_made_a_day_of_is_named(texts, day):
    finding = only(found(frame(odd=resized(*texts, texts[0]))))
    assert f"column odd: {day!r} (50 rows) may be what a spreadsheet made of another text" in finding.text
    assert found(frame(odd=resized("Jan", "Mar", "May", "Mar"))).findings == []


def test_06_numbers_of_several_currencies_are_named_as_such():
    text = only(found(frame(odd=resized("USD 1", "$2", "3", "4 €", "£5")))).text
    assert "looks like numbers that are not all written alike ('USD 1' and '$2' and '3')" in text


def test_06_percentages_with_their_sign_before_them_are_numbers():
    assert found(frame(share=resized("%12,5", "%7", "-%3,25", "%1"))).findings == []
    assert read_table(paths.DATASET).column("share").to_pylist()[:3] == [0.125, 0.07, -0.0325]


def test_06_texts_of_parquet_that_are_numbers_are_named_as_such():
    for values, kinds in (
        (["1.50", "2.50", "NA", "1.50"], ["looks_like", "missing_value"]),
        (["01", "02", "12", "01"], ["codes"]),
    ):
        pq.write_table(pa.Table.from_pandas(frame(odd=resized(*values))), TABLES / "t.parquet")
        turn(Path(), {"create.table.path": "data/tables/t.parquet"})
        stage.main()
        assert [each.kind for each in read_schema().findings] == kinds
        assert "looks like numbers and" in read_schema().findings[0].text or kinds == ["codes"]


def test_06_where_nothing_is_left_the_reason_of_each_column_is_told():
    days = [f"{1 + row % 28:02}JAN2019 {row}" for row in range(ROWS)]
    with pytest.raises(UserError, match=r"nothing can be learned; column size looks like dates .*write 2026-01-31"):
        found(frame(size=days))


@pytest.mark.parametrize("none", ["9999-12-31", "2099-12-31", "2999-01-01", "1753-01-01", "1601-01-01", "1900-01-01"])
def test_06_dates_by_which_programs_say_that_they_have_none(none):
    days = [f"2019-01-{1 + row % 28:02}" for row in range(ROWS - 5)] + [none] * 5
    finding = only(found(frame(day=days)))
    assert finding.line == (
        f"column day: {none!r} (5 rows) may stand for a missing value; create.reading.missing settles it"
    )
    assert found(frame(day=days), **{"create.reading.missing": ["", none]}).findings == []


def test_06_dates_of_two_readings_are_not_guessed_also_when_asked_for():
    texts = [f"{1 + row % 12:02}/{1 + row % 11:02}/2019" for row in range(ROWS)]
    with pytest.raises(UserError, match="row 1: '01/01/2019' is not a date or time like 2026-01-31"):
        found(frame(odd=texts), **{"create.columns.datetime": ["odd"]})


# --- values that look the same --------------------------------------------------------------------------------------


SAME = [
    (("Rome", "rome", "Oslo", "Rome"), "'Rome' and 'rome'"),
    (("new york", "new  york", "Oslo", "new york"), "'new york' and 'new  york'"),
    (("K\u00f6ln", "Ko\u0308ln", "Oslo", "K\u00f6ln"), r"'K\xf6ln' and 'Ko\u0308ln'"),
    (("a", "a\u200b", "b", "a"), r"'a' and 'a\u200b'"),
    (("1", "1.0", "two", "1"), "'1' and '1.0'"),
    (("New York", "New-York", "Oslo", "New York"), "'New York' and 'New-York'"),
    (("S\u00e3o Paulo", "Sao Paulo", "Oslo", "S\u00e3o Paulo"), "'S\u00e3o Paulo' and 'Sao Paulo'"),
    (("cop", "\u0441op", "Oslo", "cop"), r"'cop' and '\u0441op'"),
    (("a", "a.", "b", "a"), "'a' and 'a.'"),
    (("O'Neil", "O\u2019Neil", "x", "O'Neil"), "\"O'Neil\" and 'O\\u2019Neil'"),
    (("a-b", "a\u2013b", "c", "a-b"), "'a-b' and 'a\\u2013b'"),
    (("U.S.A.", "USA", "UK", "U.S.A."), "'U.S.A.' and 'USA'"),
    (("A&B", "A and B", "C", "A&B"), "'A&B' and 'A and B'"),
    (("St. John", "St John", "x", "St. John"), "'St. John' and 'St John'"),
    (("a/b", "a / b", "c", "a/b"), "'a/b' and 'a / b'"),
    (("x (a)", "x(a)", "y", "x (a)"), "'x (a)' and 'x(a)'"),
    (("K\u00f6ln", "Koeln", "Oslo", "K\u00f6ln"), "'K\u00f6ln' and 'Koeln'"),
    (("A0", "AO", "B", "A0"), "'A0' and 'AO'"),
    (("abc", "\u202eabc", "x", "abc"), "'abc' and '\\u202eabc'"),
    (("x\u2764", "x\u2764\ufe0f", "y", "x\u2764"), "'x\u2764' and 'x\u2764\ufe0f'"),
    (("0", "-0", "one", "0"), "'0' and '-0'"),
]


@pytest.mark.parametrize(("values", "named"), SAME)
def test_values_that_a_person_takes_for_the_same(values, named):
    finding = only(found(frame(town=resized(*values)), **{"create.columns.categorical": ["town"]}))
    assert finding.text == f"column town has values that a person would take for the same: {named}; write them alike"


@pytest.mark.parametrize(("values", "named"), SAME)
def test_labels_that_a_person_takes_for_the_same(values, named):
    schema = found(frame(**{"class": resized(*values)}))
    assert only(schema).text == (
        f"the target class has values that a person would take for the same: {named}; write them alike"
    )
    assert len(schema.classes) == 3


def test_yes_in_any_letters_and_blanks_is_one_value():
    schema = found(frame(member=resized("yes", "Yes", " yes", "NO", "no ")))
    assert (schema.kind("member"), schema.findings) == ("boolean", [])
    assert read_table(paths.DATASET).column("member").to_pylist()[:5] == [True, True, True, False, False]
    table = pa.Table.from_pandas(frame(town=resized("Rome", " Rome", "Oslo ")), preserve_index=False)
    pq.write_table(table, TABLES / "t.parquet")
    turn(Path(), {"create.table.path": "data/tables/t.parquet"})
    stage.main()
    assert set(read_table(paths.DATASET).column("town").to_pylist()) == {"Rome", "Oslo"}


# --- what stands for nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "others", "param"),
    [
        (-999, (20, 60), "create.reading.missing"),
        (9999, (20, 60), "create.reading.missing"),
        (999, (0, 100), "create.reading.missing"),
        (99, (17, 80), "create.reading.missing"),
        (65535, (20, 60), "create.reading.missing"),
        (-1, (0, 100), "create.table.path"),
        (0, (40, 200), "create.table.path"),
    ],
)
@pytest.mark.parametrize("fraction", [0, 0.25])
def test_numbers_that_stand_for_none(value, others, param, fraction):
    random = np.random.default_rng(3)
    values = random.integers(*others, ROWS) + (fraction if value != -1 else 0)
    values[random.permutation(ROWS)[:12]] = value
    finding = only(found(frame(pressure=values)))
    assert (finding.kind, finding.param) == ("placeholder", param)
    text = str(values[values == value][0])  # as it stands in the file, which is what create.reading.missing has
    assert f"column pressure: {text} (12 rows) stands apart from all others" in finding.text
    if param == "create.reading.missing":
        missing = ["", text]
        assert found(frame(pressure=values), **{"create.reading.missing": missing}).findings == []
        assert read_table(paths.DATASET).column("pressure").null_count == 12
    else:
        assert found(frame(pressure=pd.Series(values).where(values != value))).findings == []


@pytest.mark.parametrize(
    ("several", "others"),
    [((99, 98, 97), (1, 6)), ((-9, -8, -7), (1, 6)), ((-999, -998), (0, 50)), ((8888, 7777), (0, 9))],
)
def test_numbers_that_stand_for_none_for_several_reasons(several, others):
    random = np.random.default_rng(3)
    values = random.integers(*others, ROWS)
    values[random.permutation(ROWS)[:12]] = np.resize(several, 12)
    named = " and ".join(map(str, several if several[0] < 99 or several[0] == 99 else sorted(several, reverse=True)))
    assert f"column answer: {named} (12 rows) stand apart from all others" in only(found(frame(answer=values))).text


@pytest.mark.parametrize("value", ["-999", "1e+20", "3.402823e+38", "9.96921e+36"])
def test_one_row_is_enough_where_nobody_measures_such_a_number(value):
    values = [f"{row % 17}.5" for row in range(ROWS)]
    values[7] = value
    assert only(found(frame(pressure=values))).kind == "placeholder"
    assert found(frame(pressure=values), **{"create.reading.missing": ["", value]}).findings == []


def test_placeholders_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr("retrace.data.source.BLOCK", 600)
    monkeypatch.setattr("retrace.data.profile.MOST_DISTINCT", 50)
    values = np.random.default_rng(3).normal(50, 5, ROWS).round(3)
    values[[3, 120, 190]] = -99
    assert "-99 (3 rows) stands apart from all others" in only(found(frame(pressure=values))).text


MORE = [
    "#REF!",
    "[null]",
    "\u2026",
    "Not stated",
    "no info",
    "NotAvailable",
    "nicht bekannt",
    "desconocido",
    "NaT",
    "unk",
]


@pytest.mark.parametrize("text", ["n/a", "-", "unknown", "#N/A", "<NA>", "--", "missing", *MORE])
def test_texts_that_stand_for_none(text):
    table = frame(town=resized("Rome", "Oslo", text, "Rome"))
    finding = only(found(table))
    assert finding.line == (
        f"column town: {text!r} (50 rows) may stand for a missing value, and is a category; create.reading.missing"
        " settles it"
    )
    assert found(table, **{"create.reading.missing": ["", text]}).findings == []
    assert read_table(paths.DATASET).column("town").null_count == 50


@pytest.mark.parametrize(("text", "others"), [("-999.0", "{}.5"), ("$999.00", "${}.25"), ('"-9,999.0"', "{}.5")])
def test_a_placeholder_is_named_as_it_stands_in_the_file_so_that_the_advice_works(text, others):
    values = [text if row % 6 == 0 else others.format(row % 9 + 1) for row in range(60)]
    lines = [f"{value},{row % 7},{'ab'[row % 2]}" for row, value in enumerate(values)]
    Path("data/tables/t.csv").write_text("size,other,class\n" + "\n".join(lines) + "\n")
    turn(Path(), {"create.table.path": "data/tables/t.csv", "create.table.target": "class"})
    stage.main()
    (finding,) = [each for each in read_schema().findings if each.kind == "placeholder"]
    named = text.strip('"')
    assert f"column size: {named} (10 rows) stands apart" in finding.text
    turn(Path(), {"create.reading.missing": ["", named]})
    stage.main()
    assert [each for each in read_schema().findings if each.kind == "placeholder"] == []
