"""What people's files hold, read as a careful person would, or refused in a line whose advice works.

The numbers of a column (decimal and thousands signs, units), the header and the delimiter, rows that would vanish, and
folders of Parquet: each case with its right value.
"""

import bz2
import datetime
import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.artifacts import paths
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.cli.main import invoke
from retrace.data import source
from retrace.runtime.errors import BAD_DATA, UserError
from stages import create as stage
from stages import split, train
from tests.project import TINY, turn

TABLES = Path("data/tables")
ROWS = 24
KINDS = ["x", "y", "y"]


@pytest.fixture(autouse=True)
def own(project):
    TABLES.mkdir(parents=True)
    turn(project, {"create.dataset": "table", "create.table.target": "kind"})


def lines(delimiter: str, **columns: list[object]) -> str:
    """A file of texts: the values over and over, and a target."""
    rows = [[*(values[row % len(values)] for values in columns.values()), KINDS[row % 3]] for row in range(ROWS)]
    return "".join(f"{delimiter.join(map(str, row))}\n" for row in [[*columns, "kind"], *rows])


def made(content: str | bytes, name: str = "table.csv", **changes) -> dict[str, list]:
    """The columns of the data set that the stage makes of a file."""
    path = TABLES / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    turn(Path(), {"create.table.path": path.as_posix(), **{key.replace("__", "."): to for key, to in changes.items()}})
    stage.main()
    return read_table(paths.DATASET).to_pydict()


def refused(content: str | bytes, *words: str, name: str = "table.csv", **changes) -> str:
    with pytest.raises(UserError) as caught:
        made(content, name, **changes)
    line = str(caught.value)
    assert caught.value.status == BAD_DATA
    assert "\n" not in line
    assert all(word in line for word in words), line
    return line


# --- numbers --------------------------------------------------------------------------------------------------------

DECIMAL = "set create.reading.decimal to point or comma"


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
@pytest.mark.parametrize(
    ("values", "point", "comma"),
    [
        (["950", "1,200", "4,300"], [950, 1200, 4300], [950, 1.2, 4.3]),
        (["950", "1.200", "4.300"], [950, 1.2, 4.3], [950, 1200, 4300]),
        (["12.531", "7.125"], [12.531, 7.125], [12531, 7125]),
        (["$1,200", "$950"], [1200, 950], [1.2, 950]),
        (["-1.200 €", "\u22124.300 €"], [-1.2, -4.3], [-1200, -4300]),
    ],
)
def test_a_sign_that_may_divide_thousands_is_asked_for_and_the_key_settles_it(delimiter, values, point, comma):
    content = lines(delimiter, amount=values, n=[1, 2, 3, 4])
    refused(content, "column amount: is ", f"{values[0] if '2' in values[0] else values[1]!r}", DECIMAL)
    for decimal, right in (("point", point), ("comma", comma)):
        assert made(content, create__reading__decimal=decimal)["amount"] == [
            right[row % len(right)] for row in range(ROWS)
        ]


@pytest.mark.parametrize(
    ("values", "other", "right"),
    [
        (["950", "1,200", "4,300"], ["0.5", "12.25"], [950, 1200, 4300]),
        (["2.531", "950"], ["0,5", "1,7"], [2531, 950]),
        (["2.531", "7.125"], ["0.5", "1.7"], [2.531, 7.125]),
        (["2.531", "7.125"], ["1,234,567", "1"], [2.531, 7.125]),
        (["2.531", "7.125"], ["1.234,5", "1"], [2531, 7125]),
    ],
)
def test_other_columns_settle_what_a_column_leaves_open(values, other, right):
    assert made(lines("\t", amount=values, n=other))["amount"] == [right[row % len(right)] for row in range(ROWS)]


def test_where_columns_contradict_each_other_nothing_is_guessed():
    content = lines(";", amount=["2.531", "7.125"], a=["0.5", "1.25"], b=["0,5", "1,25"])
    refused(content, "column amount: is '2.531' 2.531 or 2531?", DECIMAL)
    columns = made(content, create__reading__decimal="comma")
    assert (columns["amount"][0], columns["a"][0], columns["b"][1]) == (2531, 0.5, 1.25)
    # Fractions that are padded with zeros, beside whole numbers that are not: no program writes both.
    refused(
        lines(";", amount=["950", "1.200"], a=["0.5", "1.25"]),
        "column amount: is '1.200' 1.2 or 1200?",
        DECIMAL,
        create__reading__decimal="auto",
    )


