"""Each file that a stage or a command reads, damaged byte by byte: it is restored, refused by name, or harmless.

A case damages one file of a finished project and runs one that reads it, as a process with its real main(). It ends

- refused: a status of its own, a line on stderr with the file's name and what to do, nothing written;
- harmless: the same output as without the damage, byte for byte; or
- taken, with another result: which only a table of a person's own may be, which then says something else.
"""

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML

from campaigns import watched
from campaigns.watched import Done
from retrace.artifacts.tables import SEAL, count_rows, read_first, read_pieces, read_table, write_table
from retrace.networks.model import Model
from retrace.networks.model_files import load
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.tracking.model import CODE, ENTRY
from tests.conftest import PARAMS, ROOT
from tests.contracts.test_contracts import STAGES, graph, outs, paths
from tests.project import TINY, copy_project, turn
from tests.project import run as run_process

SEED = 5
TABLE = "data/tables/table.csv"
OWN = {
    **TINY,
    "create.dataset": "table",
    "create.table.path": TABLE,
    "create.columns.ignored": ["note"],
    "train.embed_above": 4,
    "train.rare_below": 5,
    "train.epochs": 12,
    "train.ship": "mean",
    "train.scaling": "standard",
    "train.bins": 4,
    "train.residuals_above": 0.0,
    "train.input_scale_rate": 10.0,
    "train.hidden": [64],
    "train.optimizer.name": "adamw",
    "train.optimizer.learning_rate": 0.05,
    "evaluate.slices": ["colour", "number"],
    "gate.min_accuracy": 0.5,
    "gate.min_macro_f1": 0.5,
    "gate.beat_baselines": False,
}
# The others only differ in how the table is stored.
PROJECTS = {
    "made": TINY,
    "own": OWN,
    **{name: {**OWN, "create.table.path": f"data/tables/{name}"} for name in ("t.csv.gz", "t.parquet", "parts")},
}
COMMANDS = {"gate": (), "summary": (), "export": (), "predict": ("--keep", "INPUT", "said.csv")}
# Status of bad parameters, bad data, the machine, a gate that stays shut.
REFUSALS = {2, 3, 4, 5}


# --- projects -------------------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """A stage or command of a project; files: what it reads that is not code; outs: what it writes, stdout aside."""

    project: Path
    module: str
    arguments: tuple[str, ...]
    files: list[str]
    outs: list[str]

    @property
    def name(self) -> str:
        return self.module.partition(".")[2]


