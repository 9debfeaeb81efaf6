"""What is forked (tests/warm.py) is what a Python of its own would be."""

from tests.project import TINY, cold, copy_project, run, turn


def test_a_forked_stage_ends_says_and_writes_as_one_of_its_own(tmp_path):
    said = {}
    for way in (run, cold):
        folder = copy_project(tmp_path / way.__name__, TINY)
        ways = [way(folder, "-m", f"stages.{stage}") for stage in ("validate", "create", "split")]
        turn(folder, {"train.epochs": 0})
        ways.append(way(folder, "-m", "stages.train"))
        files = {path.name: path.read_bytes() for path in (folder / "data").iterdir() if path.is_file()}
        said[way] = [(done.returncode, done.stdout, done.stderr) for done in ways], files
    assert said[run] == said[cold]
    assert [status for status, _, _ in said[run][0]] == [0, 0, 0, 2]


def test_code_that_was_changed_is_the_code_that_runs(tmp_path):
    folder = copy_project(tmp_path / "changed", TINY)
    (folder / "retrace/runtime/errors.py").write_text("raise SystemExit('the code of then')\n")
    done = run(folder, "-m", "stages.validate")
    assert (done.returncode, done.stderr) == (1, "the code of then\n")


def test_a_stage_that_dvc_runs_is_forked_too(tmp_path):
    """Or it would be slow, and nothing would say so: a fork has its libraries before its first line."""
    folder = copy_project(tmp_path / "traced", TINY)
    yaml = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(yaml.replace("cmd: python -m stages.validate", "cmd: which python && python -c 1"))
    done = run(folder, "-m", "dvc", "repro", "validate")
    assert "warm-" in done.stdout
