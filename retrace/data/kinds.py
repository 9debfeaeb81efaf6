"""What the columns of a table are: each one is watched block by block, and its kind follows from what it holds.

Where every text is a number, a truth value or a date, the column is of that kind; numbers with a few other texts among
them are a fault, not a category; a text of its own in nearly every row, or a count of the rows, names the row.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

from retrace.data.profile import Profile
from retrace.data.values import FALSE, TRUE

# What the network can learn from; the others stay in the data set for split and evaluate.
FEATURES = ("numeric", "categorical", "boolean", "datetime")
CARRIED = ("identifier", "ignored")
_TRUTHS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})

_WHO = (
    "user|patient|customer|client|person|subj(?:ect)?|student|account|order|record|case|member|employee|participant|donor|owner"
    "|household|family|session|device|serial|kunden?|mitarbeiter|ssn|mrn"
)

_ID = re.compile(
    rf"(^|[_\W])(ids?|uuid|guid|idx|index|key|rownum|row|nr)$|^(id|uuid)[_\W]|[a-z]I[dD]s?$|identifier$|\w\w(nr|nummer)$"
    rf"|^({_WHO})[_\W]?(id|nr|no|num|number|nummer|code)?\.?$"
    # The index of a pandas frame, and names of rows, which R writes without one of their own.
    r"|^unnamed: 0|^(__index_)?level_0(__)?$|^column_1$",
    re.IGNORECASE,
)

# A column of texts whose rows are this often unlike each other names the row, or is free text.
NEARLY_UNIQUE = 0.5
FEWEST_ROWS = 20  # of a table; with fewer, nothing can be said


def names_rows(column: str) -> bool:
    """Whether a column is called like one that only names the row."""
    return bool(_ID.search(column))


def kind_of(profile: Profile) -> str:
    """The kind of a column, or "mixed" for numbers with other texts among them."""
    if not profile.present:
        return "ignored"
    if (profile.typed == "numeric" or (profile.typed is None and profile.numbers == profile.present)) and (
        not profile.respelled
    ):
        named = names_rows(profile.name) and profile.whole and profile.rising
        counts = profile.rows >= FEWEST_ROWS and profile.whole and profile.counting
        return "identifier" if counts or named else "numeric"
    if profile.typed in FEATURES:
        return profile.typed
    if profile.date_format:
        return "datetime"
    if profile.values is not None and {text.lower() for text in profile.values} in _TRUTHS:
        return "boolean"
    if profile.typed is None and profile.present > profile.numbers >= profile.present / 2:
        return "mixed"
    if profile.values is None or (
        profile.present >= FEWEST_ROWS and len(profile.values) > NEARLY_UNIQUE * profile.present
    ):
        return "identifier"
    return "categorical"


def to_truths(texts: pa.StringArray) -> pa.BooleanArray | None:
    lower = pc.utf8_lower(texts)
    true, false = (pc.is_in(lower, pa.array(words)) for words in (TRUE, FALSE))
    known = pc.or_(pc.or_(true, false), pc.is_null(texts))
    return pc.if_else(pc.is_null(texts), None, true) if pc.all(known).as_py() in (True, None) else None
