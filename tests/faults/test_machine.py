"""A machine that has too little of something, or keeps its things in odd places: disk, memory, files, names, git, net.

What needs mounts, or a machine without network, is done in namespaces of its own (`unshare`), which end with the
process: nothing is mounted on the machine itself. Where a machine does not permit them, those tests are skipped.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.control_group import NotAllowedError, control_group
from retrace.artifacts import paths
from retrace.artifacts.evaluation import BOUNDARY, CLASSES, PRECISION_RECALL, PREDICTIONS, ROC
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import count_rows
from retrace.artifacts.training import HISTORY, LOSS, STEPS
from retrace.evaluation import predictions
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.runtime.disk import BESIDE, TIMES, cache
from retrace.training import resources
from stages import create, evaluate, split, train
from tests.project import (
    TINY,
    commit,
    copy_project,
    environment,
    finished,
    git,
    repro,
    run,
    turn,
    warm_environment,
    without_notes,
)

HEAVY = ["create", "split", "baseline", "train", "evaluate", "plot", "report"]
MIB = 1 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A tiny project after its first `dvc repro`."""
    return finished(tmp_path_factory.mktemp("machine") / "tiny")


@pytest.fixture
def project(made, tmp_path) -> Path:
    """A copy of it, to be hurt."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def shell(folder: Path, script: str, *namespaces: str, **variables: str | None) -> "subprocess.CompletedProcess[str]":
    """bash, as root of namespaces of its own if any are named; a variable that is None is unset."""
    prefix = []
    if namespaces:
        prefix = ["unshare", "--map-root-user", *(f"--{name}" for name in namespaces)]
        if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
            pytest.skip(f"this machine permits no namespace of {' and '.join(namespaces)}")
    usual = environment() if namespaces or "make run" not in script else warm_environment()
    env = {name: value for name, value in {**usual, **variables}.items() if value is not None}
    return subprocess.run(
        [*prefix, "bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def state(folder: Path) -> dict[str, bytes]:
    """What a fault must leave as it is: outputs and the lock."""
    files = [path for name in ("data", "models", "reports") for path in (folder / name).rglob("*")]
    return {str(path): path.read_bytes() for path in [*files, folder / "dvc.lock"] if path.is_file()}


def one_line(done: "subprocess.CompletedProcess[str]", status: int = 4) -> str:
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def litter(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.tmp") if ".dvc/tmp" not in path.as_posix()]


# --- M10: the disk is full ------------------------------------------------------------------------------------------

# The folder with its files, on a file system of its own of that size.
SMALL = "cp -a {0} ../kept && mount -t tmpfs -o size={1} none {0} && cp -a ../kept/. {0}/ && "


@pytest.mark.parametrize(
    ("stage", "folder"),
    [("create", "data"), ("split", "data"), ("train", "models"), ("train", "reports"), ("evaluate", "reports")],
)
def test_m10_a_disk_without_room_is_said_before_anything_is_done(project, stage, folder):
    before = state(project)
    done = shell(project, SMALL.format(folder, "1m") + f"python -m stages.{stage}", "mount")
    line = one_line(done)
    assert re.search(rf"^{folder}: [\d,]+ bytes are free, and [\d,]+ are needed .*; make room, or \w+ ", line), line
    free, needed = (
        int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:bytes are free|are needed)", line)
    )
    assert free < needed >= BESIDE
    assert done.stdout == ""
    assert state(project) == before
    assert not litter(project)


def test_m10_the_file_system_of_dvcs_cache_is_asked_too(project):
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    assert run(project, "-m", "dvc", "cache", "dir", "--local", str(elsewhere)).returncode == 0
    small = f"mount -t tmpfs -o size=64k none {elsewhere} && python -m stages.create"
    assert one_line(shell(project, small, "mount")).startswith(f"{elsewhere}: 65,536 bytes are free, and ")


def test_m10_the_cache_is_where_dvc_has_it(project, monkeypatch):
    monkeypatch.chdir(project)
    odd = ["#1 50%20 $HOME", "it's", 'a "word"', """both ' and " of them""", "a, b"]
    for value in ("../other cache", str(project.parent / "whole"), *(str(project.parent / each) for each in odd), None):
        if value:
            assert run(project, "-m", "dvc", "cache", "dir", "--local", value).returncode == 0
        else:
            (project / ".dvc/config.local").unlink()
        told = run(project, "-m", "dvc", "cache", "dir").stdout.strip()
        assert cache().resolve() == Path(told).resolve()


