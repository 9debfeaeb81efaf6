"""Stage validate: every bad params.yaml is refused, in one line for each fault, before anything else happens."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from dvc.exceptions import DvcException
from dvc.utils.serialize import load_yaml, parse_yaml

from retrace.artifacts.decisions import DECISIONS, read_decisions
from retrace.data.generators import DATASETS
from retrace.networks.activations import ACTIVATIONS
from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.initializers import INITIALIZERS
from retrace.params import reader
from retrace.params.create import Create
from retrace.params.document import parse
from retrace.params.train import Optimizer, Schedule, Train
from retrace.runtime.errors import BAD_PARAMS, UserError
from retrace.training.losses import LOSSES
from retrace.training.optimizers import OPTIMIZERS
from retrace.training.schedules import SCHEDULES
from stages import validate
from tests.conftest import PARAMS, ROOT

LINES = PARAMS.splitlines()
OWN_LINES = (ROOT / "params.yaml").read_text().splitlines()  # as it is now, whatever somebody is trying
RECEIPT = "params.yaml is sound\n"
LEARNING_RATE = "must be a number > 0 and <= 1e+06"
FINITE = "must be a finite number > 0 and <= 1e+06"
EPOCHS = "must be a whole number from 1 to 1,000,000"
DIGITS = "must be written in plain decimal digits"
TWO_MEANINGS = "which YAML readers read differently"
WIDTH = "must be a whole number from 1 to 65,536"
SHARE = "must be a number > 0 and < 1"
NAMES = "must be one of sgd, adam, adamw, rmsprop"
DEVICE = "must be auto, cpu, cuda or cuda:N"
RESTORE = "restore it with: git checkout params.yaml"
GIT_SHOW = "git show HEAD:params.yaml has its last value"


def line_of(start: str) -> int:
    """Number of the one line of params.yaml that begins with `start`, spaces included."""
    numbers = [number for number, line in enumerate(LINES, 1) if line.startswith(start)]
    assert len(numbers) == 1, start
    return numbers[0]


def edited(old: str, new: str) -> bytes:
    assert PARAMS.count(old) == 1, old
    return PARAMS.replace(old, new).encode()


def fault_of(data: bytes) -> list[str]:
    """The lines of the fault that the stage ends with; nothing was written."""
    Path("params.yaml").write_bytes(data)
    with pytest.raises(UserError) as caught:
        validate.main()
    assert caught.value.status == BAD_PARAMS
    assert not validate.RECEIPT.exists()
    return str(caught.value).split("\n")


def key(case: str, old: str, new: str, rule: str) -> object:
    """A fault in the value on the line that holds `old`, whose message is place and rule."""
    return pytest.param(old, new, rule, id=f"{case} {new.strip()[:40]}")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        key(
            "P07",
            "nesterov: false",
            "nesterov: no",
            "train.optimizer.nesterov must be true or false; got the text 'no'",
        ),
        key(
            "P07",
            "nesterov: false",
            "nesterov: on",
            "train.optimizer.nesterov must be true or false; got the text 'on'",
        ),
        key(
            "P07",
            "nesterov: false",
            "nesterov: yes",
            "train.optimizer.nesterov must be true or false; got the text 'yes'",
        ),
        *(
            key("P08", "  epochs: 100 ", f"  epochs: {text} ", f"train.epochs {DIGITS}; got {text}, {TWO_MEANINGS}")
            for text in ("010", "12:30:00", "1_000", "0o10", "0x10", "0b11", "+010")
        ),
        key("P08", "dropout: 0.0", "dropout: 0_.5", f"train.dropout {DIGITS}; got 0_.5, {TWO_MEANINGS}"),
        *(
            key(
                case,
                "learning_rate: 0.1 ",
                f"learning_rate: {text} ",
                f"train.optimizer.learning_rate {rule}; got {got}",
            )
            for case, text, rule, got in (
                ("P09", ".nan", FINITE, "nan"),
                ("P10", ".inf", FINITE, "inf"),
                ("P10", "-.inf", FINITE, "-inf"),
                ("P10", "1e400", FINITE, "inf"),
                ("P11", "-1", LEARNING_RATE, "-1"),
                ("P11", "0", LEARNING_RATE, "0"),
                ("P13", '"0.1"', LEARNING_RATE, "the text '0.1'"),
                ("P13", "", LEARNING_RATE, "null"),
            )
        ),
        key(
            "P10",
            "gradient_clip: null",
            "gradient_clip: .inf",
            "train.gradient_clip must be a finite number > 0 or null; got inf",
        ),
        *(
            key("P13", "  epochs: 100 ", f"  epochs: {text} ", f"train.epochs {EPOCHS}; got {got}")
            for text, got in (
                ("10.5", "10.5"),
                ("10.0", "10.0"),
                ('"10"', "the text '10'"),
                ("true", "true"),
                ("null", "null"),
                (str(10**30), str(10**30)),
                ("0", "0"),
                ("[1]", "[1]"),
                ("{a: 1}", "a section"),
            )
        ),
        key(
            "P13",
            "  epochs: 100 ",
            f"  epochs: {'9' * 5000} ",
            "train.epochs must be a value of its own kind, not the text",
        ),
        *(
            key(
                "P14",
                "batch_size: 64",
                f"batch_size: {text}",
                f"train.batch_size must be a whole number from 1 to 10,000,000; got {text}",
            )
            for text in ("0", "-1", "2.5")
        ),
        key("P16", "hidden: [10]", "hidden: [0]", f"train.hidden[0] {WIDTH}; got 0"),
        key("P16", "hidden: [10]", "hidden: [10, -5]", f"train.hidden[1] {WIDTH}; got -5"),
        key(
            "P16",
            "hidden: [10]",
            "hidden: 64",
            f"train.hidden must be a list, each item {WIDTH.removeprefix('must be ')}; got 64",
        ),
        key("P16", "hidden: [10]", "hidden: [64.0]", f"train.hidden[0] {WIDTH}; got 64.0"),
        key("P16", "hidden: [10]", "hidden: [1000000000000]", f"train.hidden[0] {WIDTH}; got 1000000000000"),
        key("P17", "dropout: 0.0", "dropout: 1.5", "train.dropout must be a number >= 0 and < 1; got 1.5"),
        key("P17", "dropout: 0.0", "dropout: .nan", "train.dropout must be a finite number >= 0 and < 1; got nan"),
        key("P18", " test_size: 0.33", " test_size: 0", f"split.test_size {SHARE}; got 0"),
        key("P18", " test_size: 0.33", " test_size: 1.0", f"split.test_size {SHARE}; got 1.0"),
        key("P18", "validation_size: 0.1", "validation_size: 1.2", f"split.validation_size {SHARE}; got 1.2"),
        *(
            key("P20", "device: auto", f"device: {text}", f"train.device {DEVICE}; got the text '{text}'")
            for text in ("gpu", "mps", "CUDA", "cuda:-1")
        ),
        key(
            "P21",
            " name: sgd",
            " name: adamm",
            f"train.optimizer.name {NAMES}; got the text 'adamm'; did you mean adam?",
        ),
        key(
            "P21",
            "activation: relu",
            "activation: rleu",
            "train.activation must be one of sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, identity;"
            " got the text 'rleu'; did you mean relu?",
        ),
        key(
            "P23",
            "dataset: circles",
            "dataset: 2026-01-01",
            "create.dataset must not be a bare date; got 2026-01-01; quote it: '2026-01-01'",
        ),
        # Values that each YAML reader understands otherwise, or that cost more than they say.
        key(
            "S06",
            "dataset: circles",
            "dataset: !!python/object/apply:os.system ['touch canary']",
            "create.dataset must not carry the YAML tag tag:yaml.org,2002:python/object/apply:os.system;"
            " delete the tag",
        ),
        key(
            "tag",
            " seed: 26                  # of the generator",
            " seed: !!int abc  #",
            "create.seed must be a value of its own kind, not the text 'abc' as int",
        ),
        key(
            "tag",
            "nesterov: false",
            "nesterov: !!bool yes",
            "train.optimizer.nesterov must be a value of its own kind, not the text 'yes' as bool",
        ),
        key(
            "tag",
            "learning_rate: 0.1 ",
            "learning_rate: !!float '0.1' ",
            "train.optimizer.learning_rate must not carry the YAML tag tag:yaml.org,2002:float; delete the tag",
        ),
        key(
            "alias",
            "hidden: [10]",
            "hidden: &a [*a]",
            "train.hidden[0] must not be an alias (*name); write the value itself",
        ),
        key(
            "newline",
            "dataset: circles",
            'dataset: "a\\nb"',
            "create.dataset must be one of circles, moons, blobs, spirals, xor, gaussians, classification, iris, wine,"
            " breast_cancer, digits, table; got the text 'a\\nb'",
        ),
        # Rules between two keys.
        key(
            "rule",
            "nesterov: false",
            "nesterov: true",
            "train.optimizer.momentum must be > 0 with nesterov: true; got 0.0",
        ),
        key(
            "rule",
            "warmup_epochs: 0",
            "warmup_epochs: 101",
            "train.schedule.warmup_epochs must be at most train.epochs (100); got 101",
        ),
        key(
            "rule",
            "informative: 4",
            "informative: 9",
            "create.classification.informative must be at most classification.features (8); got 9",
        ),
        key(
            "rule",
            "informative: 4",
            "informative: 1",
            "create.classification.informative must be at least log2 of classification.classes (3); got 1",
        ),
    ],
)
def test_a_bad_value_is_one_line_with_its_place(project, old, new, rule):
    number = next(n for n, line in enumerate(LINES, 1) if old in line)
    if "momentum must" in rule:
        number -= 1  # the key to fix stands above the one that asks for it
    (line,) = fault_of(edited(old, new))
    assert line.startswith(f"params.yaml:{number}: {rule}")
    assert line == f"params.yaml:{number}: {rule}" or "not the text" in rule
    assert not Path("canary").exists()


TRAIN_LINE = line_of("train:")
EPOCHS_LINE = line_of("  epochs: 100")
ROWS_LINE = line_of("  rows: 10000")


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(
            edited("learning_rate: 0.1", "learning_ratee: 0.1"),
            [
                f"params.yaml: train.optimizer.learning_rate is missing; {LEARNING_RATE}; {GIT_SHOW}",
                f"params.yaml:{line_of('    learning_rate')}: train.optimizer.learning_ratee is not a parameter;"
                " did you mean train.optimizer.learning_rate?",
            ],
            id="P01 misspelt key",
        ),
        pytest.param(
            edited("  epochs: 100", "  surprise: 1\n  epochs: 100"),
            [f"params.yaml:{EPOCHS_LINE}: train.surprise is not a parameter; delete the line"],
            id="P01 unknown key",
        ),
        pytest.param(
            edited("  epochs: 100", "  momentum: 0.5\n  epochs: 100"),
            [f"params.yaml:{EPOCHS_LINE}: train.momentum is not a parameter; did you mean train.optimizer.momentum?"],
            id="P01 key of a subsection",
        ),
        pytest.param(
            edited("\ntrain: ", "\ntrian: "),
            [
                "params.yaml: section train is missing; git show HEAD:params.yaml has it",
                f"params.yaml:{TRAIN_LINE}: trian is not a section; did you mean train?",
            ],
            id="P02 misspelt section",
        ),
        pytest.param(
            edited(LINES[EPOCHS_LINE - 1] + "\n", ""),
            [f"params.yaml: train.epochs is missing; {EPOCHS}; {GIT_SHOW}"],
            id="P03 missing key",
        ),
        pytest.param(
            b"",
            [f"params.yaml:1: column 1: must hold sections (create, split, train, ...); got nothing; {RESTORE}"],
            id="P22 empty",
        ),
        pytest.param(
            b"train:\n  epochs: " + b"[" * 100_000,
            [f"params.yaml:2: holds a hundred brackets in a row; {RESTORE}"],
            id="P25 brackets over which the parser thinks for minutes",
        ),
        pytest.param(
            b"# only\n# comments\n",
            [f"params.yaml:1: column 1: must hold sections (create, split, train, ...); got nothing; {RESTORE}"],
            id="P22 only comments",
        ),
        pytest.param(
            b"- a\n- b\n",
            [f"params.yaml:1: column 1: must hold sections (create, split, train, ...); got a list; {RESTORE}"],
            id="P22 list",
        ),
        pytest.param(
            edited("  epochs: 100", "\tepochs: 100"),
            [
                f"params.yaml:{EPOCHS_LINE}: column 1: is not valid YAML: found character '\\t' that cannot start any"
                " token; indent with spaces, not tabs"
            ],
            id="P22 tab",
        ),
        pytest.param(
            edited("# the data", "# f\xfcr").decode().encode("latin-1"),
            [f"params.yaml:{line_of('create:')}: column 32: byte 0xfc is not UTF-8; save the file as UTF-8"],
            id="P22 latin-1",
        ),
        pytest.param(
            PARAMS.encode("utf-8-sig"),
            ["params.yaml:1: column 1: starts with a byte-order mark; save it as UTF-8 without one"],
            id="P22 byte-order mark",
        ),
        pytest.param(
            PARAMS.encode("utf-16"),
            ["params.yaml:1: column 1: byte 0xff is not UTF-8; save the file as UTF-8"],
            id="P22 UTF-16",
        ),
        pytest.param(
            edited("dataset: circles", "dataset: cir\x00cles"),
            [f"params.yaml:{line_of('  dataset')}: column 15: holds the control character 0x00; delete it"],
            id="P22 NUL",
        ),
        pytest.param(
            edited(LINES[ROWS_LINE - 1], "<<<<<<< HEAD\n  rows: 10\n=======\n  rows: 20\n>>>>>>> other"),
            [f"params.yaml:{ROWS_LINE}: has merge-conflict markers; keep one side and delete the markers"],
            id="P25 merge conflict",
        ),
        pytest.param(
            edited("  rows: 10000", "  rows: 50\n  rows: 10000"),
            [f"params.yaml:{ROWS_LINE + 1}: create.rows stands twice; delete one of the two lines"],
            id="key twice",
        ),
        pytest.param(
            b"%YAML 1.1\n---\n" + edited("nesterov: false", "nesterov: no"),
            ["params.yaml:1: must not begin with %, a YAML directive; delete the line"],
            id="YAML 1.1 on demand",
        ),
        pytest.param(
            b"create:\n" + PARAMS[PARAMS.index("split: ") :].encode(),
            [f"params.yaml:1: create must be a section with keys of its own; got null; {RESTORE}"],
            id="P22 empty section",
        ),
        pytest.param(
            edited("  rows: 10000", "  ? [a, b]\n  : 1\n  rows: 10000"),
            [f"params.yaml:{ROWS_LINE}: create.? is not a parameter; delete the line"],
            id="key that is a list",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_place(project, data, lines):
    assert fault_of(data) == lines


def test_p04_a_missing_file_says_how_to_restore_it(project):
    Path("params.yaml").unlink()
    with pytest.raises(UserError) as caught:
        validate.main()
    assert str(caught.value) == f"params.yaml not found; {RESTORE}"


def test_a_file_far_too_large_is_refused_before_it_is_parsed(project):
    """Ten million bytes of comments took the parser minutes."""
    with open("params.yaml", "a") as file:
        file.write(f"# {'x' * 97}\n" * 100_000)
    began = time.process_time()
    with pytest.raises(
        UserError, match=r"^params\.yaml must have at most 1,000,000 bytes, and has 10,0\d\d,\d{3}; "
    ) as caught:
        validate.main()
    assert str(caught.value).endswith(RESTORE)
    assert time.process_time() - began < 30  # minutes, where it is parsed


def test_p26_all_faults_are_listed_at_once_in_line_order(project):
    text = PARAMS
    for old, new in (
        ("min_accuracy: 0.95", "min_accuracy: 2"),
        ("  rows: 10000", "  rows: 1_0"),
        ("learning_rate: 0.1", "learning_rate: -0.1"),
        ("hidden: [10]", "hidden: [0, 5, -1]"),
        ("  epochs: 100", "  epoch: 100"),
        ("\nplot: ", "\nplott: "),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    lines = fault_of(text.encode())
    assert [line.split(";")[0].removeprefix("params.yaml") for line in lines] == [
        ": section plot is missing",
        f":{ROWS_LINE}: create.rows {DIGITS}",
        ": train.epochs is missing",  # where its section begins
        f":{line_of('  hidden')}: train.hidden[0] {WIDTH}",
        f":{line_of('  hidden')}: train.hidden[2] {WIDTH}",
        f":{line_of('    learning_rate')}: train.optimizer.learning_rate {LEARNING_RATE}",
        f":{EPOCHS_LINE}: train.epoch is not a parameter",
        f":{line_of('plot:')}: plott is not a section",
        f":{line_of('  min_accuracy')}: gate.min_accuracy must be a number from 0 to 1",
    ]


def test_the_shipped_file_is_sound_and_the_receipt_never_changes(project, capsys):
    validate.main()
    assert validate.RECEIPT.read_text() == RECEIPT
    leaves = list(reader.leaves(parse_yaml(PARAMS, "params.yaml")))
    assert capsys.readouterr().out == f"validate: {len(leaves)} parameters in 10 sections are sound\n"
    Path("params.yaml").write_bytes(edited("learning_rate: 0.1 ", "learning_rate: 0.2 "))
    validate.main()
    assert validate.RECEIPT.read_text() == RECEIPT


def test_p06_an_exponent_is_a_number(project):
    Path("params.yaml").write_bytes(edited("learning_rate: 0.1 ", "learning_rate: 1e-3 "))
    assert reader.read(Train).optimizer.learning_rate == 0.001


def test_p28_comments_key_order_and_line_ends_change_nothing(project):
    before = [reader.read(section) for section in validate.SECTIONS]
    moved = LINES[ROWS_LINE - 1] + "\n"
    text = re.sub(r" +#.*", "  # other words", PARAMS.replace(moved, "")).replace("  circles:", f"{moved}  circles:")
    Path("params.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert text != PARAMS
    assert [reader.read(section) for section in validate.SECTIONS] == before


def test_the_stage_as_a_process_ends_with_status_2_and_one_line(project):
    Path("params.yaml").write_bytes(edited("learning_rate: 0.1 ", "learning_rate: -1 "))
    Path("data").mkdir()
    Path("data/params.ok").write_text(RECEIPT)  # of an earlier run
    done = subprocess.run(
        [sys.executable, "-m", "stages.validate"], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    line = f"params.yaml:{line_of('    learning_rate')}: train.optimizer.learning_rate {LEARNING_RATE}; got -1\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert Path("data/params.ok").read_text() == RECEIPT


def test_a_later_stage_refuses_a_fault_in_its_own_section_by_itself(project):
    Path("params.yaml").write_bytes(edited("learning_rate: 0.1 ", "learning_rate: 0_.1 "))
    with pytest.raises(UserError, match=r"^params.yaml:\d+: train.optimizer.learning_rate must"):
        reader.read(Train)
    assert reader.read(Create).dataset == "circles"  # the others are not its business


# Plain scalars on which YAML readers are known to disagree.
ODD_SCALARS = """
    1e-3 1E-3 1e3 1e05 1.e3 .5 5. +.5 -.5 0.5 010 0o10 0x10 0x_1 0b1 1_000 1_000.5 1_.5 0_ _1 1__0 12:30 12:30:00
    1:30.5 010.5 00.1 +5 -0 0.0 .nan .NaN .inf -.INF +.inf 1e400 no No on off yes y n true True TRUE tRue null Null ~
    nul 2026-01-01 2026-1-1 2026-01-01T10:00:00 '1' "1" '010' !!str,5 !!int,5 !!float,5 !!bool,yes !!null,x !,5 = <<
    - 0.1.2 1e 1e+ 08 09 0o8 0xg 3d 1,000 ''