def test_what_holds_no_numbers_tells_nothing_of_their_signs():
    content = lines(";", amount=["92.974", "17.125"], code=["1,5", "2,5"], note=["1,5", "some", "none"])
    assert made(content)["amount"][0] == 92974
    as_target = content.replace("code", "kind", 1).replace(";kind\n", ";x\n")
    words = "column amount: is '92.974' 92.974 or 92974?"
    refused(as_target, words, DECIMAL)
    refused(content, words, DECIMAL, create__columns__categorical=["code"])


@pytest.mark.parametrize(
    ("values", "right"),
    [
        (["0,12", "1,5", "-3"], [0.12, 1.5, -3]),
        (["1.234,5", "2,5", "1.200"], [1234.5, 2.5, 1200]),
        (["1,234.5", "2.5", "1,200"], [1234.5, 2.5, 1200]),
        (["1 234,50", "2\u00a0234,50", "3\u202f234,5"], [1234.5, 2234.5, 3234.5]),
        (["1'234.50", "2\u2019000"], [1234.5, 2000]),
        (["12,34,567", "1,00,000", "5"], [1234567, 100000, 5]),
        (["0.123", "1.200"], [0.123, 1.2]),
        (["1234.567", "1.200"], [1234.567, 1.2]),
        (["$8109.00", "$12.50", "-$3.00", "($4.00)"], [8109, 12.5, -3, -4]),
        (["8.109,00 €", "12,50 €", "-3,00\u00a0€"], [8109, 12.5, -3]),
        (["EUR 5", "EUR 12.5"], [5, 12.5]),
        (["R$ 1.234,50", "R$ 2,50"], [1234.5, 2.5]),
        (["12%", "12.3 %", "\u22125%"], [0.12, 0.123, -0.05]),
        (["12,5 %", "7 %"], [0.125, 0.07]),
        (["\u22125.5", "\u20131.25", "\u00a03.5"], [-5.5, -1.25, 3.5]),
        (["(5.5)", "1.25"], [-5.5, 1.25]),
        (["+1e-3", "1E5", ".5", "5."], [0.001, 100000, 0.5, 5]),
    ],
)
def test_numbers_with_one_reading_are_read(values, right):
    quoted = [f'"{value}"' for value in values]
    for content in (lines(";", n=values, m=[1, 2, 3]), lines(",", n=quoted, m=[1, 2, 3])):
        assert made(content)["n"] == [right[row % len(right)] for row in range(ROWS)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1.5", "2,5"], "column n holds '1.5' with a decimal point and '2,5' with a decimal comma"),
        (["1.234.567", "2.5"], "column n holds '2.5' with a decimal point and '1.234.567' with a decimal comma"),
        (["$5", "$6", "7"], "row 3: '7' is not a number with $, but 16 of 24 values are"),
        (["12%", "0.12", "13%"], "row 2: '0.12' is not a number with %"),
        (["$5", "€6", "$7"], "row 2: '€6' is not a number with $"),
        (["1,5", "2,5", "1.2.3"], "row 3: '1.2.3' is not a number"),
    ],
)
def test_two_ways_of_writing_in_one_column_are_refused(values, words):
    content = lines(";", n=values, m=[1, 2, 3])
    refused(content, words, "create.columns.categorical")
    assert set(made(content, create__columns__categorical=["n"])["n"]) == set(values)


@pytest.mark.parametrize("texts", [["n00", "n01"], ["1.2.3", "1.2.4"], ["192.168.1.1", "10.0.0.1"], ["AB 12", "5-"]])
def test_what_only_resembles_a_number_stays_a_text(texts):
    assert made(lines(";", n=texts, m=["0,5", "1,5"]))["n"][:2] == texts


@pytest.mark.parametrize("text", ["1e-400", "0." + "0" * 330 + "1", "-2E-999"])
def test_a_number_that_would_become_0_is_refused(text):
    content = lines(";", n=["0.0000000", text, "0e-2", "1.5"], m=[1, 2, 3])
    refused(content, f"column n, row 2: {text!r} is closer to 0 than a number of 64 bits can be; write 0")
    assert made(content.replace(text, "0"))["n"][:4] == [0, 0, 0, 1.5]


