"""Files of text before they are a table: what they are, their encoding, and how many records they hold."""

import codecs
import contextlib
import csv
import gzip
import re
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from retrace.data.dialect import Count, Head, count_records
from retrace.data.read_errors import unreadable
from retrace.runtime.errors import BAD_DATA, UserError

SAMPLE = 1 << 20  # bytes from which delimiter, encoding and decimal sign are found


# A header that is read with the wrong delimiter, or has an open quote, is one cell as long as the sample.
csv.field_size_limit(SAMPLE)


# What files that are called as text hold besides: how they begin, what that is, and what to do.
_STORE = "store the table as CSV or Parquet"

OTHER_FORMATS = (
    (rb"version https://git-lfs", "a pointer of Git LFS in place of the file", "run: git lfs pull"),
    (rb"\s*<(?i:(!doctype )?html)", "a web page", "download the file itself"),
    (rb"\s*<\?xml", "XML", _STORE),
    (rb"\s*(\{\s*\"|\[\s*[\[{])", "JSON", _STORE),
    (rb"PK\x03\x04", "an Excel workbook or another zip archive", "save the sheet as CSV, or unpack the archive"),
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook", "save the sheet as CSV"),
    (rb"\x1f\x8b", "packed with gzip", "let its name end with .gz"),
    (rb"BZh[1-9]1AY|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!\x1a", "a packed file", "unpack it"),
    (rb"PAR1\x15", "Parquet", "let its name end with .parquet"),
    (rb"SQLite format 3", "an SQLite database", _STORE),
    (
        rb"ARROW1\0|\x89(HDF|PNG)|Obj\x01|ORC[\x80-\xff]|\x80[\x02-\x05]|RD[AX]\d\n|%PDF-",
        "made by another program",
        _STORE,
    ),
)

# The first byte of a letter in UTF-8 and those that follow it, as letters of cp1252; of the first ones those that no
# text ends with before a quotation mark.
_TORN = re.compile("[\u00c2\u00c3\u00d0\u00e0-\u00f4][\u00a1-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]{1,3}")
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of the text; the caller closes it."""
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else open(path, "rb"))


def read_sample(path: Path) -> bytes:
    try:
        with open_bytes(path) as file:
            return file.read(SAMPLE)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None


def count_rows(path: Path, encoding: str, head: Head) -> Count:
    """Its records. Raises UserError where a quote would swallow some of them."""
    try:
        with open_bytes(path) as file:
            count = count_records(file, encoding, head)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None
    first, last = count.swallowed
    if 0 < count.stray < (first or count.unclosed):  # whatever comes later comes of it
        raise _torn(path, count.stray)
    if count.unclosed:
        raise UserError(
            BAD_DATA,
            f"{path}: a quote opened in line {count.unclosed:,} is never closed, and would swallow all that follows;"
            " close or delete it",
        )
    if first:
        raise UserError(
            BAD_DATA,
            f"{path}: a quote opened in line {first:,} is closed in line {last:,} only, and each line between could be"
            " a row; close or delete it",
        )
    if count.stray:
        raise _torn(path, count.stray)
    return count


def _torn(path: Path, line: int) -> UserError:
    return UserError(
        BAD_DATA,
        f"{path}: line {line:,}: text follows a closing quote; write a quote inside of quotes twice, as in"
        ' "say ""hi""", not with a backslash before it',
    )


def find_encoding(sample: bytes) -> str:
    for mark, name in _MARKS.items():
        if sample.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeError:
        # What spreadsheets of the West save. A guess from the frequency of letters was seen to be wrong more often.
        return "cp1252"


def twice_encoded(text: str) -> tuple[str, str] | None:
    """The first letters that look like one in UTF-8 that was read as cp1252, and that one; None: there are none."""
    for found in _TORN.finditer(text):
        with contextlib.suppress(UnicodeError):
            return found[0], found[0].encode("cp1252").decode("utf-8")
    return None


def ends_with_a_line(path: Path) -> bool:
    if path.suffix == ".gz":
        return True  # a gzip file that is cut off says so itself
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) in (b"\n", b"\r", b"\0")