"""


@pytest.mark.parametrize("text", [re.sub(r"^(!.*),", r"\1 ", text) for text in ODD_SCALARS.split()])
def test_what_this_reader_accepts_dvc_reads_as_the_same_value(project, text):
    content = f"record:\n  a: {text}\n  b: [{text}, 1]\n"
    Path("params.yaml").write_text(content)
    try:
        document = parse(Path("params.yaml"))
    except UserError:
        return  # refused: nothing to disagree about
    if document.faults:
        return
    try:
        theirs = parse_yaml(content, "params.yaml")
    except DvcException:
        pytest.fail(f"DVC cannot read {text}")
    assert repr(document.values) == repr(theirs)  # repr: nan is nan, and 1 is neither True nor 1.0


def test_plain_numbers_are_accepted_at_all(project):
    # The test above would pass on a reader that refuses everything.
    Path("params.yaml").write_text("a: [1e-3, 1e05, .5, 010.5, +5, true, null, 3d, no, '010', '']\n")
    document = parse(Path("params.yaml"))
    assert not document.faults
    assert document.values == {"a": [0.001, 1e5, 0.5, 10.5, 5, True, None, "3d", "no", "010", ""]}


def test_dvc_reads_the_shipped_file_as_this_reader_does(project):
    theirs = load_yaml(str(ROOT / "tests" / "params.yaml"))
    ours = {section.section_name(): reader.read(section).model_dump() for section in validate.SECTIONS}
    assert repr(dict(reader.leaves(theirs))) == repr(dict(reader.leaves({name: ours[name] for name in theirs})))


def test_every_key_has_a_comment_on_its_line():
    # The keys of a study's space are parameters that have theirs.
    explained = OWN_LINES[: next(number for number, line in enumerate(OWN_LINES) if line.startswith("  space:")) + 1]
    bare = [line for line in explained if re.match(r" *\w+:", line) and not re.search(r" # \S", line)]
    # Of a section with keys of its own the name may say enough: its keys are explained.
    assert [line for line in bare if not re.fullmatch(r" *\w+:", line)] == []


@pytest.mark.parametrize(
    ("registry", "model", "field", "key"),
    [
        ({*DATASETS, "table"}, Create, "dataset", "  dataset:"),
        (ARCHITECTURES, Train, "architecture", "  architecture:"),
        (ACTIVATIONS, Train, "activation", "  activation:"),
        (INITIALIZERS, Train, "init", "  init:"),
        (LOSSES, Train, "loss", "  loss:"),
        (OPTIMIZERS, Optimizer, "name", "  optimizer:"),
        (SCHEDULES, Schedule, "name", "  schedule:"),
    ],
)
def test_registry_schema_and_comment_name_the_same(registry, model, field, key):
    names = get_args(model.model_fields[field].annotation)
    assert set(names) == set(registry)
    place = next(place for place, line in enumerate(OWN_LINES) if line.startswith(key))
    # The comment goes on below the key; a section's `name` stands on the next line.
    comment = " ".join(OWN_LINES[place : place + 4])
    assert [name for name in names if not re.search(rf"\b{name}\b", comment)] == []


def test_what_decides_a_result_is_written_down_and_what_does_not_is_not(project):
    """So that a change of the gate, a figure or a comment makes no new page."""
    validate.main()
    before = DECISIONS.read_bytes()
    found = read_decisions()
    assert {key.partition(".")[0] for key in found} == {"create", "split", "baseline", "train", "evaluate"}
    assert found["train.hidden"] == "[10]"
    assert found["train.gradient_clip"] == "null"
    assert found["create.dataset"] == "circles"
    others = PARAMS.replace("dpi: 110", "dpi: 50").replace("min_accuracy: 0.95", "min_accuracy: 0.9")
    Path("params.yaml").write_text(f"# a comment\n{others}")
    validate.main()
    assert DECISIONS.read_bytes() == before
    Path("params.yaml").write_text(PARAMS.replace("  hidden: [10]", "  hidden: [4]"))
    validate.main()
    assert read_decisions()["train.hidden"] == "[4]"