def test_what_shows_only_far_down_counts_as_much():
    """Thousands of rows without a sign, and one at the end that settles all those before it."""
    rows = [("950", "a"), ("1,200", "b")] * 3000
    text = "".join(f"{value}\t{row % 7}\t{kind}\n" for row, (value, kind) in enumerate(rows))
    head = "amount\tn\tkind\n"
    refused(head + text, "column amount: is '1,200' 1.2 or 1200?", name="table.tsv")
    assert made(f"{head}{text}1,200.50\t1\ta\n", "table.tsv")["amount"][-2:] == [1200, 1200.5]
    assert made(f"{head}{text}0,5\t1\ta\n", "table.tsv")["amount"][-2:] == [1.2, 0.5]
    whole = "".join(f"{row % 50}\t{row % 7}\t{kind}\n" for row, (_, kind) in enumerate(rows))
    refused(f"{head}{whole}1,200\t1\ta\n", "column amount: is '1,200'", name="table.tsv")
    assert made(f"{head}{whole}1,5\t1\ta\n", "table.tsv")["amount"][-2:] == [49, 1.5]


def test_a_column_that_is_said_to_hold_no_numbers_is_not_asked_about():
    content = lines(";", amount=["1.200", "950"], n=[1, 2, 3])
    assert made(content, create__columns__categorical=["amount"])["amount"][0] == "1.200"
    assert "amount" in made(content, create__columns__categorical=[], create__columns__ignored=["amount"])


# --- header and delimiter -------------------------------------------------------------------------------------------

PLAIN = lines(";", size=["0.5", "12.25", "7.0"], n=[1, 2, 3, 4, 5])


def commas(text: str) -> str:
    return text.replace(";", ",")


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace(";", ", "),
        PLAIN.replace(";", ";  "),
        PLAIN.replace(";", " , "),
        PLAIN.replace(";", " |"),
        PLAIN.replace(";", " "),
        PLAIN.replace(";", ", ").replace("x", '"x"').replace("kind", '"kind"'),
        "sep=;\n" + PLAIN,
        "\ufeffsep=;\r\n" + PLAIN.replace("\n", "\r\n"),
        "sep=,\n" + commas(PLAIN),
        '"sep=;"\n' + PLAIN,
        "SEP=;\n" + PLAIN,
        "sep=;\n" + commas(PLAIN),  # it may be wrong
        "\ufeff\ufeff" + PLAIN,
        "\n\n" + PLAIN,
        "\r\n \r\n" + commas(PLAIN),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("x", '"x"').replace("\n", "\n\n"),
        PLAIN.replace("x", '"x"').replace("\n", "\r"),
    ],
)
def test_header_and_delimiter_are_found(content):
    plain = made(PLAIN)
    assert list(plain) == ["size", "n", "kind"]
    assert plain["size"][:3] == [0.5, 12.25, 7]
    assert made(content) == plain
    assert read_schema().findings == []


@pytest.mark.parametrize(
    "titles",
    [
        "Report of 2024\n",
        "Sizes, by kind\n\nmade today\n",
        "# made by R\n",
        "# size; n; kind\n#\n",
        "Report\nkind\n\n",
        "Report;;\n;;\n",
    ],
)
def test_title_lines_are_left_out_with_a_word(titles):
    plain = made(PLAIN)
    assert made(titles + PLAIN) == plain
    (finding,) = read_schema().findings
    number = sum(bool(line) for line in titles.split("\n"))
    what = "1 line" if number == 1 else f"{number} lines"
    assert f"{what} before the header (line {titles.count(chr(10)) + 1})" in finding.text


@pytest.mark.parametrize("sign", [", ", ";", ",\t", " "])
def test_names_with_blanks(sign):
    text = PLAIN.replace("size", '"my size"' if sign == " " else "my size").replace(";", sign)
    assert list(made(text)) == ["my size", "n", "kind"]


def test_blanks_and_delimiters_in_quotes_stay():
    content = lines(", ", note=['"a, ""b"""', '"c\n, ""d"'], n=[1, 2, 3, 4])
    assert made(content)["note"][:2] == ['a, "b"', 'c\n, "d']
    line = content.count("\n") + 1
    refused(content + '"e", 1, x, 2\n', f"table.csv: line {line} has 4 cells where the header has 3")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("target", ["kind", "x"])
