"""A link of TensorFlow Playground (playground.tensorflow.org) as values, and values as a link.

What is behind the `#` of such a link is the whole state of the page, `key=value` joined by `&`. Keys, their order,
kinds, defaults and lists of values are those of the page's own source, tensorflow/playground (commit 02469bd):
`State.PROPS` and `deserializeState` in src/state.ts; the range of `noise` is in src/playground.ts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from retrace.params.messages import shown_value, suggest
from retrace.runtime.errors import BAD_PARAMS, UserError

HOST = "playground.tensorflow.org"
EXAMPLE = f"copy it from the address line of https://{HOST}"
LONGEST = 2000  # letters of a link; with all keys it has some 500
ROWS = 500  # NUM_SAMPLES_CLASSIFY in src/playground.ts
HIDDEN = "_hide"  # ends a key that says which control of the page is hidden

Value = str | float | int | bool | list[int]
State = dict[str, Value]

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?")
_WHOLE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Key:
    """default: what the page takes where the key is missing; read: raises ValueError; rule: begins with "must"."""

    default: Value
    read: Callable[[str], Value]
    rule: str


def _choice(default: str, *others: str) -> Key:
    words = (default, *others)

    def read(text: str) -> str:
        return words[words.index(text)]

    return Key(default, read, f"must be one of {', '.join(sorted(words))}")


def _truth(default: bool) -> Key:
    return Key(default, lambda text: bool(["false", "true"].index(text)), "must be true or false")


def _number(default: float, low: float, high: float, decimals: int = 20, above: bool = False) -> Key:
    def read(text: str) -> float:
        value = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not low <= value <= high or (above and value == low) or round(value, decimals) != value:
            raise ValueError(text)
        return value

    kind = "a number" if decimals > 2 else f"a number of at most {decimals} decimals"
    return Key(
        default, read, f"must be {kind} {'above' if above else 'from'} {low:g} {'up ' if above else ''}to {high:,g}"
    )


def _whole(text: str, most: int) -> int:
    value = int(text) if _WHOLE.fullmatch(text) else 0
    if not 1 <= value <= most:
        raise ValueError(text)
    return value


def _shape(text: str) -> list[int]:
    sizes = [_whole(each, 65_536) for each in text.split(",")] if text else []
    if len(sizes) > 32:
        raise ValueError(text)
    return sizes


# In the page's own order.
KEYS = {
    "activation": _choice("tanh", "relu", "sigmoid", "linear"),
    "regularization": _choice("none", "L1", "L2"),
    "batchSize": Key(10, lambda text: _whole(text, ROWS), f"must be a whole number from 1 to {ROWS}"),
    "dataset": _choice("circle", "xor", "gauss", "spiral"),
    "regDataset": _choice("reg-plane", "reg-gauss"),
    "learningRate": _number(0.03, 0, 1e6, above=True),
    "regularizationRate": _number(0, 0, 1e6),
    "noise": _number(0, 0, 80, 2),
    "networkShape": Key([4, 2], _shape, "must be up to 32 whole numbers from 1 to 65,536 with commas between them"),
    "seed": Key("", str, ""),
    "showTestData": _truth(False),
    "discretize": _truth(False),
    "percTrainData": _number(50, 1, 99, 2),
    "x": _truth(True),
    "y": _truth(True),
    "xTimesY": _truth(False),
    "xSquared": _truth(False),
    "ySquared": _truth(False),
    "cosX": _truth(False),
    "sinX": _truth(False),
    "cosY": _truth(False),
    "sinY": _truth(False),
    "collectStats": _truth(False),
    "tutorial": Key("", str, ""),
    "problem": _choice("classification", "regression"),
    "initZero": _truth(False),
    "hideText": _truth(False),
}


def read_link(url: str) -> State:
    """Key -> value of a link: of each key of the page, its default where the link has none, and of each `..._hide`.

    Raises UserError (status 2) with a line for each fault: another page, a key that the page does not know or that
    stands twice, a value that it does not offer, a link that was encoded for something else.
    """
    if len(url) > LONGEST:
        raise _refused(f"the link has {len(url):,} letters, and may have {LONGEST:,}; {EXAMPLE}")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(f"a link has letters, digits and signs of ASCII only; got {shown_value(url)}; {EXAMPLE}")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or host != HOST or parts.path not in ("", "/") or parts.query:
        raise _refused(f"must be a link to https://{HOST}/#...; got {shown_value(url)}; {EXAMPLE}")
    if "%" in parts.fragment:
        raise _refused(f"the link is percent-encoded, which the page itself does not read; {EXAMPLE}")
    given: dict[str, str] = {}
    faults = []
    for pair in filter(None, parts.fragment.split("&")):
        name, sign, text = pair.partition("=")
        if name not in KEYS and not (name.endswith(HIDDEN) and name != HIDDEN):
            hint = suggest(name, list(KEYS)) or "; delete it from the link"
            faults.append(f"{shown_value(name)} is not a key of the page{hint}")
        elif not sign:
            faults.append(f"{name} has no value; write {name}=... or delete it from the link")
        elif name in given:
            faults.append(f"{name} stands twice; delete one of the two from the link")
        given[name] = text
    state: State = {}
    for name, key in KEYS.items():
        text = given.get(name, "")
        state[name] = key.default
        if text or (name == "networkShape" and name in given):  # to the page, too, an empty one is missing
            try:
                state[name] = key.read(text)
            except ValueError:
                faults.append(f"{name} {key.rule}; got {shown_value(text)}")
    state |= {name: text == "true" for name, text in given.items() if name.endswith(HIDDEN)}
    if not faults:
        rows = int(ROWS * float(str(state["percTrainData"])) / 100)
        if int(str(state["batchSize"])) > rows:
            faults.append(f"batchSize must be at most {rows}, the training rows, or Playground takes no step at all")
    if faults:
        raise _refused(*faults)
    return state


def written_link(state: State) -> str:
    """The link of these values, as the page writes it; keys that are not among them are left out."""
    pairs = [f"{name}={_written(state[name])}" for name in KEYS if name in state]
    return f"https://{HOST}/#{'&'.join(pairs)}"


def _written(value: Value) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(value)


def _refused(*faults: str) -> UserError:
    return UserError(BAD_PARAMS, *(f"playground: {fault}" for fault in faults))
