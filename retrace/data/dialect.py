"""What a CSV file looks like: its delimiter, its header and what stands before it, and how many records it has.

None of this is the reader's own word: the records are counted apart from it, so that no quote swallows rows unseen.
"""

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from retrace.data.numbers import is_number

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
MOST_TITLES, ROWS = 30, 100  # lines in which a header is looked for, and rows below it that it is held against
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_ASCII = bytes(range(128))


@dataclass(frozen=True)
class Head:
    """The beginning of a file. names: of its columns, "" where one has none. skipped: lines before the header; lines:
    with it. titles: those of them that say something. row: the header looks like a row. there: it names the column
    that was asked for; line: a later line that does. aligned: several blanks stand for one delimiter.
    """

    delimiter: str
    names: list[str]
    skipped: int = 0
    lines: int = 1
    titles: int = 0
    row: bool = False
    there: bool = False
    line: int = 0
    aligned: bool = False


def find_head(text: str, column: str, delimiter: str | None, missing: Collection[str]) -> Head:
    """Of a file that begins with the text and should have the column. Raises csv.Error where nothing is a header.

    missing: texts that stand for no value.
    """
    lines = list(itertools.islice(io.StringIO(text, newline=""), MOST_TITLES + ROWS))
    start, signs, said = 0, [delimiter] if delimiter else list(DELIMITERS.values()), ""
    if found := _SEP.fullmatch(lines[0]):  # what spreadsheets write for themselves
        start, said = 1, found[1]
    while start < len(lines) - 1 and not lines[start].strip():
        start += 1
    heads: list[tuple[tuple[float, ...], Head]] = []
    wrong = csv.Error("none of its lines")
    for sign in signs:
        try:
            head, good = _head(lines, start, column, sign, missing)
            heads.append(((head.there, sign == said, *good), head))
        except csv.Error as error:
            wrong = error
    if not heads:
        raise wrong
    return max(heads, key=lambda each: each[0])[1]


def _head(
    lines: list[str], start: int, column: str, sign: str, missing: Collection[str]
) -> tuple[Head, tuple[float, ...]]:
    """The header that the lines have with this delimiter, and how good it is."""
    line, whole = 0, lines
    if sign == " ":
        lines = [each.rstrip() + "\n" for each in lines]
    named = [
        index
        for index in range(start, min(start + MOST_TITLES, len(lines)))
        if column in _cells(lines[index:], sign)[0]
    ]
    # Titles and comments may hold the name, too.
    first = min(
        named, key=lambda index: (lines[index].startswith("#"), not _goes_on(lines[index:], sign)), default=start
    )
    names, taken = _cells(lines[first:], sign)
    titles = [_cells([each], sign)[0] for each in lines[start:first] if each.strip()]
    if any(len(each) == len(names) and not _is_title(each) for each in titles):  # they may be rows
        first, line, titles = start, first + 1, []
        names, taken = _cells(lines[first:], sign)
    rows = [row for row in csv.reader(lines[first + taken :], delimiter=sign, skipinitialspace=True) if row]
    alike = [row for row in rows[:ROWS] if len(row) == len(names)]
    share = len(alike) / len(rows[:ROWS]) if rows else 1
    single = [row for row in csv.reader(whole[first + taken :], delimiter=sign) if row][:ROWS]
    aligned = sign == " " and share > sum(len(row) == len(names) for row in single) / max(len(single), 1)
    row = _is_row(names, [row for row in alike if row != names], missing)
    head = Head(sign, names, first, first + taken, len(titles), row, column in names, line, aligned)
    # Blanks stand in texts and beside other delimiters, too.
    return head, (line > 0, share > 0.9, sign != " " and len(names) > 1, share, len(names))


def _cells(lines: list[str], sign: str) -> tuple[list[str], int]:
    """Those of the first record, and how many lines it takes."""
    reader = csv.reader(lines, delimiter=sign, skipinitialspace=True)
    return [cell.strip() for cell in next(reader, [])], reader.line_num


def _is_title(cells: list[str]) -> bool:
    """A comment, or one text that a spreadsheet has filled up with empty cells."""
    return cells[0].startswith("#") or not any(cells) or (len(cells) > 2 and sum(map(bool, cells)) == 1)


def _goes_on(lines: list[str], sign: str) -> bool:
    """Whether the next record has as many cells as the first, and more than one."""
    names, taken = _cells(lines, sign)
    rest = list(itertools.dropwhile(lambda line: not line.strip(), lines[taken:]))
    return len(names) > 1 and len(_cells(rest, sign)[0]) == len(names)