def write_tables(folder: Path) -> None:
    """A table with a column of each kind, gaps, and classes with odd names; as CSV, packed, Parquet, and in parts."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 3, 240)
    table = pd.DataFrame(
        {
            "number": (draw.normal(size=240) / 3 + kind).round(3),
            "whole": draw.integers(0, 9, 240),
            "colour": draw.choice(["red", "grün", "blue", "pink, pale", "=1+1", "gray"], 240),
            "flag": np.where(kind == 1, "true", "false"),
            "day": [f"2026-{month:02}-11" for month in draw.integers(1, 13, 240)],
            "id": range(1000, 1240),
            "note": "a word",
            "class": np.array(["=yes", "no|never", "größer"])[kind],
        }
    )
    for column in ("number", "colour"):
        table.loc[draw.choice(240, 12, replace=False), column] = None
    folder.mkdir(parents=True)
    table.to_csv(folder / "table.csv", index=False)
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "table.csv").read_bytes(), mtime=0))
    typed = table.assign(day=pd.to_datetime(table["day"]), flag=table["flag"] == "true")
    typed.to_parquet(folder / "t.parquet", index=False)
    (folder / "parts").mkdir()
    typed[:100].to_parquet(folder / "parts/a.parquet", index=False)
    typed[100:].to_parquet(folder / "parts/b.parquet", index=False)


def write_lock(folder: Path) -> None:
    """dvc.lock as DVC writes it."""
    sections = YAML(typ="safe").load(folder / "params.yaml")

    def entries(names) -> list[dict]:
        files = [(name, (folder / name).read_bytes()) for name in sorted(names) if (folder / name).is_file()]
        return [
            {"path": name, "hash": "md5", "md5": hashlib.md5(content).hexdigest(), "size": len(content)}
            for name, content in files
        ]

    stages = {
        name: {
            "cmd": stage["cmd"],
            "deps": entries(paths(stage["deps"])),
            **({"params": {"params.yaml": {name: sections[name]}}} if name in sections else {}),
            "outs": entries(outs(stage)),
        }
        for name, stage in graph(folder).items()
        if name != "record"
    }
    with open(folder / "dvc.lock", "w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": stages}, file)


def make(folder: Path, changes: dict, stages: list[str]) -> None:
    """A project with the outs of these stages."""
    write_tables(folder / "data/tables")
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "params.yaml").write_text(PARAMS)
    for path in (ENTRY, *CODE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    turn(folder, changes)
    for stage in stages:
        done = watched.run(folder, f"stages.{stage}")
        assert done.status == 0, done.err
    write_lock(folder)


def readers(folder: Path, changes: dict) -> Iterator[Reader]:
    """Stages with the data in their deps, and commands with what they are seen to read."""
    own = [
        str(path.relative_to(folder)) for path in sorted((folder / changes.get("create.table.path", "none")).rglob("*"))
    ]
    own = own or [changes[key] for key in ("create.table.path",) if key in changes]
    for stage, told in graph(folder).items():
        names = [name for name in paths(told["deps"]) if not name.startswith(("stages/", "retrace/"))]
        files = [each for name in names for each in (own if (folder / name).is_dir() else [name])]
        if stage == "record":
            files.append("dvc.lock")
        yield Reader(folder, f"stages.{stage}", (), files, sorted(outs(told)))
    for command, arguments in COMMANDS.items():
        given = tuple(each.replace("INPUT", changes.get("create.table.path", "")) for each in arguments)
        if "" not in given:
            given = (command, *given)
            seen = watched.run(folder, "retrace", *given).read
            aside = ("stages/", "retrace/", "params.yaml", "dvc.lock", ".retrace/")
            files = [name for name in dict.fromkeys(seen) if not name.startswith(aside)]
            yield Reader(folder, "retrace", given, sorted({*files, *own} if "INPUT" in arguments else files), [])
    (folder / "said.csv").unlink(missing_ok=True)
    (folder / "models/model.onnx").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def everyone(tmp_path_factory) -> list[Reader]:
    """All readers of all projects."""
    found = []
    for name, changes in PROJECTS.items():
        folder = tmp_path_factory.mktemp("projects") / name
        whole = name in ("made", "own")
        make(folder, changes, STAGES[:-1] if whole else ["validate", "create"])
        if whole:
            found += readers(folder, changes)
        else:
            shutil.copytree(found[-1].project / "models", folder / "models")
            found += [each for each in readers(folder, changes) if each.name in ("create", "predict")]
    return found


# --- damages --------------------------------------------------------------------------------------------------------


def some(draw: random.Random, content: bytes) -> tuple[int, int]:
    """Begin and end of a piece, of one byte at least if there is one."""
    start = draw.randrange(max(len(content), 1))
    return start, start + draw.randint(1, 64)


def flip_bit(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(max(len(content), 1))
    return (
        content[:place]
        + bytes(byte ^ 1 << draw.randrange(8) for byte in content[place : place + 1])
        + content[place + 1 :]
    )


def flip_byte(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(max(len(content), 1))
    return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]


def cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(max(len(content), 1))]


def append(draw: random.Random, content: bytes) -> bytes:
    return content + draw.randbytes(draw.randint(1, 64))


def zero(draw: random.Random, content: bytes) -> bytes:
    start, end = some(draw, content)
    return content[:start] + bytes(len(content[start:end])) + content[end:]


def swap(draw: random.Random, content: bytes) -> bytes:
    size = draw.randint(1, max(len(content) // 2, 1))
    first = draw.randint(0, max(len(content) - 2 * size, 0))
    second = draw.randint(first + size, max(len(content) - size, first + size))
    one, other = content[first : first + size], content[second : second + size]
    return content[:first] + other + content[first + size : second] + one + content[second + size :]


def drop(draw: random.Random, content: bytes) -> bytes:
    start, end = some(draw, content)
    return content[:start] + content[end:]


def digit(draw: random.Random, content: bytes) -> bytes:
    """Another digit for one: what no reader of a text can see."""
    places = [found.start() for found in re.finditer(rb"\d", content)]
    if not places:
        return flip_byte(draw, content)
    place = draw.choice(places)
    return content[:place] + str(draw.randrange(10)).encode() + content[place + 1 :]


def value(draw: random.Random, content: bytes) -> bytes:
    """JSON with one value of another type or size, or a key less."""
    try:
        tree = json.loads(content)
    except ValueError:
        return drop(draw, content)
    spots: list[tuple] = []

    def walk(node) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            spots.append((node, key))
            walk(node[key])

    walk(tree)
    if not spots:
        return b"[[]]"
    node, key = draw.choice(spots)
    odd = [None, True, -1, 0, 10**30, 1e300, "", "x", [], {}, [1], {"x": 1}, float("nan"), 0.5, "\udc80"]
    other = draw.choice([*odd, "delete"])
    if other == "delete":
        del node[key]
    else:
        node[key] = other
    return json.dumps(tree).encode()


TEXTS = (
    b"",
    b"hello\n",
    b"{}",
    b"[]",
    b"null",
    b"1",
    b"[" * 100_000,
    b"\xff\xfe\x00",
    b"a,b\n1,2\n",
    b"PAR1" * 3,
    b'{"a": NaN}',
)
DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    **{each.__name__: each for each in (flip_bit, flip_byte, cut, append, zero, swap, drop, digit, value)},
    "empty": lambda draw, content: b"",
    "text": lambda draw, content: draw.choice(TEXTS),
}
GONE = ("delete", "folder")


class Case(NamedTuple):
    number: int
    reader: Reader
    file: str
    damage: str

    def __str__(self) -> str:
        where = f"{self.reader.module} ({self.reader.project.name})"
        return f"seed {SEED}, case {self.number}: {self.damage} {self.file}, then {where}"


def case(number: int, everyone: list[Reader]) -> Case:
    draw = random.Random(f"{SEED} {number}")
    reader = draw.choice(everyone)
    return Case(number, reader, draw.choice(reader.files), draw.choice([*DAMAGES, *GONE]))


def do(path: Path, damage: str, draw: random.Random) -> None:
    """The damage; the path may be a link to a file that must stay as it is."""
    content = path.read_bytes()
    path.unlink()
    if damage in DAMAGES:
        path.write_bytes(DAMAGES[damage](draw, content))
    elif damage == "folder":
        path.mkdir()


# --- a case ---------------------------------------------------------------------------------------------------------

EARLIER = b"earlier\n"
# By a command.
WRITTEN = ("said.csv", "models/model.onnx")


class Result(NamedTuple):
    """files: content of the outs; said: stdout and stderr of a command, whose result it is."""

    status: int
    files: dict[str, bytes]
    said: str


def copied(reader: Reader, folder: Path) -> None:
    """The project as links, with something else where the reader will write."""
    for path in reader.project.rglob("*"):
        place = folder / path.relative_to(reader.project)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif path.suffix != ".pyc":
            os.link(path, place)
    for name in reader.outs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(EARLIER)


class Runner:
    """Runs cases."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[tuple[Path, str], Result] = {}
        self.lock = threading.Lock()

    def act(self, reader: Reader, name: str, harm: Callable[[Path], None]) -> tuple[Result, Done, Path]:
        folder = self.folder / name
        folder.mkdir()
        copied(reader, folder)
        harm(folder)
        done = watched.run(folder, reader.module, *reader.arguments)
        names = reader.outs or [name for name in WRITTEN if (folder / name).exists()]
        files = {name: (folder / name).read_bytes() for name in names}
        return Result(done.status, files, "" if reader.outs else done.out + done.err), done, folder

    def usual(self, reader: Reader) -> Result:
        """What the reader does when nothing is damaged."""
        with self.lock:
            key = (reader.project, reader.module)
            if key not in self.known:
                name = f"{reader.project.name}-{reader.name}"
                self.known[key], done, _ = self.act(reader, name, lambda folder: None)
                assert done.status == 0 or (reader.name == "gate" and done.status == 5), done.err
            return self.known[key]

    def end(self, case: Case) -> str:
        """harmless, taken or refused; AssertionError where it is none of them."""
        draw = random.Random(f"{SEED} {case.number} damage")
        reader = case.reader
        found, done, folder = self.act(
            reader, str(case.number), lambda folder: do(folder / case.file, case.damage, draw)
        )
        told = f"{case}\nstatus {done.status}\n{done.out}{done.err}"
        left = [str(path.relative_to(folder)) for path in folder.rglob("*.tmp")]
        shutil.rmtree(folder)
        assert not left, f"{told}\nleft behind: {left}"
        assert "Traceback" not in done.err, told
        if (found.status == 0 or not reader.outs) and found == self.usual(reader):
            return "harmless"
        if found.status == 0:
            assert may_be_taken(case), told
            return "taken"
        assert found.status in REFUSALS, told
        lines = [line for line in done.err.splitlines() if ": warning: " not in line]
        assert any(case.file in line for line in lines), told
        for line in lines:
            assert re.search(r"dvc (checkout|repro|pull)|git checkout|; |must |at least", line), told
            assert len(line) < 1000, told
        assert found.files == dict.fromkeys(reader.outs, EARLIER), told
        return "refused"