@pytest.mark.parametrize(
    "changes",
    [{}, {"train.epochs": 60, "train.replicas": 8, "create.rows": 4000}, {"create.dataset": "digits"}],
    ids=["tiny", "more", "ten classes"],
)
def test_m10_what_is_expected_is_about_what_is_written(project, monkeypatch, changes):
    monkeypatch.chdir(project)
    without_notes(project)
    turn(project, changes)
    for module in (create, split, train):
        module.main()
    run(project, "-m", "stages.baseline")
    evaluate.main()
    section, schema = read(Train), read_schema()
    description = load(Path("models")).description
    outputs = [HISTORY.path, LOSS.path, STEPS.path, *Path("models").iterdir()]
    expected = resources.output_bytes(description, section, count_rows(paths.TRAIN))
    assert sum(path.stat().st_size for path in outputs) < expected + BESIDE
    outputs = [file.path for file in (PREDICTIONS, CLASSES, ROC, PRECISION_RECALL, BOUNDARY)]
    expected = predictions.output_bytes(schema, read(Evaluate), count_rows(paths.TEST))
    written = sum(path.stat().st_size for path in outputs)
    assert written < expected + BESIDE
    assert expected < 10 * written  # nobody is sent away who has room
    sides = sum(path.stat().st_size for path in (paths.TRAIN, paths.VALIDATION, paths.TEST))
    assert sides < TIMES * paths.DATASET.stat().st_size + BESIDE


