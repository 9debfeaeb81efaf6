"""m30, m31: what is flipped, cut, emptied or lost, in the workspace or in the cache, is named with what repairs it.

Each project is a real one of real DVC, and each repair is the command from the line, run in a shell.
"""

import hashlib
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from retrace.cli.check_cache import check
from retrace.runtime.errors import UserError
from tests.project import TINY, commit, copy_project, git, repro, run, turn, warm_environment

STAGES = ("validate", "create", "split", "baseline")
OBJECTS = Path(".dvc/cache/files/md5")
DATASET, SCHEMA, TRAIN, TEST, METRICS, CODE, TABLE, FOLDER = (
    Path(path)
    for path in (
        "data/dataset.parquet",
        "data/schema.json",
        "data/train.parquet",
        "data/test.parquet",
        "reports/baseline.json",
        "stages/split.py",
        "own/my table.csv",
        "own/folder",
    )
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The stages that need no network, run in two states; a file and a folder that `dvc add` took in."""
    folder = copy_project(tmp_path_factory.mktemp("a project") / "small", TINY)
    yaml = YAML()
    graph = yaml.load(folder / "dvc.yaml")
    graph["stages"] = {name: graph["stages"][name] for name in STAGES}
    # One that git keeps and DVC's cache has not, as a later stage has it.
    graph["stages"]["baseline"]["outs"].remove(METRICS.as_posix())
    graph["stages"]["baseline"]["metrics"] = [{METRICS.as_posix(): {"cache": False}}]
    ignored = folder / "reports/.gitignore"
    ignored.write_text(ignored.read_text().replace(f"/{METRICS.name}\n", ""))
    yaml.dump(graph, folder / "dvc.yaml")
    (folder / "dvc.lock").unlink()
    turn(folder, {"split.seed": 7})
    done = run(folder, "-m", "dvc", "repro", "split")
    assert done.returncode == 0, done.stderr
    turn(folder, {"split.seed": 26})
    assert repro(folder) == ["validate", "split", "baseline"]
    (folder / FOLDER / "deep").mkdir(parents=True)
    (folder / TABLE).write_text("x,y\n" + "1,2\n" * 100)
    for name in ("a", "b", "deep/c"):
        (folder / FOLDER / name).write_text(f"{name}\n" * 50)
    done = run(folder, "-m", "dvc", "add", TABLE.as_posix(), FOLDER.as_posix())
    assert done.returncode == 0, done.stderr
    commit(folder)
    return folder


@pytest.fixture
def campaign(cases) -> None:
    """For a test that takes seconds and shows what a quicker one shows in another way."""
    if not cases(0, 1):
        pytest.skip("in the campaign only")


@pytest.fixture
def project(finished, monkeypatch) -> Iterator[Path]:
    """The finished project as the working directory; put back afterwards, whatever a test did to it."""
    monkeypatch.chdir(finished)
    before = contents()
    yield finished
    put_back(before)
    for path in contents().keys() - before.keys():
        path.unlink()


def put_back(before: dict[Path, tuple[bytes, os.stat_result]]) -> None:
    for path, (content, status) in before.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(status.st_mode)


def contents() -> dict[Path, tuple[bytes, os.stat_result]]:
    """Of all that git or DVC would keep, from the working directory."""
    left_out = {".git", "tmp", "__pycache__", ".retrace"}
    return {
        path: (path.read_bytes(), path.stat())
        for path in Path().rglob("*")
        if path.is_file() and not left_out & {*path.parts}
    }


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def object_of(path: Path) -> Path:
    """Of a file as it is now, or of the folder as `dvc add` wrote it down."""
    digest = YAML(typ="safe").load(Path(f"{FOLDER}.dvc"))["outs"][0]["md5"] if path == FOLDER else md5(path)
    return OBJECTS / digest[:2] / digest[2:]


def damage(path: Path, kind: str, chance: random.Random) -> None:
    """As a disk does it: nobody hears of it, time and mode stay as they are."""
    content, status = path.read_bytes(), path.stat()
    path.chmod(0o600)
    match kind:
        case "flipped":
            bit = chance.randrange(8 * len(content))
            content = bytes(byte ^ (1 << bit % 8) * (at == bit // 8) for at, byte in enumerate(content))
        case "cut":
            content = content[: chance.randrange(1, len(content))]
        case "emptied":
            content = b""
        case "grown":
            content += content[:1]
        case "gone":
            path.unlink()
            return
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


KINDS = ["flipped", "cut", "emptied", "grown", "gone"]


def faults() -> list[str]:
    try:
        return check().faults
    except UserError as fault:
        return str(fault).splitlines()


def named_files() -> list[Path]:
    """What dvc.lock and the .dvc files name, each file of a folder by itself."""
    stages = YAML(typ="safe").load(Path("dvc.lock"))["stages"].values()
    paths = {Path(item["path"]) for stage in stages for kind in ("deps", "outs") for item in stage[kind]}
    paths |= {TABLE, FOLDER}
    return sorted({file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()})


def cached_files() -> list[Path]:
    return sorted(path for path in Path(".dvc/cache").rglob("*") if path.is_file())


def fix(lines: list[str], before: dict[Path, tuple[bytes, os.stat_result]]) -> None:
    """Run what the lines say, in their order; `before` is where a person has the original from."""
    for line in lines:
        command = line.partition("; repair: ")[2]
        assert command, line
        if command.startswith("put the original back, then: "):
            command = command.removeprefix("put the original back, then: ")
            out = Path(shlex.split(command)[-1])
            for path in before:
                if path == out or out in path.parents:
                    path.write_bytes(before[path][0])
        command = command.partition(", or")[0]
        done = subprocess.run(command, shell=True, env=warm_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


# --- why: what DVC itself says --------------------------------------------------------------------------------------


def test_m30_dvc_restores_a_flipped_object_and_calls_it_up_to_date(project):
    content, cached = TRAIN.read_bytes(), object_of(TRAIN)
    damage(cached, "flipped", random.Random(1))
    TRAIN.unlink()
    done = run(project, "-m", "dvc", "checkout", TRAIN.as_posix())
    assert done.returncode == 0, done.stderr
    assert TRAIN.read_bytes() == cached.read_bytes() != content
    status = run(project, "-m", "dvc", "status", "split")
    assert (status.returncode, status.stdout) == (0, "Data and pipelines are up to date.\n")
    (fault,) = faults()
    assert fault == (f"{TRAIN} is altered, its object {cached} is altered; repair: rm -f {TRAIN} {cached} && dvc repro")


def test_m30_dvc_does_not_see_a_byte_that_flipped_in_the_workspace(project):
    run(project, "-m", "dvc", "status", "split")
    damage(TRAIN, "flipped", random.Random(1))
    status = run(project, "-m", "dvc", "status", "split")
    assert (status.returncode, status.stdout) == (0, "Data and pipelines are up to date.\n")
    assert faults() == [f"{TRAIN} is altered, the cache has it; repair: rm -f {TRAIN} && dvc checkout {TRAIN}"]


# --- every flip is found --------------------------------------------------------------------------------------------


def test_m30_whatever_is_damaged_is_named_with_its_repair(project, cases):
    """One file at a time, in all kinds of damage; nothing else is named."""
    chance = random.Random(5)
    needed = {object_of(path) for path in named_files() if path.suffix != ".py"} - {object_of(METRICS)}
    files = [path for path in (*named_files(), *cached_files()) if path.stat().st_size > 1]
    assert faults() == []
    for _ in range(cases(20, 2000)):
        path, kind = chance.choice(files), chance.choice(KINDS)
        content, mode = path.read_bytes(), path.stat().st_mode
        damage(path, kind, chance)
        found = faults()
        if kind == "gone" and path.is_relative_to(".dvc/cache") and path not in needed and path.suffix != ".dir":
            assert found == [], "an older state that is gone is made again, not restored wrong"
        elif path.is_relative_to(".dvc/cache/runs") and means(path.read_bytes()) == means(content):
            assert found == [], "only a number of bytes, which DVC does not use"
        else:
            assert len(found) == 1, (path, kind, found)
            (fault,) = found
            shown = Path("data/tables") if path.is_relative_to("data/tables") else path
            assert fault.startswith(f"{shown} ") or fault.startswith(f"unable to read: '{shown}'"), (path, kind, fault)
            assert "; repair: " in fault
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    assert faults() == []


def means(entry: bytes) -> object:
    """What an entry of the run cache says, but for sizes; None where it is none."""
    try:
        content = YAML(typ="safe").load(entry)
        for kind in ("deps", "outs"):
            for item in content[kind]:
                item.pop("size", None)
    except Exception:
        return None
    return content


# --- what each line says, and that its command repairs ---------------------------------------------------------------


def scenarios() -> dict[str, tuple[dict[Path, str], str]]:
    """What is done to which files, and the line that is said then."""
    dataset, train, test, table = map(object_of, (DATASET, TRAIN, TEST, TABLE))
    member, other, listed = FOLDER / "a", object_of(FOLDER / "b"), object_of(FOLDER)
    needed = {object_of(path) for path in named_files()} | {listed}
    older = next(path for path in cached_files() if path.is_relative_to(OBJECTS) and path not in needed)
    entry = next(path for path in cached_files() if not path.is_relative_to(OBJECTS))
    return {
        "object": (
            {train: "flipped"},
            f"{train} ({TRAIN}) is altered, {TRAIN} is whole; repair: rm -f {train} && install -m 444 {TRAIN} {train}",
        ),
        "object that is gone": (
            {test: "gone"},
            f"{test} ({TEST}) is missing, {TEST} is whole; repair: install -m 444 {TEST} {test}",
        ),
        "file": (
            {SCHEMA: "emptied"},
            f"{SCHEMA} is empty, the cache has it; repair: rm -f {SCHEMA} && dvc checkout {SCHEMA}",
        ),
        "both": (
            {DATASET: "gone", dataset: "emptied"},
            f"{DATASET} is missing, its object {dataset} is empty; repair: rm -f {dataset} && dvc repro",
        ),
        "not in the cache": (
            {METRICS: "flipped"},
            f"{METRICS} is altered, git has it; repair: rm -f {METRICS} && git checkout HEAD {METRICS}",
        ),
        "code": (
            {CODE: "grown"},
            f"{CODE} is {CODE.stat().st_size + 1:,} bytes long instead of {CODE.stat().st_size:,} since dvc.lock was"
            f" written; repair: rm -f {CODE} && git checkout HEAD {CODE}, or, if the change is meant: dvc repro",
        ),
        "brought": (
            {TABLE: "flipped", table: "flipped"},
            f"{TABLE} is altered, its object {table} is altered; repair: put the original back, then: rm -f {table} &&"
            f" dvc add '{TABLE}'",
        ),
        "in a folder": (
            {member: "flipped"},
            f"{member} is altered, the cache has it; repair: rm -f {member} && dvc checkout {FOLDER}",
        ),
        "object of a folder": (
            {other: "emptied"},
            f"{other} ({FOLDER}/b) is empty, {FOLDER}/b is whole; repair: rm -f {other} && install -m 444 {FOLDER}/b"
            f" {other}",
        ),
        "older state": ({older: "flipped"}, f"{older} (of an older state) is altered; repair: rm -f {older}"),
        "run": ({entry: "cut"}, f"{entry} is damaged; repair: rm -f {entry}"),
        "list of a folder": (
            {listed: "flipped"},
            f"{listed} ({FOLDER}) is altered, {FOLDER} is whole; repair: rm -f {listed} && dvc add {FOLDER}",
        ),
    }


def test_m30_each_kind_of_damage_has_its_own_line(project):
    for name, (damages, line) in scenarios().items():
        before = {path: (path.read_bytes(), path.stat().st_mode) for path in damages}
        for path, kind in damages.items():
            damage(path, kind, random.Random(2))
        assert faults() == [line], name
        for path, (content, mode) in before.items():
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(mode)


def test_m30_the_commands_repair_all_of_it(project):
    before = contents()
    lost = scenarios()
    del lost["list of a folder"]  # its files would not be known one by one
    for damages, _ in lost.values():
        for path, kind in damages.items():
            damage(path, kind, random.Random(4))
    lines = faults()
    assert sorted(lines) == sorted(line for _, line in lost.values())
    fix(lines, before)
    assert_repaired(before, lines)
    status = run(project, "-m", "dvc", "status", "dvc.yaml")  # no study was made here
    assert status.stdout == "Data and pipelines are up to date.\n"


def assert_repaired(before: dict[Path, tuple[bytes, os.stat_result]], lines: list[str]) -> None:
    assert faults() == [], lines
    objects = {object_of(path) for path in named_files() if path != METRICS} & before.keys()
    for path in (*named_files(), *objects):
        assert path.read_bytes() == before[path][0], (path, lines)


def test_m30_any_damage_is_repaired_in_one_pass(project, cases):
    """Up to five files at once, chosen by chance, so that of some no copy is left."""
    chance, before = random.Random(6), contents()
    files = [path for path in (*named_files(), *cached_files()) if path.stat().st_size > 1]
    # Of its folder only the hash is known, and git has the file; without params.yaml DVC does not begin.
    files = [path for path in files if path.parts[:2] != ("data", "tables") and path.name != "params.yaml"]
    pairs = [(path, object_of(path)) for path in files if object_of(path) in before]
    for _ in range(cases(1, 60)):
        chosen = {*chance.sample(files, chance.randrange(1, 4)), *chance.choice(pairs)[: chance.randrange(3)]}
        for path in sorted(chosen):
            damage(path, chance.choice(KINDS), chance)
        lines = faults()
        fix(lines, before)
        assert_repaired(before, lines)
        put_back(before)  # objects of older states are deleted where they are damaged


def test_m30_with_a_remote_what_is_lost_here_is_pulled(campaign, project, tmp_path):
    before, lost = contents(), (TABLE, FOLDER / "a", DATASET)
    for command in (["remote", "add", "--default", "store", str(tmp_path / "remote")], ["push"]):
        done = run(project, "-m", "dvc", *command)
        assert done.returncode == 0, done.stderr
    for path in lost:
        damage(object_of(path), "flipped", random.Random(7))
        damage(path, "emptied", random.Random(7))
    lines = faults()
    assert [line.partition(" && ")[2] for line in lines] == [
        f"dvc pull '{TABLE}'",
        f"dvc pull {FOLDER}",
        f"dvc pull {DATASET} || dvc repro",
    ]
    fix(lines, before)
    assert_repaired(before, lines)


def test_m30_a_folder_whose_list_is_lost_is_judged_as_one(campaign, project):
    before, listed = contents(), object_of(FOLDER)
    damage(listed, "cut", random.Random(8))
    damage(FOLDER / "b", "gone", random.Random(8))
    (line,) = faults()
    assert line.startswith(f"{FOLDER} is altered, its object {listed} is altered; repair: put the original back, then:")
    fix([line], before)
    assert_repaired(before, [line])


def test_m30_a_file_that_was_put_into_a_folder_is_named(project):
    (FOLDER / "deep" / "new one").write_text("x")
    (line,) = faults()
    assert line == f"{FOLDER}/deep/new one is not among the files of {FOLDER}; repair: rm -f '{FOLDER}/deep/new one'"
    fix([line], {})
    assert faults() == []


def test_m30_a_table_that_is_only_read_is_taken_in_as_it_is(campaign, project):
    """DVC looks into a file again once its time has changed."""
    before, table = Path("dvc.lock").read_bytes(), Path("data/tables/table.csv")
    damage(table, "flipped", random.Random(9))
    (line,) = faults()
    assert line == (
        "data/tables is altered since dvc.lock was written; repair: find data/tables -exec touch {} + && dvc repro"
    )
    fix([line], {})
    assert faults() == []
    assert Path("dvc.lock").read_bytes() != before


def test_m30_an_older_state_is_restored_wrong_unless_it_is_repaired_and_then_made_again(project):
    """The state with another seed, which the run cache remembers: DVC brings its flipped file back."""
    before, seed = contents(), {"split.seed": 7}
    older = {
        Path(out["path"]): OBJECTS / out["md5"][:2] / out["md5"][2:]
        for entry in Path(".dvc/cache/runs").glob("*/*/*")
        for out in YAML(typ="safe").load(entry)["outs"]
        if out["md5"] != md5(Path(out["path"]))
    }
    cached = older[TRAIN]
    right = cached.read_bytes()
    for repaired in (False, True):
        damage(cached, "flipped", random.Random(10))
        (line,) = faults()
        assert line == f"{cached} (of an older state) is altered; repair: rm -f {cached}"
        if repaired:
            fix([line], before)
        turn(project, seed)
        done = run(project, "-m", "dvc", "repro", "split")
        assert done.returncode == 0, done.stderr
        assert ("Running stage 'split'" in done.stdout) == repaired
        assert (TRAIN.read_bytes() == right) == repaired
        put_back(before)


def test_m30_a_folder_in_the_place_of_a_file_and_a_cache_that_is_gone_are_told(campaign, project):
    before, train, test = contents(), object_of(TRAIN), object_of(TEST)
    shutil.rmtree(OBJECTS)
    TEST.unlink()
    TEST.mkdir()
    lines = faults()
    install = f"mkdir -p {train.parent} && install -m 444 {TRAIN} {train}"
    assert f"{train} ({TRAIN}) is missing, {TRAIN} is whole; repair: {install}" in lines
    assert lines[-1] == (
        f"{TEST} is unreadable (Is a directory), its object {test} is missing; repair: rm -rf {TEST} && dvc repro"
    )
    fix(lines, before)
    assert_repaired(before, lines)


# --- where the cache is, and how it is called ------------------------------------------------------------------------


def test_m30_the_cache_is_where_dvc_has_it(project, tmp_path):
    """As `dvc cache dir` sets it; outside the project it is named in full."""
    shutil.copytree(".dvc/cache", tmp_path / "my cache")
    Path(".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path}/my cache\n")
    cached = tmp_path / "my cache" / object_of(TRAIN).relative_to(".dvc/cache")
    damage(object_of(TRAIN), "gone", random.Random(11))
    assert faults() == []
    damage(cached, "flipped", random.Random(11))
    (line,) = faults()
    command = f"rm -f '{cached}' && install -m 444 {TRAIN} '{cached}'"
    assert line == f"{cached} ({TRAIN}) is altered, {TRAIN} is whole; repair: {command}"
    fix([line], {})
    assert faults() == []


def test_m30_the_command_says_how_much_it_hashed_and_exits_with_3(project):
    done = run(project, "-m", "retrace", "check-cache")
    files, objects = len(named_files()), sum(path.is_relative_to(OBJECTS) for path in cached_files())
    runs = len(cached_files()) - objects
    said = f"check-cache: hashed {files} files here, {objects} objects and {runs} runs in the cache"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}: no faults\n", "")
    damage(TRAIN, "emptied", random.Random(12))
    done = run(project, "-m", "retrace", "check-cache")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{said}: 1 faults\n", "\n".join(faults()) + "\n")


# --- m31: dvc.lock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "damaged", "said"),
    [
        ("empty", lambda lock: b"", "dvc.lock is empty"),
        ("gone", lambda lock: None, "dvc.lock has no MD5 of data/params.ok and "),
        ("conflict", lambda lock: b"a: 1\n<<<<<<< HEAD\n" + lock, "dvc.lock has merge-conflict markers at line 2"),
        ("no YAML", lambda lock: b"\t[", "unable to read: 'dvc.lock', YAML file structure is corrupted"),
        ("no text", lambda lock: b"\xff" + lock, "unable to read: 'dvc.lock', is not valid utf-8"),
        ("no lock", lambda lock: b"- 1\n", "'./dvc.lock' validation failed"),
        ("cut in a stage", lambda lock: lock[: lock.rindex(b"- path")], "dvc.lock has no MD5 of"),
        ("cut in a hash", lambda lock: lock[: lock.rindex(b"size") - 20], "dvc.lock has no MD5 of"),
        ("cut after a stage", lambda lock: lock[: lock.index(b"  baseline:")], "dvc.lock has no MD5 of"),
    ],
)
def test_m31_a_damaged_lock_is_one_line_and_git_restores_it(project, name, damaged, said):
    lock = Path("dvc.lock").read_bytes()
    Path("dvc.lock").unlink()
    if (content := damaged(lock)) is not None:
        Path("dvc.lock").write_bytes(content)
    (line,) = faults()
    assert line.startswith(said)
    assert line.endswith("; repair: git checkout HEAD dvc.lock")
    fix([line], {})
    assert Path("dvc.lock").read_bytes() == lock


@pytest.mark.parametrize("content", ["", "\t{", "<<<<<<< HEAD\nouts: []\n", "outs: 1\n", "outs:\n- path: folder\n"])
def test_m31_so_is_a_damaged_dvc_file(project, content):
    Path(f"{FOLDER}.dvc").write_text(content)
    (line,) = faults()
    assert f"{FOLDER}.dvc" in line
    if "path" not in content:
        assert f"; repair: git checkout HEAD {FOLDER}.dvc" in line
    fix([line], {})
    assert faults() == []


def test_m31_a_lock_that_git_does_not_have_comes_back_from_the_run_cache(project):
    lock = Path("dvc.lock").read_bytes()
    git(project, "rm", "--cached", "--quiet", "dvc.lock")
    git(project, "commit", "--quiet", "--message=without")
    try:
        Path("dvc.lock").write_bytes(lock[: len(lock) // 2 + 3] + b"\n\t{")
        (line,) = faults()
        assert line.endswith("; repair: rm -f dvc.lock && dvc repro")
        fix([line], {})
        assert Path("dvc.lock").read_bytes() == lock
    finally:
        git(project, "reset", "--quiet", "HEAD~1")


def test_m31_a_lock_in_a_real_merge_conflict_is_restored(project):
    """`git checkout dvc.lock` would refuse: the path is unmerged."""
    lock = Path("dvc.lock").read_bytes()
    head = git(project, "rev-parse", "HEAD")
    try:
        git(project, "checkout", "--quiet", "-b", "other")
        Path("dvc.lock").write_bytes(lock.replace(b"md5: ", b"md5: 0", 1))
        git(project, "commit", "--quiet", "--message=other", "dvc.lock")
        git(project, "checkout", "--quiet", "main")
        Path("dvc.lock").write_bytes(lock.replace(b"md5: ", b"md5: 1", 1))
        git(project, "commit", "--quiet", "--message=this", "dvc.lock")
        with pytest.raises(subprocess.CalledProcessError):
            git(project, "merge", "other")
        with pytest.raises(subprocess.CalledProcessError):
            git(project, "checkout", "dvc.lock")
        (line,) = faults()
        assert line.startswith("dvc.lock has merge-conflict markers at line ")
        fix([line], {})
        assert b"<<<<" not in Path("dvc.lock").read_bytes()
    finally:
        git(project, "checkout", "--quiet", "--force", "main")
        git(project, "reset", "--quiet", "--hard", head)
        git(project, "branch", "--quiet", "-D", "other")