def may_be_taken(case: Case) -> bool:
    """Whether another result is right: of another table, and of the lock itself."""
    return case.file.startswith("data/tables/") or (case.reader.name == "record" and case.file == "dvc.lock")


def test_a_damaged_file_is_refused_by_name_or_harmless(everyone, cases, tmp_path):
    runner = Runner(tmp_path)
    faults: list[str] = []
    ends: Counter[tuple[str, str, str]] = Counter()

    def act(each: Case) -> None:
        try:
            ends[each.reader.name, each.file, runner.end(each)] += 1
        except AssertionError as error:
            faults.append(str(error))

    chosen = [case(number, everyone) for number in range(cases(60, 10_000))]
    with ThreadPoolExecutor(cases(1, 4)) as pool:
        list(pool.map(act, chosen))
    print()
    for (reader, file, end), count in sorted(ends.items()):
        print(f"{reader:<10} {file:<40} {end:<10} {count}")
    print(Counter(end for _, _, end in ends.elements()))
    assert not faults, f"{len(faults)} of {len(chosen)}:\n\n" + "\n\n".join(faults)
    assert {end for _, _, end in ends} >= {"harmless", "refused"}


# --- files that carry checksums, whole ------------------------------------------------------------------------------


def parquet(path: Path) -> pa.Table:
    """A small file as the stages write it, with a column of each kind."""
    words = pa.array(["a", "b", None, "a", "grün"]).dictionary_encode()
    times = pa.array([0, 1, 2, 3, None], pa.timestamp("us"))
    table = pa.table({"x": [0.5, None, 2.0, 1.0, 3.0], "word": words, "day": times, "class": [0, 1, 1, 0, 2]})
    write_table(path, table)
    return table


