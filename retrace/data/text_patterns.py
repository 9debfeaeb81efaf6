"""What the texts of a column look like to a person: money, times, addresses, numbers with a unit."""

import re
import unicodedata
from collections.abc import Callable

from retrace.data.numbers import PLAIN, is_number
from retrace.data.profile import Profile

_AMOUNT = r"[-+(]?\s*\d[\d\s.,'\u2019]*\)?"

# Those of ISO 4217 that people meet most: any three letters may as well be a unit.
_CODE = (
    r"(AED|ARS|AUD|BDT|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KES|KRW|MAD|MXN|MYR|NGN"
    r"|NOK|NZD|PEN|PHP|PKR|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TND|TRY|TWD|UAH|USD|VND|ZAR)"
)

# English, German, French, Spanish, Italian, Portuguese, Swedish.
MONTH = (
    r"(jan(uary?|v|vier)?|ene(ro)?|gennaio|feb(ruary?)?|f[eé]v(r|rier)?|m[aä]r(ch|z|s|zo)?|mrz|apr(ile?)?|abr(il)?|avr(il)?"
    r"|ma[ijy]|mayo|mag(gio)?|jun[eio]?|juin|giu(gno)?|jul[yio]?|juil(let)?|lug(lio)?|aug(usti?)?|ago(sto)?|ao[uû]t?"
    r"|sep(t|tember|tembre|tiembre)?|set(tembre|embro)|o[ck]t(ober|obre|ubre)?|ott(obre)?|outubro|nov(i?embre|ember|embro)?"
    r"|de[cz](ember|embro)?|dic(i?embre)?|d[eé]c(embre)?)\.?"
)

_WEEKDAY = r"([^\W\d_]{2,10}\.?,?\s+)?"
_CURRENCY = "leave out the currency, which must be one"

# What texts of a column may be, in words, the first that nearly all of them match; and what to do about it.
LOOKS = (
    (
        rf"[-+(]?\s*([A-Z]{{0,2}}[$€£¥₹₩₽₺]|{_CODE}|(Rs|kr|Fr|zł)\.?)\s*{_AMOUNT}\s?([kmb]|mn|mio|bn|mrd)?\.?",
        "amounts of money",
        _CURRENCY,
    ),
    (
        rf"{_AMOUNT}\s*([kmb]|mn|mio|bn|mrd)?\.?\s*([$€£¥₹₩₽₺]|{_CODE}|kr\.?|Fr\.?|z[łl]|Kč|Ft)",
        "amounts of money",
        _CURRENCY,
    ),
    (_AMOUNT + r"\s*[%‰]", "percentages", "leave out the sign behind the number"),
    (
        r"T?\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[ap]\.?m\.?)?|\d{1,2}\s*[ap]\.?m\.?|\d{1,2}([.:]\d{2})?\s*uhr"
        r"|\d{1,2}\s?h\s?\d{2}",
        "times of day",
        "write hours or minutes as a number",
    ),
    (r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(\D.*)?", "dates with the day or the month first", "write 2026-01-31"),
    (r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2})([T\s,].*)?", "dates", "write 2026-01-31"),
    (
        rf"\d{{4}}[-/]\d{{1,2}}|\d{{1,2}}/\d{{4}}|(19|20)\d{{2}}[-/\s]*(KW|[MQTW])\s?\d{{1,2}}|{MONTH}[-\s]+\d{{2,4}}"
        r"|(KW|[QTW])\s?\d{1,2}[-/\s]+\d{4}",
        "months, quarters or weeks",
        "write 2026-01-31",
    ),
    (
        r"-?\d{4}[-/]\d{2}[-/]\d{2}\S*|\d{8}T\d{4,6}Z?|\d{4}-W\d{2}-\d|\d{4}年.+|\d{1,2}\.\d{1,2}\.",
        "dates",
        "write 2026-01-31",
    ),
    (rf"{_WEEKDAY}\d{{1,2}}[-./\s]*{MONTH}[-,/\s]*(\d{{4}}|\d{{2}})(\D.*)?", "dates", "write 2026-01-31"),
    (rf"\d{{1,2}}[-./\s]+{MONTH}", "days without a year", "write 2026-01-31"),
    (rf"{_WEEKDAY}{MONTH}\s*\d{{1,2}},?\s+(\d{{4}}(\D.*)?|\d\S*\s.*\d{{4}})", "dates", "write 2026-01-31"),
    (r"\S+@\S+\.\w+", "e-mail addresses", "they name somebody"),
    (r"(https?|ftp)://\S+", "web addresses", "they name something"),
    (r"[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", "UUIDs", "they name something"),
    (r"\d{1,3}(\.\d{1,3}){3}(:\d+)?", "addresses of machines", "they name something"),
    (
        r"\+\d[-\d\s()/.]{6,}|0\d+[-\s/]\d[-\d\s]{3,}|(\(\d{3}\)\s?|\d{3}-)\d{2,3}-\d{4}",
        "telephone or other numbers of persons",
        "they name somebody",
    ),
    (r"\d+°(\s?\d+['\u2032])?(\s?[\d.,]+[\"\u2033])?\s?[NSEWO]?", "degrees", "write 12.5"),
    (
        r"(\d+\s?[dhms]\w*\s?){2,}|P(\d+[YMWD])*(T[\dHMS.]+)?|-?\d+\s*days?,?\s+[-+]?\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?",
        "durations",
        "write hours or minutes as a number",
    ),
    (r"=?(['\"]).*\1|=.+|'\d.*", "texts in quotes or formulas", "save their values without them"),
    (r"(?!\d{1,3}(\.\d{3})+$)\d{1,3}(\.\d+){2,}", "numbers of versions or sections", "they name something"),
    (
        r"[-+]?\d+([.,]\d+)?\s?([x\u00d7*\u00b7]\s?10\^?[-\u2212]?\d+|\*{1,3})|\d*\s?[\u00bc-\u00be\u2150-\u215e]|\d+'\s?\d+(\"|'')?"
        r"|[-+\N{MINUS SIGN}]?\d+([.,'\u2019\u066b\u066c\s_]\d+)*[.,]?[-\u2013\u2014]?|\d+(\s\d+)?[/:]\d+|0x[\da-f]+",
        "numbers written in another way",
        "write 1234.5",
    ),
    (
        r"[-+<>≤≥~±]?\s*\d+([.,'\s]\d+)*\s?[^\W\d]{0,4}|[-+]?\d+([.,]\d+)?\s?[°µ]?[^\W\d_]{1,12}([²³]|[/·^][^\W\d_]+\d?)*",
        "numbers with a unit",
        "leave out the unit",
    ),
)