def _is_row(names: list[str], rows: list[list[str]], missing: Collection[str]) -> bool:
    """Whether what should be the header is like the rows below it: a number where they have numbers, one of their texts
    where these come again and again.
    """
    telling = len({*names}) < len(names) and all(map(is_number, names))
    for name, column in zip(names, zip(*rows, strict=True), strict=True) if rows else ():
        values = {cell.strip() for cell in column}.difference(missing)
        if name in missing:
            continue
        if name in values and not name.isdigit():
            telling = True
        elif 2 * sum(map(is_number, values)) > len(values):  # some may be wrong
            if not is_number(name):
                return False
            telling = telling or not name.isdigit()
        elif 2 * len(values) <= len(rows):
            return False
    return telling


# --- records --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """The records below the header.

    spaced: blanks stand between a delimiter and a quote. unclosed: the line of a quote that is never closed. swallowed:
    first and last line of a record that spans lines, each of which could be one. doubtful: first line of a quoted text
    that goes over two lines of a table with two columns: perhaps two rows. stray: a line in which text follows a
    closing quote, whose quotes readers take in different ways.
    """

    rows: int
    spaced: bool = False
    unclosed: int = 0
    swallowed: tuple[int, int] = (0, 0)
    stray: int = 0
    doubtful: int = 0


def count_records(file: BinaryIO, encoding: str, head: Head) -> Count:
    """Of a file at its beginning."""
    if _ASCII.decode("ascii").encode(encoding, "replace") != _ASCII:
        text = io.TextIOWrapper(file, encoding, "replace", newline=None)
        return _count((line.encode() for line in text), head)
    if b"\r" in file.readline().replace(b"\r\n", b""):  # lines that end as on an old Mac
        file.seek(0)
        return count_records(file, "utf-8-sig", head)
    file.seek(0)
    for _ in range(head.skipped):
        file.readline()
    rows = _count_plain(file)
    if rows is not None:
        return Count(rows - 1)
    file.seek(0)
    return _count(file, head)


def _count_plain(file: BinaryIO) -> int | None:
    """Lines of a file without a quote or an empty line, which is most; None of another one."""
    rows, last = 0, b"\n"
    while chunk := file.read(1 << 22):
        if chunk.endswith(b"\r"):
            chunk += file.read(1)
        chunk = chunk.replace(b"\r\n", b"\n")
        if b'"' in chunk or b"\r" in chunk or b"\n\n" in last + chunk:
            return None
        rows += chunk.count(b"\n")
        last = chunk[-1:]
    return rows + (last != b"\n")


def _count(lines: Iterator[bytes] | BinaryIO, head: Head) -> Count:
    sign = head.delimiter.encode()
    blank = rb"" if sign == b" " else rb" *"
    each = rb"[%s]" % re.escape(sign)
    cell = rb'(?>%s"(?>[^"]|"")*+"(?=%s|$)|(?!%s")[^%s]*+)' % (blank, each, blank, re.escape(sign))
    whole = re.compile(rb"%s(?>%s%s)*+" % (cell, each, cell))
    gap = re.compile(rb'(?:^|%s) +"' % each)
    rows, began, alike, spaced, swallowed, stray, doubtful = 0, 0, False, False, (0, 0), 0, 0
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        if number <= head.skipped or (not began and not line):
            continue
        if not began and b'"' not in line:
            rows += 1
            continue
        spaced = spaced or (sign != b" " and bool(gap.search(line)))
        if not began and whole.fullmatch(line):
            rows += 1
            continue
        parts = line.count(sign) == len(head.names) - 1
        alike = parts and (alike or not began)
        opened, torn = _quotes(line, bool(began), sign, blank)
        stray = stray or (number if torn else 0)
        if opened:
            began = began or number
            continue
        if began and alike:
            if number - began + len(head.names) <= 3:
                doubtful = doubtful or began
            elif not swallowed[0]:
                swallowed = (began, number)
        rows, began = rows + 1, 0
    return Count(rows - 1 + bool(began), spaced, began, swallowed, stray, doubtful)


def _quotes(line: bytes, inside: bool, sign: bytes, blank: bytes) -> tuple[bool, bool]:
    """Whether a quote is open at the end of a line, and whether text follows a closed one."""
    quote = re.compile(rb'%s"' % blank)
    place, torn = 0, False
    while True:
        if not inside:
            if opening := quote.match(line, place):
                place, inside = opening.end(), True
                continue
        else:
            place = line.find(b'"', place)
            if place < 0:
                return True, torn
            if line[place + 1 : place + 2] == b'"':
                place += 2
                continue
            inside, place = False, place + 1
            torn = torn or bool(line[place:].partition(sign)[0].strip(b" "))
        place = line.find(sign, place)
        if place < 0:
            return False, torn
        place += 1