WRITERS = {
    "bytes": "write_bytes(Path('out/file'), b'1' * 2**21)",
    "CSV": "write_csv(Path('out/file'), ['a'], ([index] for index in range(2**18)))",
    "Parquet": "write_table(Path('out/file'), pa.table({'a': np.random.default_rng(0).normal(size=2**18)}))",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_m10_a_disk_that_fills_in_the_middle_leaves_the_old_file_and_nothing_else(project, writer):
    code = (
        "import numpy as np, pyarrow as pa\nfrom pathlib import Path\n"
        "from retrace.runtime.atomic import write_bytes, write_csv\nfrom retrace.artifacts.tables import write_table\n"
        f"from retrace.runtime.run import run\nrun(lambda: {WRITERS[writer]})"
    )
    (project / "writer.py").write_text(code)
    script = "mkdir out; mount -t tmpfs -o size=1m none out; echo old > out/file; python writer.py; status=$?;"
    again = "mount -o remount,size=8m out; python writer.py; echo $?; stat --format=%s out/file"
    done = shell(project, f"{script} cat out/file; ls -A out; {again}; exit $status", "mount")
    line = one_line(done)
    assert re.fullmatch(
        r"writer: out/file: No space left on device; 1,\d+,\d+ bytes are free there; make room, and run it again", line
    ), line
    # With room, as it says, all of it is there.
    old, name, status, size = done.stdout.split()
    assert (old, name, status) == ("old", "file", "0")
    assert int(size) > MIB


@pytest.mark.parametrize("stage", HEAVY)
def test_m10_a_stage_that_may_not_write_so_much_leaves_its_old_files(project, stage):
    """A limit on the size of files (`ulimit -f`) is a full disk that everybody can have."""
    before = state(project)
    # In kB. The training's are smaller, and joblib warns of a file of its own that it may not write.
    done = shell(project, f"ulimit -f {0 if stage == 'train' else 1}; python -m stages.{stage}")
    *others, line = done.stderr.splitlines()
    assert done.returncode == 4
    ended = re.fullmatch(
        rf"{stage}: ([\w./]+): File too large(; a checkpoint takes .*; raise ulimit -f, then: .*)?", line
    )
    assert ended, line
    # On a busy machine a checkpoint falls due, and ends it before the last epoch.
    last = [] if ended[2] else ["train: warning: the best epoch is the last one"]
    assert [re.split(": File too large; |, ", other)[0] for other in others] == (
        ["train: .retrace/live.csv", *last] if stage == "train" else []
    )
    assert state(project) == before
    assert not litter(project)


def test_m10_after_a_full_cache_one_command_clears_what_dvc_left(project):
    turn(project, {"create.rows": 20_000})
    script = (
        "rm -rf .dvc/cache; mkdir -p .dvc/cache; mount -t tmpfs -o size={} none .dvc/cache;"
        " head -c {} /dev/zero > .dvc/cache/filler; python -m dvc repro create;"
    )
    # What the stage asks for is there, and is gone when it has written: whoever else writes there was faster.
    script = script.format("3m", "0") + (
        " rm .dvc/cache/filler; python -m stages.create; head -c 2900k /dev/zero > .dvc/cache/filler;"
        " python -m dvc commit --force create; echo status $?;"
        " find .dvc/cache -name '*.tmp' -delete; rm .dvc/cache/filler; find .dvc/cache -name '*.tmp' | wc -l;"
        " python -m dvc commit --force create && python -m dvc status create"
    )
    done = shell(project, script, "mount")
    assert "status 0" not in done.stdout
    assert "No space left on device" in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Data and pipelines are up to date" in done.stdout


# --- M12: nothing can be written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "folder"),
    [
        *(("train", folder) for folder in ("models", "reports")),
        ("create", "data"),
        ("split", "reports"),
        ("baseline", "reports"),
        ("evaluate", "reports"),
        ("plot", "reports"),
        ("report", "reports"),
        ("train", ".dvc/cache"),
    ],
)
def test_m12_a_read_only_folder_is_one_line_and_before_any_training(project, stage, folder):
    before = state(project)
    read_only = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && python -m stages.{stage}"
    done = shell(project, read_only, "mount")
    line = one_line(done)
    assert folder in line
    assert "Read-only file system" in line
    assert done.stdout == ""  # `train` says a line before it begins
    assert state(project) == before


# --- M13, M15: memory -----------------------------------------------------------------------------------------------

# The stage with so many bytes more than its imports take.
TIGHT = """
import importlib, psutil, resource, sys
stage, more = sys.argv[1], int(sys.argv[2])
module = importlib.import_module(f"stages.{stage}")
limit = psutil.Process().memory_info().vms + more
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
module.run(module.main)
"""


def test_m13_a_stage_that_runs_out_of_memory_ends_with_one_line(project, cases):
    """Whatever it was doing then: a library that is loaded late, a thread, a table, a product of matrices."""
    before = state(project)
    stages, refused = cases(["split", "baseline", "train"], HEAVY), set()
    for more in range(0, cases(1, 640), 16):
        for stage in stages:
            done = run(project, "-W", "ignore", "-c", TIGHT, stage, str(more * MIB))
            if done.returncode:
                line = one_line(done)
                assert re.search(r"out of memory|takes at least [\d.]+ [GM]iB of memory", line), line
                refused.add(stage)
            # Whether whole or not at all: the same bytes.
            assert state(project) == before
            assert not litter(project)
    assert refused == set(stages)


@pytest.mark.parametrize("stage", [*HEAVY, "record", "validate"])
def test_m13_with_less_than_the_libraries_take_no_stage_begins(project, stage):
    """With some of these limits BLAS waits for ever, with others it ends the process as it likes."""
    for limit in (10**6, 150_000):
        line = one_line(shell(project, f"ulimit -v {limit}; python -m stages.{stage}"))
        assert re.fullmatch(
            rf"{stage}: out of memory \(ulimit -v allows [\d.]+ GiB, its libraries alone may take [\d.]+\); free some,"
            r" or raise the limit",
            line,
        ), line