def flipped(path: Path, step: int) -> Iterator[int]:
    """Bits of the file, with each of them flipped in turn."""
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), step):
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(harmed)
        yield bit


def refusal(act: Callable[[], None]) -> str:
    """The line of a fault of the data, or "" where there is none."""
    try:
        act()
    except UserError as fault:
        if fault.status == BAD_DATA:
            return str(fault)
        raise
    return ""


def same(path: Path, table: pa.Table) -> None:
    """All ways of reading say what the table says, which has a gap in each column but the last."""
    assert read_table(path) == table
    assert read_first(path, 2, ["word", "x"]) == table.select(["word", "x"])[:2]
    names = table.column_names
    assert pa.table([pa.concat_arrays(list(read_pieces(path, name))) for name in names], names) == table
    assert count_rows(path) == 5


def same_model(folder: Path, usual: Model) -> None:
    found = load(folder)
    assert found.description == usual.description
    for (name, one), (other, two) in zip(
        usual.network.state_dict().items(), found.network.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(one, two)


def test_no_bit_of_a_parquet_file_changes_what_is_read(tmp_path, cases):
    """Pages have checksums of Parquet's own, the footer has ours: types, rows, statistics, where the columns lie."""
    path = tmp_path / "table.parquet"
    table = parquet(path)
    assert path.read_bytes().count(SEAL) == 1
    assert pq.read_table(path).equals(table), "other readers see nothing of the seal"
    ends: Counter[str] = Counter()
    for bit in flipped(path, cases(29, 1)):
        if line := refusal(lambda: same(path, table)):
            assert str(path) in line, bit
        ends["refused" if line else "harmless"] += 1
    print(ends)
    assert ends["refused"] > 2 * ends["harmless"] > 0


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_no_bit_of_a_model_changes_what_it_says(file, everyone, tmp_path, cases):
    """`make predict` and a served model have no DVC that would restore it."""
    models = next(each.project for each in everyone if each.project.name == "own") / "models"
    folder = Path(shutil.copytree(models, tmp_path / "models"))
    usual = load(folder)
    ends: Counter[str] = Counter()
    for bit in flipped(folder / file, cases(61, 1)):
        if line := refusal(lambda: same_model(folder, usual)):
            assert str(folder) in line, bit
        ends["refused" if line else "harmless"] += 1
    print(ends)
    assert ends["refused"] > 20 * ends["harmless"]


# --- DVC restores ---------------------------------------------------------------------------------------------------


def test_dvc_restores_a_damaged_file_before_a_stage_reads_it(cases, tmp_path):
    """Every file that a stage hands on, damaged in the workspace: after `dvc repro` all are what they were.

    Of each damage all files at once; one alone; and one beside a changed parameter, for which the last stage does run.
    (The sample of it, all files at once, is in tests/contracts/test_contracts.py, which has a project for it.)
    """
    if not (count := cases(0, 3)):
        pytest.skip("in the campaign only")
    folder = copy_project(tmp_path / "project", OWN)
    shutil.rmtree(folder / "data/tables")
    write_tables(folder / "data/tables")
    for stage in STAGES[:-1]:
        assert watched.run(folder, f"stages.{stage}").status == 0
    dvc(folder, "commit", "--force", *STAGES[:-1])
    drawn = outs(graph(folder)["plot"])
    made = sorted({name for stage in STAGES[:-1] for name in outs(graph(folder)[stage])})
    right = contents(folder, made)
    lock = (folder / "dvc.lock").read_bytes()
    for number, damage in enumerate(count * [*DAMAGES, *GONE]):
        draw = random.Random(f"{SEED} restored {number}")
        harmed = made if number % 3 == 0 else [draw.choice(made)]
        for name in harmed:
            do(folder / name, damage, draw)
        told = f"{number}: {damage} {harmed}"
        if number % 3 == 2:
            turn(folder, {"plot.dpi": 60 + number})
            assert "Running stage 'plot'" in dvc(folder, "repro", "plot"), told
            rest = [name for name in made if name not in drawn]
            assert contents(folder, rest) == {name: right[name] for name in rest}, told
            turn(folder, {"plot.dpi": TINY["plot.dpi"]})
        assert "Running stage" not in dvc(folder, "repro", "plot"), told
        assert contents(folder, made) == right, told
        assert (folder / "dvc.lock").read_bytes() == lock, told


def contents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def dvc(folder: Path, *arguments: str) -> str:
    done = run_process(folder, "-m", "dvc", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