def test_a_header_that_is_missing_is_noticed(sign, target):
    """Also where the target is called as a class is, so that the first row would do as a header."""
    content = lines(sign, size=["0.5", "12.25", "7.0"], n=[1, 2, 3, 4, 5]).split("\n", 1)[1]
    line = refused(
        content,
        "table.csv: line 1 looks like a row and not like a header ('0.5', '1', 'x')",
        create__table__target=target,
    )
    assert line.endswith("put a line with the names of the columns before it")
    fixed = sign.join(["size", "n", "kind"]) + "\n" + content
    assert list(made(fixed, create__table__target="kind")) == ["size", "n", "kind"]


@pytest.mark.parametrize("cell", ["", "NA", "?", "0.5"])
def test_a_header_that_is_missing_is_noticed_also_with_a_gap_in_it(cell):
    content = lines(",", size=["0.5", "12.25", "7.0", "1.5"], n=["3.5", "1.0", "2.0", "3.5", "4.0"]).split("\n", 1)[1]
    content = content.replace("0.5", cell, 1)
    refused(content, f"line 1 looks like a row and not like a header ({cell!r}, '3.5', 'x')", create__table__target="x")


def test_a_header_of_numbers_that_stand_twice_is_none():
    content = "5,1,1\n" + "".join(f"{row % 9},{row % 2},{row % 5 // 3}\n" for row in range(ROWS))
    refused(content, "line 1 looks like a row", create__table__target="1")


def test_columns_that_are_called_as_fractions_are_asked_about():
    content = lines(",", **{"5.1": ["0.5", "12.25"], "3.5": ["1.0", "2.0"]})
    assert list(made(content)) == ["5.1", "3.5", "kind"]  # wavelengths, say
    (finding,) = read_schema().findings
    assert "columns are called '5.1', '3.5': is line 1 a row, and no header there?" in finding.text


@pytest.mark.parametrize("side", ["<", ">"])
def test_columns_that_stand_below_each_other(side):
    rows = [line.split(";") for line in PLAIN.splitlines()]
    text = "".join("  ".join(format(cell, f"{side}7") for cell in row) + "\n" for row in rows)
    assert made(text) == made(PLAIN)
    refused(text.replace("12.25", "     ", 1), "has 2 cells where the header has 3")