# What a spreadsheet makes of texts such as 5-6 and MARCH1.
MANGLED = re.compile(rf"\d{{1,2}}(-|\.\s?){MONTH}|{MONTH}-\d{{2}}", re.IGNORECASE)
_LOOKS = [(re.compile(pattern, re.IGNORECASE), what, fix) for pattern, what, fix in LOOKS]
PERIODS = next(pattern for pattern, what, _ in _LOOKS if what == "months, quarters or weeks")
NEARLY_ALL = 0.9

# Texts by which people say that they have no value.
NO_VALUE = re.compile(
    r"[-.…\u2013\u2014?_/*]+|[{\[(]\W*[)\]}]|['\"]{2}|#(num|ref|value|name|null|div/0)[!?]|x{3,}|\\n|-?9{3,}"
    r"|[(<\[]?(#?n(\.?\s?[./\\]?a|\.?\s?[./\\]v)\.?|-?na[nt]|nil|none|null|blank|empty|missing( value)?|void|undef"
    r"|n\.\s?[ds]\.|unk|tb[acd]|no[\s_-]?(data|value|answer|info|information|response|entry)"
    r"|(un|not[\s_-]?)(known|available|applicable|given|recorded|specified|reported|stated|set|provided|answered"
    r"|disclosed|determined|assessed|defined)|undetermined|refused|prefer not to \w+|don'?t know|do not know"
    r"|leer|unbekannt|(nicht|keine?) (bekannt|ange?ge?b\w+)|k\.\s?a\.|inconnue?|non (renseign\w+|disponible|connue?)"
    r"|desconocid[oa]|sin datos?|no (aplica|disponible)|sconosciut[oa]|onbekend|okänt?d?|ukjent|nieznany|brak( danych)?"
    r"|неизвестно|не указано|不明|未知)[)>\]]?",
    re.IGNORECASE,
)
MOST_NAMED = 3

# Cyrillic and Greek letters that look like Latin ones, some of them only as capitals.
TWINS = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
    "abekmhopctyxijsabezhiknoptyx",
)


TWINS |= {ord(chr(letter).upper()): ord(chr(ours).upper()) for letter, ours in TWINS.items()}


TWINS |= dict.fromkeys(map(ord, "\u2019\u2018\u02bc`\u00b4"), ord("'"))


TWINS |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), ord("-"))


def looks_like(profile: Profile) -> tuple[str, str] | None:
    """What nearly all texts of a column are, in words and with one of them, and what to do about it."""
    if profile.typed not in (None, "text") or profile.date_format:
        return None
    as_texts = ("numbers", "store them as such") if profile.typed and profile.zeros is None else None
    if profile.numbers == profile.present:
        return as_texts  # of a CSV file they would be numbers, but for their spelling
    texts = [text for text in profile.examples if not NO_VALUE.fullmatch(text)]
    if as_texts and nearly_all(PLAIN.fits, texts):
        return as_texts
    for pattern, what, fix in _LOOKS:
        if found := nearly_all(pattern.fullmatch, texts):
            example = next((text for text in found if not text.isdecimal()), found[0])
            return f"{what} ({example!r})", fix
    if found := nearly_all(is_number, texts):
        return f"numbers that are not all written alike ({quoted(found)})", "write them in one way"
    return None


def nearly_all(fits: Callable[[str], object], texts: list[str]) -> list[str]:
    """The texts that fit, if nearly all do."""
    found = [text for text in texts if fits(text)]
    return found if len(found) >= NEARLY_ALL * len(texts) else []


def quoted(texts: list[str]) -> str:
    """Ascii where two of them would look the same."""
    shown = [repr(text) for text in texts[:MOST_NAMED]]
    composed = [unicodedata.normalize("NFKC", text).translate(TWINS) for text in texts[:MOST_NAMED]]
    return " and ".join(map(ascii, texts[:MOST_NAMED]) if len({*composed}) < len(shown) else shown)