def test_m13_a_library_that_does_not_fit_is_one_line(project):
    """The floor left out, as on a machine where libraries take more than it says."""
    start = project / "retrace/runtime/preflight.py"
    start.write_text(start.read_text().replace("= 5 << 28, 100 << 20", "= 0, 0"))
    line = one_line(shell(project, "ulimit -v 100000; python -m stages.create"))
    assert re.match(r"create: out of memory (\(.*failed to map segment.*\))?; free some, or raise", line), line


def test_m13_a_training_says_what_to_lower(project):
    turn(project, {"train.hidden": [65_536, 65_536], "train.replicas": 1024, "train.batch_size": 100})
    line = one_line(run(project, "-m", "stages.train"))
    assert re.fullmatch(
        r"train: 300 rows of 2 columns and 1,024 networks of 4,295,294,977 weights takes at least \d\d,\d{3}\.\d GiB of"
        r" memory, and [\d.]+ GiB are free; use fewer rows or columns, or lower train.batch_size \(now 100\) or"
        r" train.replicas \(now 1,024\)",
        line,
    ), line


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this process's own in which memory is limited to 400 MiB."""
    try:
        with control_group(400 * MIB) as folder:
            yield folder
    except NotAllowedError as error:
        pytest.skip(str(error))


def test_m13_what_a_container_allows_counts_not_what_the_machine_has(project, group):
    """The kernel would kill the process, and nobody would say why."""
    script = f"echo $$ > {group}/cgroup.procs; python -m stages.train"
    turn(project, {"train.hidden": [4000, 4000]})
    line = one_line(shell(project, script))
    assert re.search(r"takes at least \d{3} MiB of memory, and [1-3]?\d\d MiB are free", line), line
    turn(project, {"train.hidden": [10]})
    assert shell(project, script).returncode == 0


OUT = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB"


def test_m15_a_gpu_that_is_full_says_what_to_lower_and_nothing_goes_on_elsewhere(project):
    """The real error of torch, from a step of the real stage; there is no GPU that could be filled here."""
    before = state(project)
    code = (
        "import runpy, sys, torch, retrace.networks.network as network\n"
        f"def full(*_): raise torch.OutOfMemoryError({OUT!r})\n"
        "network.Network.forward_pass = full\nsys.argv = ['stages/train.py']\n"
        "runpy.run_module('stages.train', run_name='__main__')"
    )
    done = run(project, "-W", "ignore", "-c", code)
    line = one_line(done)
    assert line == f"train: out of memory ({OUT}); lower train.batch_size (now 64) or train.replicas (now 2)"
    assert state(project) == before
    assert issubclass(torch.OutOfMemoryError, RuntimeError)


# --- M28, M32: DVC's own answers, which the project relies on -------------------------------------------------------


