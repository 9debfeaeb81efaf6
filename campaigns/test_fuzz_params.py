"""params.yaml at random: a valid one runs on tiny data or is refused for a reason; of a broken one the key is named.

The values come from the fields that check them (retrace/params), so that a new key is tried without a line here, and
one that holds a text of its own, which nothing can guess, fails until TEXTS has a strategy for it.
"""

import functools
import gzip
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dvc.utils.serialize import parse_yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sklearn import datasets

from campaigns import fuzzing
from retrace.artifacts.tables import read_json
from retrace.params import reader
from retrace.params.section import Section
from retrace.params.study import Study
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, MACHINE_FAULT, UserError
from stages.validate import SECTIONS
from tests.conftest import PARAMS, VALUES
from tests.project import turn, write_tables

Draw = Callable[[st.SearchStrategy[Any]], Any]
Key = tuple[str, ...]

# A study is no part of it; the faults of its section are in tests/test_study.py.
PIPELINE = [section for section in SECTIONS if section is not Study]

STAGES = ("validate", "create", "split", "baseline", "train", "evaluate")
PLOT_SHARE = 0.005  # of the cases: it costs as much as ten others

# What costs time, and in no other way matters: at most so much of it.
MOST = {
    "create.rows": 200,
    "create.blobs.classes": 6,
    "create.blobs.features": 10,
    "create.spirals.classes": 6,
    "create.gaussians.features": 10,
    "create.classification.classes": 6,
    "create.classification.features": 10,
    "create.classification.informative": 10,
    "baseline.boosting_iterations": 4,
    "baseline.rows": 300,
    "train.replicas": 3,
    "train.embedding_width": 8,
    "train.hidden[]": 12,
    "train.bins": 40,
    "train.residuals_above": 0.2,
    "train.epochs": 3,
    "train.batch_size": 70,
    "train.window": 400,
    "evaluate.resamples": 120,
    "evaluate.grid": 12,
    "evaluate.permutations": 4,
    "plot.dpi": 60,
}
MOST_ITEMS = 3

NAMES = ["number", "colour", "flag", "day", "id", "more", "class", "x1", "no such column"]
# Of each key, or each item of a list ([]), that holds a text with no list of allowed ones.
TEXTS = {
    "create.table.path": st.sampled_from(
        [f"data/tables/{name}" for name in ("table.csv", "odd.csv", "zipped.csv.gz", "typed.parquet", "parts")]
    ),
    "create.table.target": st.sampled_from(["class"] * 8 + NAMES),
    "create.reading.encoding": st.sampled_from(
        ["auto", "auto", "utf-8", "UTF8", "cp1252", "latin-1", "ascii", "utf-16", "cp037", "idna", "utf-7", "punycode"]
    ),
    "create.reading.missing[]": st.sampled_from(["", "NA", "?", "red", "0", "no", "größer", "=1+1"]),
    **dict.fromkeys(
        [f"create.columns.{kind}[]" for kind in ("numeric", "categorical", "boolean", "datetime")],
        st.sampled_from(NAMES),
    ),
    **dict.fromkeys([f"create.columns.{kind}[]" for kind in ("identifier", "ignored")], st.sampled_from(NAMES)),
    "split.column": st.sampled_from(NAMES),
    "train.device": st.sampled_from(["auto", "auto", "cpu", "cpu", "cuda", "cuda:0", "cuda:99999999999999999999"]),
    "evaluate.slices[]": st.sampled_from(NAMES),
    **dict.fromkeys(
        ["report.purpose", "report.contact"],
        st.sampled_from(["", "for <b>tests</b> & no one else", 'größer "\u05d0" ' + "x" * 1900]),
    ),
    "report.private[]": st.sampled_from(NAMES),
    "record.experiment": st.sampled_from(["retrace", "a", "0 _.-" + "x" * 90]),
}


# --- values ---------------------------------------------------------------------------------------------------------


@functools.cache
def schema_of(section: type[Section]) -> dict[str, Any]:
    return section.model_json_schema()