OTHERS = [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a pointer of Git LFS", "git lfs pull"),
    (b"\n<!DOCTYPE html><html>\n", "a web page", "download the file itself"),
    (b'<?xml version="1.0"?>\n', "XML", "store the table as CSV"),
    (b'{"size": 1, "kind": "x"}\n', "JSON", "store the table as CSV"),
    (b'[{"size": 1}]\n', "JSON", "store the table as CSV"),
    (b"PK\x03\x04\x14\x00", "an Excel workbook or another zip archive", "save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", "save the sheet as CSV"),
    (gzip.compress(PLAIN.encode()), "packed with gzip", "let its name end with .gz"),
    (bz2.compress(PLAIN.encode()), "a packed file", "unpack it"),
    (lzma.compress(PLAIN.encode()), "a packed file", "unpack it"),
    (b"PAR1\x15\x04", "Parquet", "let its name end with .parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "store the table as CSV"),
    (b"\x89HDF\r\n", "made by another program", "store the table as CSV"),
]


# Named by place: what a packer writes has the time in it.
@pytest.mark.parametrize(("content", "what", "fix"), OTHERS, ids=range(len(OTHERS)))
def test_what_is_no_text_is_named_for_what_it_is(content, what, fix):
    refused(content, f"table.csv is not a CSV file but {what}", fix)


def test_names_that_begin_as_other_files_do_are_names():
    assert list(made(lines(",", par1=["0.5", "1.5"], orchid=[1, 2, 3]))) == ["par1", "orchid", "kind"]


@pytest.mark.parametrize("letter", ["\u00fc", "\u00d6", "\u00e9", "\u2019", "\u20ac"])
def test_letters_that_were_encoded_twice_are_a_suspicion(letter):
    content = lines(",", town=[f"Z{letter}", "b", "c", "d"], n=[1, 2, 3])
    made(content.replace("b,", "\u201eSpa\u00df\u201c,").encode())
    assert read_schema().findings == []
    made(content.encode().decode("cp1252").encode())
    (finding,) = read_schema().findings
    assert f"looks like {letter!r} in UTF-8 that was read in another encoding" in finding.text


def test_rows_before_the_header_are_no_titles():
    refused("1;2;3\n4;5;6\n" + PLAIN, "line 3 names the column kind, and what stands before it looks like rows")


@pytest.mark.parametrize("rows", [1, 200])
def test_a_header_that_comes_again_is_named(rows):
    header, first = PLAIN.split("\n", 1)
    count = first.count("\n") * rows
    refused(f"{header}\n{first * rows}{header}\n{first}", f"table.csv: row {count + 1:,} repeats the header; delete it")


def test_a_column_may_be_called_as_one_of_its_values():
    assert list(made(lines(",", no=["yes", "no"], size=["0.5", "12.25"]))) == ["no", "size", "kind"]


def test_a_header_of_numbers_is_one():
    text = lines(",", **{"0": ["0.5", "12.25"], "1": [1, 2, 3], "2": [7, 8]})
    assert list(made(text)) == ["0", "1", "2", "kind"]


# --- rows that would vanish -----------------------------------------------------------------------------------------

LONG = lines(";", size=[f"{row / 7}" for row in range(ROWS)], n=[1, 2, 3, 4, 5])


def with_quote(number: int, *, at_end: bool = False) -> str:
    """A quote in the last cell of a line, at its beginning or at its end."""
    each = LONG.splitlines()
    before, sign, last = each[number - 1].rpartition(";")
    each[number - 1] = f'{before}{sign}{last}"' if at_end else f'{before}{sign}"{last}'
    return "\n".join(each) + "\n"


@pytest.mark.parametrize("sign", [";", ",", "\t", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("number", [2, 12, 25])
def test_a_quote_that_is_never_closed_is_named(sign, end, number):
    content = with_quote(number).replace(";", sign).replace("\n", end)
    refused(content, f"table.csv: a quote opened in line {number} is never closed", "close or delete it")
    closed = content.replace('"x', '"x"').replace('"y', '"y"')
    assert made(closed) == made(LONG)


def test_a_quote_that_may_have_swallowed_one_row_is_a_suspicion():
    content = lines(",", note=["a", "b", '"c', 'd"', "e", "f", "f", "e", "b"])
    assert len(made(content.replace('"', ""))["kind"]) == ROWS
    content = (
        content.replace('d"', "d", 1).replace('"c,y\nd,', '"c,y\nd",', 1).replace('"c', "c").replace("c,y", '"c,y', 1)
    )
    assert made(content, create__columns__categorical=["note"])["note"][2] == "c,y\nd"
    assert any("the quote opened in line 4 is closed in the next line" in each.text for each in read_schema().findings)


def test_a_quote_that_is_closed_rows_later_is_named():
    each = with_quote(10).splitlines()
    each[14] += '"'
    refused("\n".join(each), "a quote opened in line 10 is closed in line 15 only", "close or delete it")


@pytest.mark.parametrize("cell", [r'"say \"hi\""', '"a"b', '"a" "b"'])
def test_text_behind_a_closing_quote_is_named(cell):
    each = lines(";", note=["plain", cell, "more"], n=[1, 2, 3, 4])
    refused(each, "table.csv: line 3: text follows a closing quote; write a quote inside of quotes twice")
    assert made(each.replace(cell, '"say ""hi"""'))["note"][1] == 'say "hi"'


def test_a_quote_in_the_first_lines_and_one_behind_many_blocks(monkeypatch):
    refused(LONG.replace("size", '"size', 1), "is never closed")
    long = LONG + LONG.split("\n", 1)[1] * 500
    monkeypatch.setattr("retrace.data.source.BLOCK", 1 << 12)
    refused(long.rstrip("\n").rpartition(";")[0] + ';"x\n', "a quote opened in line 12,025 is never closed")
    assert len(made(long)["n"]) == 501 * ROWS


def test_quotes_that_are_texts_lose_nothing():
    notes = ['5" pipe', '"two\nlines"', '"a ""b"" c"', '"one\n\n\nthree; four\n"', "it's", '""']
    content = lines(";", note=notes, size=["0.5", "1.5"])
    right = ['5" pipe', "two\nlines", 'a "b" c', "one\n\n\nthree; four", "it's", None]
    for text, encoding in ((content, "utf-8"), (content, "utf-16"), (content.replace("\n", "\r\n"), "cp1252")):
        columns = made(text.encode(encoding), create__columns__categorical=["note"])
        assert [each and each.replace("\r", "") for each in columns["note"][:6]] == right
        assert len(columns["note"]) == ROWS


@pytest.mark.parametrize("line", ["# a comment\n", "   \n", "total;7\n", "# a; b; c\n"])
def test_a_line_that_is_no_row_is_named(line):
    each = LONG.splitlines(keepends=True)
    refused("".join([*each[:10], line, *each[10:]]), "line 11 has " if line.count(";") < 2 else "row 10: '# a'")


def test_rows_are_counted_apart_from_the_reader(monkeypatch):
    read = source.Source._arrow_blocks
    monkeypatch.setattr(source.Source, "_arrow_blocks", lambda *given: (each.slice(1) for each in read(*given)))
    refused(LONG, "23 rows were read, but its lines make 24")


# --- folders of Parquet ---------------------------------------------------------------------------------------------


def parts(**files: pa.Table) -> None:
    for name, table in files.items():
        path = TABLES / "h" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    turn(Path(), {"create.table.path": "data/tables/h"})


def part(start: float = 0, rows: int = 20) -> pa.Table:
    values = [start + row / 7 for row in range(rows)]
    return pa.table({"size": values, "kind": pa.array([KINDS[row % 3] for row in range(rows)])})


def of_folder() -> dict[str, list]:
    stage.main()
    return read_table(paths.DATASET).to_pydict()


def refused_folder(*words: str) -> None:
    with pytest.raises(UserError) as caught:
        stage.main()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_folders_are_columns_and_what_is_no_data_is_left_out():
    parts(
        **{
            "year=2022/part.parquet": part(),
            "year=2023/part.parquet": part(100),
            "_temporary/part-0.parquet": part(200),
            "year=2023/_committed.parquet": part(300),
            ".hidden/part.parquet": part(400),
            "year=2022/.part.parquet": part(500),
        }
    )
    (TABLES / "h/_SUCCESS").write_text("")
    (TABLES / "h/year=2022/.part.parquet.crc").write_text("crc")
    columns = of_folder()
    assert columns["year"] == [2022] * 20 + [2023] * 20
    assert columns["size"] == [*part()["size"].to_pylist(), *part(100)["size"].to_pylist()]


def test_values_of_folders_of_all_sorts():
    names = {  # in their order
        "a=__HIVE_DEFAULT_PARTITION__/b=02": (None, "02"),
        "a=x%2Fy/b=01": ("x/y", "01"),
        "a=z=1/b=10": ("z=1", "10"),
    }
    parts(**{f"{name}/0.parquet": part(100 * index) for index, name in enumerate(names)})
    columns = of_folder()
    pairs = dict.fromkeys(zip(columns["a"], columns["b"], strict=True))
    assert list(pairs) == list(names.values())


def test_fractions_in_names_of_folders_are_numbers():
    parts(**{f"f={name}/0.parquet": part(100 * index) for index, name in enumerate(["-0.5", "1"])})
    assert of_folder()["f"] == [-0.5] * 20 + [1.0] * 20


def test_a_target_may_stand_in_the_names_of_folders():
    parts(**{f"kind={name}/0.parquet": part(index).drop_columns("kind") for index, name in enumerate("xy")})
    assert of_folder()["kind"] == [0] * 20 + [1] * 20


@pytest.mark.parametrize("values", [[2020, 2021], ["2020", "2021"], [2020.0, 2021.0], [None, 2021]])
def test_a_column_may_stand_in_the_files_and_in_the_names_of_their_folders(values):
    names = ["__HIVE_DEFAULT_PARTITION__" if value is None else str(value)[:4] for value in values]
    columns = {
        f"year={name}/0.parquet": part(index).append_column("year", pa.array([value] * 20, pa.array(values).type))
        for index, (name, value) in enumerate(zip(names, values, strict=True))
    }
    parts(**dict(sorted(columns.items())))
    assert {*of_folder()["year"]} == {*values}


def test_where_files_and_the_names_of_their_folders_differ_none_wins():
    year = pa.array([2020, 2020, *[2022] * 18])
    parts(**{f"year=202{index}/0.parquet": part(index).append_column("year", year) for index in range(2)})
    refused_folder("year=2020/0.parquet: column year, row 3: the file holds 2022, and the name of its folder 2020")
    parts(**{"year=2020/0.parquet": part().append_column("year", pa.array(["x"] * 20))})
    (TABLES / "h/year=2021/0.parquet").unlink()
    refused_folder("column year, row 1: the file holds x, and the name of its folder 2020")
    (TABLES / "h/year=2020").rename(TABLES / "h/2020")  # as it says
    assert of_folder()["year"] == ["x"] * 20


@pytest.mark.parametrize("log", ["_delta_log/0.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
def test_a_folder_whose_parts_hold_more_than_the_table_is_refused(log):
    parts(**{"a.parquet": part()})
    (TABLES / "h" / log).parent.mkdir(parents=True)
    (TABLES / "h" / log).write_text("{}")
    refused_folder("h is a table of ", "rows that were deleted or replaced; let the program write it as plain Parquet")


@pytest.mark.parametrize("name", ["b.csv", "b.tsv", "b.csv.gz"])
def test_texts_beside_parquet_are_not_left_out_without_a_word(name):
    parts(**{"a.parquet": part()})
    (TABLES / "h" / name).write_bytes(b"size,kind\n1,x\n")
    refused_folder(f"h/{name} is not part of a table in Parquet; move it away, or begin its name with _")
    (TABLES / "h" / name).rename(TABLES / f"h/_{name}")
    assert len(of_folder()["size"]) == 20


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (part().append_column("c", pa.array([1] * 20)), "has the column c, unlike"),
        (part().drop_columns("size"), "lacks the column size, unlike"),
        (part().set_column(0, "size", pa.array([1] * 20)), "holds int64 in column size, where double stands in"),
        (part().select(["kind", "size"]), "has its columns in another order than"),
    ],
)
def test_parts_that_are_not_alike_are_refused_with_the_difference(other, words):
    parts(**{"a.parquet": part(), "b.parquet": other})
    refused_folder(f"h/b.parquet {words} data/tables/h/a.parquet; the parts must be alike")


def test_folders_that_are_no_table_are_refused():
    parts(**{"year=2022/0.parquet": part(), "1.parquet": part(100)})
    refused_folder("h/year=2022/0.parquet lies in folders that name other columns", "the parts must be alike")
    (TABLES / "h/1.parquet").rename(TABLES / "h/1.pq")
    refused_folder("h/1.pq is Parquet by another name; let it end with .parquet, or delete it")
    (TABLES / "h/1.pq").unlink()
    (TABLES / "elsewhere").mkdir()
    (TABLES / "h/year=2023").symlink_to((TABLES / "elsewhere").absolute())
    refused_folder("h/year=2023 is a link to a folder; put the folder itself there")
    (TABLES / "h/year=2023").unlink()
    assert of_folder()["year"] == [2022] * 20


def test_a_folder_with_nothing_but_what_is_no_data():
    parts(**{"_temporary/0.parquet": part()})
    refused_folder("h is a folder without a .parquet file")


def predicted(new: str, monkeypatch) -> bytes:
    Path("new.csv").write_text(new)
    invoke(["predict", "new.csv", "out.csv"])
    return Path("out.csv").read_bytes()


def trained(content: str, name: str = "table.csv") -> None:
    made(content, name)
    split.main()
    train.main()


def test_predict_reads_as_training_did(monkeypatch):
    """Three digits alone tell nothing; the table that the model was trained on does."""
    turn(Path(), {**TINY, "create.dataset": "table"})
    trained(lines("\t", amount=["950", "1,200", "4,300.5"], share=["5%", "12.5%", "7%"], n=[1, 2, 3, 4]), "table.tsv")
    assert read_schema().number_formats == {
        "amount": {"decimal": ".", "unit": ""},
        "share": {"decimal": ".", "unit": "%"},
    }
    right = predicted("amount\tshare\tn\n1200\t5%\t2\n", monkeypatch)
    assert predicted("amount\tshare\tn\n1,200\t5%\t2\n", monkeypatch) == right
    assert predicted('amount,share,n\n"1.200,0","5,0 %",2\n', monkeypatch) == right  # of a program elsewhere
    for share in ("5", "0.05"):
        with pytest.raises(UserError, match="column share is not in percent, and was in percent in training"):
            predicted(f"amount\tshare\tn\n1,200\t{share}\t2\n", monkeypatch)
    with pytest.raises(UserError, match=r"column n: is '1,200' 1\.2 or 1200"):
        predicted("amount\tshare\tn\n950\t5%\t1,200\n", monkeypatch)
    with pytest.raises(UserError, match="column amount is in percent, and was not in percent in training"):
        predicted("amount\tshare\tn\n950%\t5%\t1\n", monkeypatch)
    for header in ("amount\tshare\tn\n", "amount\tshare\tn"):
        with pytest.raises(UserError, match=r"new\.csv has no rows"):
            predicted(header, monkeypatch)


def test_predict_refuses_another_currency_than_that_of_training(monkeypatch):
    turn(Path(), {**TINY, "create.dataset": "table"})
    trained(lines(";", amount=["$950", "$1200.5", "$3", "$4", "$50"], n=[*range(7)]))
    right = predicted("amount,n\n$950,2\n", monkeypatch)
    assert predicted("amount,n\n950,2\n", monkeypatch) == right
    with pytest.raises(UserError, match=r"column amount is in €, and was in \$ in training; write it as in training"):
        predicted("amount,n\n€950,2\n", monkeypatch)
    with pytest.raises(UserError, match="row 1 has no value in the target kind; leave the column out, or the row"):
        predicted("amount,n,kind\n$950,2,\n", monkeypatch)


@pytest.mark.parametrize("values", [[[1.5]], [datetime.time(1)]])
@pytest.mark.parametrize("column", ["amount", "day", "town"])
def test_predict_refuses_types_of_which_nothing_can_be_made(column, values, monkeypatch):
    turn(Path(), {**TINY, "create.dataset": "table"})
    trained(lines(";", amount=[1, 2], day=["2026-01-01", "2026-02-02"], town=["a", "b", "c", "a"], n=[1, 2, 3]))
    table = {"amount": [1], "day": ["2026-01-01"], "town": ["a"], "n": [1], column: values}
    pq.write_table(pa.table(table), "new.parquet")
    with pytest.raises(UserError, match=rf"new\.parquet: column {column} holds .*; store one value in each row, as "):
        invoke(["predict", "new.parquet", "out.csv"])


def test_predict_with_a_model_of_no_texts_reads_what_programs_write(monkeypatch):
    turn(Path(), {**TINY, "create.dataset": "circles"})
    trained("")
    right = predicted("x1,x2\n1.5,0.25\n1.125,2.375\n", monkeypatch).splitlines()
    assert predicted("x1,x2\n1.125,2.375\n", monkeypatch).splitlines()[1] == right[2]


@pytest.mark.parametrize("unit", [" €", "€", " EUR", " ¥"])
def test_a_currency_behind_a_number_hides_no_padding(unit):
    """4,300 ends with a 0 as no fraction beside 950 does, whatever stands behind it."""
    rows = "".join(f"1,200{unit};8,63;a\n950{unit};7,5;b\n4,300{unit};6,25;a\n" for _ in range(10))
    refused(f"amount;other;class\n{rows}", "column amount: is '1,200", create__table__target="class")


@pytest.mark.parametrize(
    ("before", "line"),
    [("", 12), ("\n", 13), ('"1\n",2,a\n', 14)],
    ids=["plain", "a blank line", "a cell of two lines"],
)
@pytest.mark.parametrize("spaced", ["", ' "x", 2, a\n'])
def test_a_row_with_too_many_cells_has_its_line(before, line, spaced):
    rows = [f"{row},{row % 3},{'ab'[row % 2]}\n" for row in range(30)]
    content = "one,two,class\n" + before + "".join(rows[:10]) + "1,2,3,a\n" + "".join(rows[10:]) + spaced
    refused(content, f"table.csv: line {line} has 4 cells where the header has 3", create__table__target="class")