def test_m28_a_second_repro_ends_with_a_line_of_dvcs_own(project):
    """Also with --wait-for-lock, which waits for DVC's short lock and not for a stage."""
    turn(project, {"train.epochs": 200_000})
    command = [sys.executable, "-m", "dvc", "repro"]
    first = subprocess.Popen(command, cwd=project, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout
        while "Running stage 'train'" not in first.stdout.readline():
            assert first.poll() is None
        wait = time.monotonic() + 300
        while not (project / ".retrace/live.csv").exists():
            assert time.monotonic() < wait
            time.sleep(0.1)
        for option in ((), ("--wait-for-lock",)):
            second = run(project, "-m", "dvc", *option, "repro")
            assert second.returncode == 255
            assert "Traceback" not in second.stderr
            assert re.search(r"ERROR: .* is busy", second.stderr), second.stderr
    finally:
        first.terminate()
        first.wait(timeout=300)


def test_m32_an_output_that_was_edited_by_hand_is_noticed_and_comes_back(project):
    model, metrics = project / "models/model.json", project / "reports/metrics.json"
    whole = [model.read_bytes(), metrics.read_bytes()]
    model.unlink()  # a link into the cache, perhaps
    model.write_bytes(whole[0] + b"\n")
    metrics.write_text(json.dumps({"accuracy": 1.0}))
    told = run(project, "-m", "dvc", "status").stdout
    assert re.search(r"modified:\s+models/model.json", told)
    assert re.search(r"modified:\s+reports/metrics.json", told)
    done = run(project, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert "Running stage 'train'" not in done.stdout  # from the run cache
    assert [model.read_bytes(), metrics.read_bytes()] == whole


# --- M34, M35, M36: odd places and poor machines --------------------------------------------------------------------

LONG = "/".join(["long " + "x" * 60] * 3)
PLACES = ["with spaces", "größe 名前 ñ", LONG, "#50% & 'quoted' $HOME"]


@pytest.mark.parametrize("place", PLACES, ids=["spaces", "unicode", "200 characters", "signs"])
def test_m34_the_pipeline_runs_wherever_it_lies(made, tmp_path, cases, place):
    """The sample moves a finished project there and draws and records anew, the campaign runs all of it."""
    folder = tmp_path / place
    assert place != LONG or len(place) > 190
    if cases(False, True):
        folder.mkdir(parents=True)
        assert len(repro(copy_project(folder, TINY))) == 9
    else:
        if place not in (PLACES[1], LONG):
            pytest.skip("in the campaign only")
        shutil.copytree(made, folder)
        turn(folder, {"plot.dpi": 60})
        assert repro(folder) == ["validate", "plot", "record"]
    assert (folder / "mlflow.db").is_file()
    assert repro(folder) == []


def test_m34_in_a_worktree_of_git(made, tmp_path):
    folder = tmp_path / "tree"
    origin = Path(shutil.copytree(made, tmp_path / "origin"))
    commit(origin)
    git(origin, "worktree", "add", "--quiet", str(folder))
    # A worktree has a cache of its own unless it is told of the other one.
    assert run(folder, "-m", "dvc", "cache", "dir", "--local", str(origin / ".dvc/cache")).returncode == 0
    assert "train" not in repro(folder)
    assert (folder / ".retrace/recorded").is_file()


def test_m34_in_a_shallow_clone(made, tmp_path):
    origin, folder = Path(shutil.copytree(made, tmp_path / "origin")), tmp_path / "shallow"
    commit(origin)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", str(folder))
    shutil.copytree(origin / ".dvc/cache", folder / ".dvc/cache")
    assert "train" not in repro(folder)
    assert (folder / ".retrace/recorded").is_file()


def test_m34_without_git_it_says_what_to_do_and_that_works(project):
    """A downloaded zip."""
    shutil.rmtree(project / ".git")
    (project / ".venv").mkdir()
    (project / ".venv/installed").touch()
    done = shell(project, "make run")
    assert done.returncode
    assert "git init" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    # One of the two that it names, then the other.
    assert run(project, "-m", "dvc", "config", "--local", "core.no_scm", "true").returncode == 0
    turn(project, {"plot.dpi": 60})
    assert repro(project) == ["validate", "plot", "record"]
    (project / ".dvc/config.local").unlink()
    git(project, "init", "--quiet")
    turn(project, {"plot.dpi": 70})
    assert repro(project) == ["validate", "plot", "record"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_m34_a_folder_of_another_owner_gets_gits_own_words_and_what_they_say_works(project, tmp_path):
    """A container, say, whose user does not own what is mounted into it."""
    (project / ".venv").mkdir()
    (project / ".venv/installed").touch()
    for path in (project, *project.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    settings = tmp_path / "gitconfig"
    git(project, "config", "--file", str(settings), "user.name", "Somebody")
    mine = {"GIT_CONFIG_GLOBAL": str(settings)}
    done = shell(project, "make run", **mine)
    assert done.returncode
    assert "detected dubious ownership" in done.stdout
    assert "git init" not in done.stdout
    fix = next(line.strip() for line in done.stdout.splitlines() if "safe.directory" in line)
    for command in ("verify", "backfill"):
        line = one_line(shell(project, f"retrace {command}", **mine))
        assert line.startswith("git rev-parse failed in ")
        assert line.endswith(fix)
    # A record without its commit is better than none; but not without a word.
    line = one_line(shell(project, "python -m stages.record", **mine), 0)
    assert line.startswith("record: the run names no commit, since git says: fatal: detected dubious ownership")
    assert line.endswith(fix)
    assert shell(project, fix, **mine).returncode == 0
    assert shell(project, "python -m stages.record", **mine).stderr == ""
    # One fix is enough, also for what clones the repository.
    done = shell(project, "retrace backfill", **mine)
    assert done.returncode == 0, done.stderr
    done = shell(project, "make run", **mine)
    assert done.returncode == 0, done.stderr
    assert "Data and pipelines are up to date" in done.stdout


def test_m35_without_a_network_everything_runs(project, cases):
    again = cases("", "--force")
    turn(project, {"plot.dpi": 60})
    done = shell(project, f"python -m dvc repro {again}; status=$?; ip link 2>/dev/null; exit $status", "net", "mount")
    assert done.returncode == 0, done.stderr
    assert "recorded run" in done.stdout
    plots = shell(project, "python -m dvc plots show --out page && python -m stages.record", "net", "mount")
    assert plots.returncode == 0, plots.stderr
    assert (project / "page/index.html").is_file()


POOR = {
    "64 files": ("ulimit -n 64;", (), {}),
    "no HOME": ("", (), {"HOME": None}),
    "HOME that is not there": ("", (), {"HOME": "/nonexistent"}),
    "TMPDIR that is not there": ("", (), {"TMPDIR": "/nonexistent"}),
    "TMPDIR full": (
        "mkdir ../full; mount -t tmpfs -o size=4k none ../full; head -c 4096 /dev/zero > ../full/file;"
        " export TMPDIR=$PWD/../full;",
        ("mount",),
        {},
    ),
    "TMPDIR read-only": (
        "mkdir ../ro; mount -t tmpfs none ../ro; mount -o remount,ro ../ro; export TMPDIR=$PWD/../ro;",
        ("mount",),
        {},
    ),
    "no /dev/shm": ("mount -t tmpfs none /dev/shm; mount -o remount,ro /dev/shm;", ("mount",), {}),
    "the C locale": ("", (), {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "umask 077": ("umask 077;", (), {}),
    "stdin closed": ("exec <&-;", (), {}),
    "stdout closed": ("exec >&-;", (), {}),
}


@pytest.mark.parametrize("name", POOR)
def test_m36_a_poor_environment_changes_nothing(project, cases, name):
    if cases(True, False) and name not in ("64 files", "the C locale", "stdout closed"):
        pytest.skip("in the campaign only")
    script, namespaces, variables = POOR[name]
    stages = cases("--single-item plot", "")
    before = state(project)
    again = shell(project, f"{script} python -m dvc repro --force {stages}", *namespaces, **variables)
    assert again.returncode == 0, again.stderr
    after = state(project)
    # The pixels, too: no font or locale of the surroundings has a say.
    assert {name: after[name] for name in after if "dvc.lock" not in name} == {
        name: before[name] for name in before if "dvc.lock" not in name
    }


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_m36_whoever_reads_the_output_may_go(project, unbuffered):
    for stage, status in (("validate", 0), ("create", 0)):
        done = shell(project, f"python -m stages.{stage} | true; exit ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode in (status, 141)
        assert done.stderr == ""
    full = shell(project, "python -m stages.validate > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert re.match("validate: standard output.*: No space left on device$", one_line(full))


def test_m36_all_standard_streams_closed(project):
    before = state(project)
    for stage in ("create", "train"):
        assert shell(project, f"python -m stages.{stage} <&- >&- 2>&-").returncode == 0
    assert state(project) == before


def test_m36_an_environment_that_is_not_active_is_one_line(project):
    for stage in ("validate", "train"):
        line = one_line(run(project, "-S", "-m", f"stages.{stage}"))
        assert re.match(rf"{stage}: No module named '\w+'; the environment is not complete, or not active: run ", line)