def resolved(section: type[Section], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema_of(section)["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def leaves() -> Iterator[tuple[type[Section], str, dict[str, Any]]]:
    """Section, dotted key and schema of every parameter."""

    def below(section: type[Section], key: str, node: dict[str, Any]) -> Iterator[Any]:
        node = resolved(section, node)
        if "properties" in node:
            for name, inner in node["properties"].items():
                yield from below(section, f"{key}.{name}", inner)
        else:
            yield section, key, node

    for section in PIPELINE:
        yield from below(section, section.section_name(), schema_of(section))


LEAVES = list(leaves())


def shipped(key: str) -> Any:
    return functools.reduce(lambda values, name: values[name], key.split("."), VALUES)


def any_value(key: str, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """All values that a field allows, but for what only costs time; its ends more often than others."""
    if "anyOf" in node:
        return st.one_of([any_value(key, each) for each in node["anyOf"]])
    if "$ref" in node:
        (section,) = (each for each in PIPELINE if each.section_name() == key.partition(".")[0])
        inner = resolved(section, node)["properties"]
        return st.fixed_dictionaries({name: any_value(f"{key}.{name}", each) for name, each in inner.items()})
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "array":
            most = min(MOST_ITEMS, node.get("maxItems", MOST_ITEMS))
            return st.lists(any_value(f"{key}[]", node["items"]), max_size=most)
        case "integer":
            low, high = node["minimum"], min(node["maximum"], MOST.get(key, math.inf))
            return st.sampled_from([low, high]) | st.integers(low, high)
        case "number":
            low = node.get("exclusiveMinimum", node.get("minimum"))
            high = node.get("exclusiveMaximum", node.get("maximum"))
            return st.floats(
                low,
                high,
                exclude_min="exclusiveMinimum" in node,
                exclude_max="exclusiveMaximum" in node,
                allow_nan=False,
                allow_infinity=False,
            )
        case "string" if key in TEXTS:
            return TEXTS[key]
    raise AssertionError(f"{key} has no strategy: add one to TEXTS")


def columns(create: dict[str, Any]) -> list[str]:
    """Of a data set, the target left out."""
    name = create["dataset"]
    if name in ("blobs", "gaussians", "classification"):
        return [f"x{index}" for index in range(1, create[name]["features"] + 1)]
    if name in ("iris", "wine", "breast_cancer", "digits"):
        bunch = getattr(datasets, f"load_{name}")()
        return [str(each).removesuffix(" (cm)").replace(" ", "_") for each in bunch.feature_names]
    return ["number", "colour", "flag", "day", "id", "more"] if name == "table" else ["x1", "x2"]


# Rules between keys, fixed where a draw breaks them: by model, so that a new rule is not forgotten.
def mend_classification(values: dict[str, Any], draw: Draw) -> None:
    values["informative"] = min(values["informative"], values["features"])
    values["classes"] = min(values["classes"], 2 ** values["informative"])


def mend_columns(values: dict[str, Any], draw: Draw) -> None:
    seen = set()
    for kind, names in values.items():
        values[kind] = [name for name in dict.fromkeys(names) if name not in seen]
        seen |= set(names)


def mend_split(values: dict[str, Any], draw: Draw) -> None:
    if values["method"] not in ("group", "time"):
        values["column"] = None
    elif values["column"] is None:
        values["column"] = draw(TEXTS["split.column"])


def mend_optimizer(values: dict[str, Any], draw: Draw) -> None:
    if values["nesterov"] and values["name"] == "sgd" and values["momentum"] == 0:
        values["momentum"] = draw(st.sampled_from([5e-324, 0.9, math.nextafter(1, 0)]))


def mend_schedule(values: dict[str, Any], draw: Draw) -> None:
    if values["name"] == "one_cycle":
        values["warmup_epochs"] = 0


def mend_train(values: dict[str, Any], draw: Draw) -> None:
    values["schedule"]["warmup_epochs"] = min(values["schedule"]["warmup_epochs"], values["epochs"])
    if values["architecture"] == "residual" and not values["hidden"]:
        values["hidden"] = [draw(st.integers(1, 12))]


def mend_evaluate(values: dict[str, Any], draw: Draw) -> None:
    values["slices"] = list(dict.fromkeys(values["slices"]))


def mend_report(values: dict[str, Any], draw: Draw) -> None:
    values["private"] = list(dict.fromkeys(values["private"]))


def nothing(values: dict[str, Any], draw: Draw) -> None:
    """The texts of the strategy keep the rule by themselves."""


MEND = {
    "Classification": mend_classification,
    "TableSource": nothing,
    "Reading": nothing,
    "Columns": mend_columns,
    "Split": mend_split,
    "Optimizer": mend_optimizer,
    "Schedule": mend_schedule,
    "Train": mend_train,
    "Evaluate": mend_evaluate,
    "Report": mend_report,
}


# With these as they are a case hardly ever ends before the training: what the data or the machine has a say in.
TAME = {
    "create.rows": 150,
    "create.table.path": "data/tables/table.csv",
    "split.test_size": 0.33,
    "split.validation_size": 0.3,
    **{
        key: shipped(key)
        for key in ("create.table.target", "split.method", "train.device", "train.class_weights", "evaluate.threshold")
    },
    **{f"create.reading.{key}": shipped(f"create.reading.{key}") for key in ("delimiter", "encoding", "decimal")},
    **{f"create.columns.{key}": [] for key in VALUES["create"]["columns"]},
}


@st.composite
def valid(draw: Draw) -> dict[str, Any]:
    """All sections with values that stages.validate must take."""
    # Where everything is changed at once hardly anything runs to its end.
    share = draw(st.sampled_from([0.05, 0.2, 0.5, 1.0]))
    kept = TAME if draw(st.sampled_from([True, True, True, False])) else {}
    changed = random.Random(draw(st.integers(0, 2**16)))

    def value(section: type[Section], key: str, node: dict[str, Any]) -> Any:
        node = resolved(section, node)
        if "properties" in node:
            below = {name: value(section, f"{key}.{name}", inner) for name, inner in node["properties"].items()}
            MEND.get(node["title"], nothing)(below, draw)
            return below
        if key in kept:
            return kept[key]
        # What makes a case slow cannot stay as it is shipped, and the data set decides what else matters.
        if key in MOST or key == "create.dataset" or changed.random() < share:
            return draw(STRATEGIES[key])
        return shipped(key)

    values = {
        section.section_name(): value(section, section.section_name(), schema_of(section)) for section in PIPELINE
    } | {"study": shipped("study")}
    create = values["create"]
    # The larger ones take half a second.
    if create["dataset"] in ("digits", "breast_cancer") and changed.random() < 0.9:
        create["dataset"] = "circles"
    names = columns(create)
    for column in (values["split"], values["evaluate"], values["report"]):
        if column.get("column") and changed.random() < 0.8:
            column["column"] = names[changed.randrange(len(names))]
        for several in ("slices", "private"):
            if column.get(several) and changed.random() < 0.8:
                column[several] = names[: len(column[several])]
    return values


STRATEGIES = {key: any_value(key, node) for _, key, node in LEAVES}


# --- texts ----------------------------------------------------------------------------------------------------------


class Raw(str):
    """A value as the file is to have it, whatever it is."""


@dataclass
class Writer:
    """params.yaml as people write it. seed 0: as plain as can be."""

    seed: int
    text: str = ""
    lines: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def one_of(self, *ways: str) -> str:
        return self.random.choice(ways) if self.seed else ways[0]

    def maybe(self, chance: float) -> bool:
        return bool(self.seed) and self.random.random() < chance

    def document(self, values: dict[str, Any]) -> str:
        self.text += self.one_of("", "---\n", "# Comment: with {odd] 'signs' & ünïcode\n\n", "\n\n")
        self.block(values, (), 0)
        self.text += self.one_of("", "...\n", "# end", "\n")
        if self.maybe(0.1):
            self.text = self.text.replace("\n", "\r\n")
        return self.text

    def mark(self, key: Key) -> None:
        self.lines[key] = self.text.count("\n") + 1

    def block(self, values: dict[str, Any], key: Key, indent: int) -> None:
        items = list(values.items())
        if self.seed:
            self.random.shuffle(items)
        for name, value in items:
            if self.maybe(0.05):
                self.text += self.one_of("\n", "  \n", " " * indent + "# note\n", "#:\n")
            self.text += " " * indent
            self.mark((*key, plain_name(name)))
            self.text += self.name(name) + ":"
            self.value(value, (*key, plain_name(name)), indent)

    def value(self, value: Any, key: Key, indent: int) -> None:
        if isinstance(value, dict) and value and not self.maybe(0.2):
            self.text += self.one_of("", "  # what follows") + "\n"
            self.block(value, key, indent + int(self.one_of("2", "1", "4")))
            return
        if isinstance(value, list) and value and self.maybe(0.3):
            self.text += "\n"
            inner = indent + int(self.one_of("2", "0", "4"))
            for item in value:
                self.text += " " * inner + "- "
                self.flow(item, key)
                self.text += "\n"
            return
        self.text += self.one_of(" ", " ", "   ")
        self.flow(value, key)
        self.text += self.one_of("", "", "  # a note: of [something", " #") + "\n"

    def flow(self, value: Any, key: Key) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for index, (name, inner) in enumerate(value.items()):
                self.text += self.one_of(", ", ",\n        ") if index else ""
                self.mark((*key, plain_name(name)))
                self.text += self.name(name) + ": "
                self.flow(inner, (*key, plain_name(name)))
            self.text += self.one_of("}", ",\n        }" if value else "}")
        elif isinstance(value, list):
            self.text += "["
            for index, inner in enumerate(value):
                self.text += self.one_of(", ", ",", ",\n          ") if index else ""
                self.flow(inner, key)
            self.text += self.one_of("]", " ]")
        else:
            self.text += self.scalar(value)

    def name(self, name: str) -> str:
        return str(name) if isinstance(name, Raw) else self.one_of(name, name, name, f"'{name}'", f'"{name}"')

    def scalar(self, value: Any) -> str:
        if isinstance(value, Raw):
            return str(value)
        if value is None:
            return self.one_of("null", "~", "Null", "NULL")
        if isinstance(value, bool):
            word = str(value).lower()
            return self.one_of(word, word.title(), word.upper())
        if isinstance(value, int):
            return self.one_of(str(value), str(value), f"+{value}") if value >= 0 else str(value)
        if isinstance(value, float):
            ways = [repr(value), f"{value:.17e}", f"{value:.17E}"]
            if value == int(value) and abs(value) < 1e15:
                ways += [f"{value:.0f}", f"{value:.0f}."]
            if repr(value).startswith("0."):
                ways.append(repr(value)[1:])
            return self.one_of(*ways)
        quoted = "'" + value.replace("'", "''") + "'"
        plain = re.fullmatch(r"[A-Za-zä-ü][\w.äöüß/-]*( [\w.-]+)*", value) and value.lower() not in (
            *("null", "true", "false", "nan"),
        )
        return self.one_of(*([value] if plain else []), quoted, json.dumps(value, ensure_ascii=False))


def plain_name(name: str) -> str:
    """A key as the reader has it, of one that is spelled out."""
    return name.strip("'\"") if isinstance(name, Raw) else name


@functools.cache
def tables() -> dict[str, bytes]:
    """The tables that `create.table.path` names, by path."""
    with fuzzing.folder() as place:
        folder = place / "data/tables"
        write_tables(folder)
        frame = pd.read_csv(folder / "table.csv").head(150)
        (folder / "zipped.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False, sep=";").encode()))
        frame.assign(day=pd.Timestamp("2026-01-01"), flag=frame["flag"] == 1).to_parquet(folder / "typed.parquet")
        (folder / "parts").mkdir()
        frame.head(70).to_parquet(folder / "parts/a.parquet")
        frame.tail(80).to_parquet(folder / "parts/b.parquet")
        return {str(path.relative_to(place)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lay_out(text: str) -> None:
    Path("params.yaml").write_bytes(text.encode())
    for name, content in tables().items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)


# --- valid ones -----------------------------------------------------------------------------------------------------

# How a valid file may end: what only the data or the machine can judge.
REFUSALS = {
    BAD_PARAMS: [
        r"params\.yaml:(?P<line>\d+): (?P<key>train\.class_weights) must hold a weight for each of the",
        r"params\.yaml:(?P<line>\d+): (?P<key>train\.device) must be a device of this machine",
        r"params\.yaml:(?P<line>\d+): (?P<key>evaluate\.threshold) must be a number with \d+ classes",
        r"params\.yaml:(?P<line>\d+): (?P<key>split\.(test|validation)_size) must suit the \d+ distinct rows",
        r"params\.yaml:(?P<line>\d+): (?P<key>split\.column) must be a column of the data set",
        r"params\.yaml:(?P<line>\d+): (?P<key>evaluate\.slices) must name columns of the data set",
        r"params\.yaml:(?P<line>\d+): (?P<key>report\.private) must name columns of the data set",
        r"params\.yaml:(?P<line>\d+): (?P<key>create\.columns\.\w+) must name features",
    ],
    BAD_DATA: [
        r"data/dataset\.parquet: class '.*' of \w+ has \d+ rows and none of them is a \w+ row",
        r"data/dataset\.parquet: too few distinct rows in class '.*' .*of \w+; .*; (add|raise) ",
        r"data/dataset\.parquet: the features \(.*\) tell nothing about",
        r"data/dataset\.parquet: no feature varies in the",
        r"data/dataset\.parquet: row \d+ has no \w+, by which split\.column divides",
        # Of a table, with other keys than those that fit it.
        r"data/tables/\S+: there is no column '.*' \(create\.table\.target\)",
        r"data/tables/\S+: column \w+, row \d+: '.*' is not a number, .*create\.reading\.missing",
        r"data/tables/\S+: column \w+, row \d+: '.*' is not .*create\.columns",
        r"data/tables/\S+: no column but \w+ varies",
        r"data/tables/\S+: column \w+ is the target \w+ in other words",
        r"data/tables/\S+: (a line|line \d+) has \d+ cells where the header has \d+; .*create\.reading\.delimiter",
        r"data/tables/\S+ is not \S+ \(.*\); set create\.reading\.encoding",
        r"data/tables/\S+: \d+ columns are called",
        r"data/tables/\S+: row \d+ has no value in the target",
        r"data/tables/\S+: line \d+ holds a NUL byte",
    ],
    MACHINE_FAULT: [
        r"train: epoch \d+, step \d+: the (loss|gradient norm|validation loss|largest weight) of replica \d is \S+ at"
        r" learning rate .*; (lower train\.optimizer\.learning_rate|choose another train\.init)",
        r"train: no weight changed in the whole training: .*; choose another train\.init or",
        r"train: a weight is not finite; lower train\.optimizer\.learning_rate",
    ],
}


def reason(end: fuzzing.End) -> str:
    """Which of REFUSALS it is, in a few words; no other one is allowed."""
    if not end.status:
        return "finished"
    (line,) = end.lines
    for pattern in REFUSALS[end.status]:
        if found := re.match(pattern, line):
            if "key" in found.groupdict():
                text = Path("params.yaml").read_text().splitlines()[int(found["line"]) - 1]
                assert found["key"].rsplit(".", 1)[-1] in text, line
            return f"{end.status} {pattern[:70]}"
    raise AssertionError(f"{end.stage} ended with {end.status}: {line}")


def test_a_valid_file_runs_or_is_refused_for_a_reason(cases):
    ends: Counter[str] = Counter()

    @fuzzing.settings(cases, 40)
    @given(valid(), st.integers(0, 2**16))
    def holds(values: dict[str, Any], seed: int) -> None:
        with fuzzing.folder():
            writer = Writer(seed)
            text = writer.document(values)
            lay_out(text)
            # What DVC compares with dvc.lock is what the stages get.
            assert parse_yaml(text, "params.yaml") == values
            plotted = random.Random(-seed).random() < PLOT_SHARE
            end = fuzzing.run(*STAGES, *(["plot", "report"] if plotted else []))
            ends[reason(end)] += 1
            if not end.status:
                fuzzing.check_predictions()
            if "class_weights" in str(end.lines):
                assert len(values["train"]["class_weights"]) != len(read_json(Path("data/schema.json"))["classes"])

    with fuzzing.many():
        holds()
    for kind, count in ends.most_common():
        print(f"{count:7,} {kind}")
    assert ends["finished"] > ends.total() / 4


# --- broken ones ----------------------------------------------------------------------------------------------------

# Texts in place of a value that no key takes, by what is wrong with them.
NEVER = {
    "date": ["2026-01-01", "2026-01-01 12:00:00", "2001-12-14t21:59:43.10-05:00"],
    "tag": ["!!python/object/apply:os.system ['true']", "!own 1", "!!set {a}", "!!binary aGk=", "!!int abc", "!!map 5"],
    "odd number": ["010", "0x10", "0o17", "0b11", "1_000", "12:30:00", "1_0.5", "-0x_f", "190:20:30.15"],
    "section": ["{a: 1}", "{}", "{a: {b: [1]}}"],
    "nested": ["[" * 30 + "]" * 30, "{a: " * 30 + "1" + "}" * 30, "[[[1]]]"],
}
NULL = ["null", "~", "", "NULL"]
NO_NUMBER = ["true", "'5'", '"1e-3"', "five", ".nan", ".inf", "-.INF", ".NaN", "1e400", "-1e400", "1e-3x", "[5]", "5 0"]
NOT_WHOLE = [*NO_NUMBER, "1.5", "5.0", "1e3", "1" * 400, "9" * 5000, "-" + "9" * 5000]
NO_TRUTH = ["no", "yes", "on", "off", "y", "'true'", "1", "0", "tru", "[true]"]
NO_WORD = ["5", "true", ".nan", "''", "' '", r'"\x01"', r'"relu\n"', r'"\u2028"', r'"\0"', r'"\U0001f600"', "x" * 400]
NO_TEXT = ["5", "true", ".nan", "1e5", "[a]"]
NO_LIST = ["5", "a", "true", "'[1]'", ".inf"]
NO_SECTION = ["5", "null", "[]", "'a'", "true", "", "[1, {a: 2}]", "2026-01-01", "!own {}", "010", r'"\x07"']
# A key that does not exist, as the file has it and as the message does.
EXTRA = {
    "zzz": "zzz",
    "ünï": "ünï",
    "'a b'": "a b",
    r'"a\nb"': r"'a\nb'",
    r'"\e[31m"': r"'\x1b[31m'",
    "5": "5",
    "~": "~",
    "no": "no",
    "<<": "<<",
    "'${x}'": "${x}",
    "y" * 300: "y" * 300,
}


def wrong(key: str, node: dict[str, Any]) -> dict[str, list[str]]:
    """Texts in place of a value, by what is wrong with them, each of which must be refused."""
    kinds = dict(NEVER)
    options = node.get("anyOf", [node])
    types = {option.get("type", "string") for option in options}
    if "null" not in types:
        kinds["null"] = NULL
    for option in options:
        if "items" in option:
            good = "0.5" if option["items"].get("type") == "number" else "1" if "minimum" in option["items"] else "a"
            for name, texts in wrong(f"{key}[]", option["items"]).items():
                bad = [text or "null" for text in texts]
                kinds[f"item: {name}"] = [f"[{good}, {text}]" for text in bad] + [f"[{text}, {good}]" for text in bad]
            if "maxItems" in option:
                kinds["too many"] = [f"[{', '.join([good] * (option['maxItems'] + 1))}]"]
            if "string" not in types:
                kinds["kind"] = NO_LIST
        elif option.get("type") in ("integer", "number"):
            kinds["kind"] = NOT_WHOLE if option["type"] == "integer" else NO_NUMBER
            kinds["range"] = out_of_range(option)
        elif option.get("type") == "boolean":
            kinds["kind"] = NO_TRUTH
        elif "enum" in option or "pattern" in option:
            kinds["kind"] = [*NO_WORD, *(f"'{word.upper()}'" for word in option.get("enum", ()))]
        elif option.get("type") == "string":
            kinds["kind"] = NO_TEXT + (["''"] if option.get("minLength") else [])
    return kinds


def out_of_range(node: dict[str, Any]) -> list[str]:
    """The first values beyond each end, and some that are far beyond."""
    whole, found = node["type"] == "integer", []
    for end, sign in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1)):
        if end in node:
            edge, far = node[end], ["9" * 30, "9" * 4000] if whole else ["1e300"]
            beyond = edge + sign if whole else math.nextafter(edge, sign * math.inf)
            found.append(repr(edge if end.startswith("exclusive") else beyond))
            found += far if sign > 0 else [f"-{text}" for text in far]
    return found


WRONG = {key: wrong(key, node) for _, key, node in LEAVES}

# What no schema tells: dotted key, a value that breaks a rule, and the values of other keys that make it do so.
RULES: list[tuple[str, Any, dict[str, Any]]] = [
    ("create.classification.informative", 4, {"create.classification.features": 3}),
    ("create.classification.informative", 2, {"create.classification.classes": 5}),
    ("create.table.path", "data/tables/../../secrets.csv", {}),
    ("create.table.path", "data/tables/./a.csv", {}),
    ("create.table.path", "data/tables/a\nb.csv/..", {}),
    ("create.table.path", "/etc/passwd", {}),
    ("create.reading.encoding", "utf-9", {}),
    ("create.reading.encoding", "no_such", {}),
    ("create.reading.encoding", "base64", {}),
    ("create.reading.encoding", "undefined", {}),
    ("create.columns.categorical", ["a"], {"create.columns.numeric": ["a"]}),
    ("create.columns.ignored", ["a", "b", "a"], {}),
    ("split.column", None, {"split.method": "group"}),
    ("split.column", "a\n", {"split.method": "hash"}),
    ("train.optimizer.momentum", 0.0, {"train.optimizer.nesterov": True, "train.optimizer.name": "sgd"}),
    ("train.schedule.warmup_epochs", 1, {"train.schedule.name": "one_cycle"}),
    ("train.schedule.warmup_epochs", 4, {"train.schedule.name": "cosine", "train.epochs": 3}),
    ("evaluate.slices", ["a", "b", "a"], {}),
    ("report.private", ["a", "b", "a"], {}),
]


def cut(text: str, choice: random.Random) -> str:
    return text[: choice.randrange(int(0.8 * len(text)))]


def with_line(line: str) -> Callable[[str, random.Random], str]:
    """Puts a line somewhere between the others."""

    def change(text: str, choice: random.Random) -> str:
        lines = text.splitlines(keepends=True)
        at = choice.randrange(len(lines))
        return "".join([*lines[:at], line, *lines[at:]])

    return change


def with_sign(sign: str) -> Callable[[str, random.Random], str]:
    def change(text: str, choice: random.Random) -> str:
        at = choice.randrange(len(text))
        return text[:at] + sign + text[at:]

    return change


# Faults of the whole file, in which no key can be read: its line is what is named.
FILES: dict[str, Callable[[str, random.Random], str | bytes]] = {
    "cut": cut,
    "empty": lambda text, _: "",
    "comments": lambda text, _: "# nothing\n",
    "a list": lambda text, _: "- a\n- b\n",
    "a text": lambda text, _: "nothing\n",
    "tab": with_line("\tx: 1\n"),
    "conflict": with_line("<<<<<<< HEAD\n"),
    "open list": with_line("x: [1, 2\n"),
    "open quote": with_line("x: 'abc\n"),
    "no key": with_line("an odd line\n"),
    "two documents": with_line("--- {a: 1}\n"),
    "unknown alias": with_line("x: *nowhere\n"),
    "directive": lambda text, _: f"%YAML 1.1\n---\n{text}",
    "mark": lambda text, _: f"\ufeff{text}",
    "nested": lambda text, _: text + "x: " + "[" * 1000,
    "deep": lambda text, _: text + "x: " + "[" * 400 + "]" * 400 + "\n",
    **{f"sign {ord(sign):x}": with_sign(sign) for sign in "\0\x01\x07\x1b\x7f\x80\x9f\ufffe"},
    "latin-1": lambda text, _: f"# größer\n{text}".encode("latin-1"),
    "utf-16": lambda text, _: text.encode("utf-16"),
    "bytes": lambda text, choice: choice.randbytes(200),
}


@dataclass
class Broken:
    """A params.yaml with one fault. keys: dotted, that the refusal must name, and no others; line: of the fault."""

    content: bytes
    what: str
    keys: set[str] = field(default_factory=set)
    line: int | None = None


def within(values: dict[str, Any], path: Key) -> Any:
    return functools.reduce(lambda place, name: place[name], path, values)


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    *path, name = key.split(".")
    within(values, tuple(path))[name] = value


def misspelt(name: str, siblings: dict[str, Any], choice: random.Random) -> str:
    """As a hand slips."""
    while True:
        at = choice.randrange(len(name))
        slip = choice.choice(["", name[at] * 2, choice.choice("aeiou_"), name[at].upper(), f"{name[at]} x"])
        found = name[:at] + slip + name[at + 1 :]
        if found and found not in siblings:
            return found


@st.composite
def broken(draw: Draw) -> Broken:
    # From a seed, since hypothesis likes to try the same few again.
    values, choice = draw(valid()), random.Random(draw(st.integers(0, 2**32)))
    kind = choice.choice(["value"] * 8 + ["rule", "misspelt", "missing", "extra", "twice", "section", "file"])
    writer = Writer(draw(st.integers(0, 2**16)))
    if kind == "file":
        what = choice.choice(sorted(FILES))
        content = FILES[what](Writer(0).document(values), choice)
        return Broken(content if isinstance(content, bytes) else content.encode(), f"file: {what}")
    _, key, _ = choice.choice(LEAVES)
    path = tuple(key.split("."))
    if kind == "value":
        kind = choice.choice(sorted(WRONG[key]))
        set_value(values, key, Raw(choice.choice(WRONG[key][kind])))
        named = {key}
    elif kind == "rule":
        key, value, others = choice.choice(RULES)
        for each, other in {key: value, **others}.items():
            set_value(values, each, other)
        path, named = tuple(key.split(".")), {key}
    else:
        path = path[: choice.randint(1, len(path) - (kind == "section"))]
        *above, name = path
        place = within(values, tuple(above))
        named = {".".join(path)}
        if kind == "section":
            place[name] = Raw(choice.choice(NO_SECTION))
        elif kind == "missing":
            del place[name]
        elif kind == "twice":
            place[Raw(f'"{name}"')] = place[name]
        elif kind == "misspelt":
            new = misspelt(name, place, choice)
            place[new], path = place.pop(name), (*above, new)
            named |= {".".join(path)}
        else:
            new = choice.choice(sorted(EXTRA))
            place[Raw(new)], path = choice.choice([1, "a", None, {"b": 1}, [1]]), (*above, plain_name(Raw(new)))
            named = {".".join((*above, EXTRA[new]))}
    content = writer.document(values).encode()
    return Broken(content, kind, named, writer.lines.get(path))


def blamed(line: str, keys: set[str]) -> str | None:
    """Which of the keys a line of a refusal is about."""
    _, _, text = line.partition(": ")
    text = text.removeprefix("section ")
    return next(
        (key for key in sorted(keys, key=len, reverse=True) if re.match(rf"{re.escape(key)}(\[\d+\]|\.\w+)* ", text)),
        None,
    )


def refusal(check: Callable[[], object]) -> list[str]:
    with pytest.raises(UserError) as caught:
        check()
    assert caught.value.status == BAD_PARAMS
    lines = str(caught.value).split("\n")
    for line in lines:
        assert line.isprintable(), repr(line)
        assert len(line) < 1000
        assert re.match(r"params\.yaml(:\d+(: column \d+)?)?: \S", line), line
    return lines


def test_a_broken_key_is_named_with_its_line(cases):
    kinds: Counter[str] = Counter()

    @fuzzing.settings(cases, 200)
    @given(broken())
    def holds(fault: Broken) -> None:
        kinds[fault.what] += 1
        with fuzzing.folder():
            Path("params.yaml").write_bytes(fault.content)
            lines = refusal(lambda: reader.check(SECTIONS))
            if not fault.keys:
                assert fault.what in ("file: cut", "file: deep") or len(lines) == 1
                assert fault.what == "file: cut" or re.match(r"params\.yaml:\d+: ", lines[0]), lines
                return
            assert {blamed(line, fault.keys) for line in lines} == fault.keys, lines
            if fault.line:
                assert any(line.startswith(f"params.yaml:{fault.line}: ") for line in lines), (fault.line, lines)
            # The stage that is run without `validate` says the same of its own section.
            for section in SECTIONS:
                if section.section_name() in {key.split(".")[0] for key in fault.keys}:
                    assert set(refusal(lambda section=section: reader.read(section))) <= set(lines)

    with fuzzing.many():
        holds()
    for kind, count in kinds.most_common():
        print(f"{count:7,} {kind}")


# --- the fuzzer itself ----------------------------------------------------------------------------------------------


def test_every_rule_between_keys_is_kept_by_the_fuzzer():
    """A model with a validator of its own needs a line in MEND."""

    def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        yield model
        for each in model.model_fields.values():
            if isinstance(each.annotation, type) and issubclass(each.annotation, BaseModel):
                yield from models(each.annotation)

    ruled = {
        each.__name__
        for section in SECTIONS
        for each in models(section)
        if each.__pydantic_decorators__.model_validators
    }
    assert ruled == set(MEND)


@pytest.mark.parametrize("kind", ["TEXTS", "MOST", "TAME"])
def test_the_fuzzer_names_no_key_that_is_gone(kind):
    known = {key for _, key, _ in LEAVES}
    assert {key.removesuffix("[]") for key in globals()[kind]} <= known


# --- what it found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("create.classification.separation", 0.0),  # scikit-learn wants more, with a traceback
        ("baseline.regularization", 5e-324),  # has no inverse: logistic regression went on with NaN
        ("train.class_weights", [1.0, 5e-324]),  # is zero as float32, and the mean over a batch of that class NaN
        ("create.reading.encoding", "base64"),  # is known to Python, and gives bytes
    ],
)
def test_what_cannot_be_computed_with_is_refused(key, value, project):
    turn(project, {key: value})
    (line,) = refusal(lambda: reader.check(SECTIONS))
    assert re.match(rf"params\.yaml:\d+: {key}(\[1\])? must be ", line)


def test_what_is_nested_too_deep_has_a_line(project):
    """The parser gave up with a RecursionError, which knows no line."""
    lines = [*PARAMS.splitlines(), *(f"{' ' * depth}x:" for depth in range(1000))]
    Path("params.yaml").write_text("\n".join(lines))
    (line,) = refusal(lambda: reader.check(SECTIONS))
    assert re.match(r"params\.yaml:\d+: is nested too deep", line)
