"""verify: byte for byte, then number by number, and never a yes that was not compared."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.cli.verify import NO_LONGER, NO_ORIGINAL, check_output, original, outputs, verify
from retrace.runtime.errors import UserError
from tests.project import commit, git, run


def parquet(numbers) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table({"x": np.asarray(numbers, dtype=np.float64)}), target)
    return target.getvalue()


def checked(path, old, new):
    return check_output(path, "one", "other", new, old)


def test_the_same_hash_is_identical():
    assert check_output("a.csv", "one", "one", b"", None) == ("a.csv", "identical", True)


def test_what_cannot_be_compared_is_not_taken_for_equal():
    result = check_output("a.csv", "one", "other", b"1,2", None)
    assert not result.good
    assert "not here" in result.text


def test_where_it_was_trained_may_differ_and_what_shipped_may_not():
    trained = {"device": "cpu", "device_reason": "auto: no CUDA here", "portable": True, "shipped": 1}
    elsewhere = {"device": "cuda:0", "device_reason": "auto: CUDA is there", "portable": False, "shipped": 1}
    old, new, other = (json.dumps(each).encode() for each in (trained, elsewhere, {**elsewhere, "shipped": 2}))
    assert checked("models/training.json", old, new).good
    assert not checked("models/training.json", old, other).good
    assert not checked("reports/scores.json", old, new).good


@pytest.mark.parametrize(
    ("path", "write"),
    [
        ("reports/a.parquet", parquet),
        ("reports/a.csv", lambda numbers: b"x\n" + "\n".join(map(str, numbers)).encode()),
        ("reports/a.json", lambda numbers: json.dumps({"x": list(numbers)}).encode()),
        ("reports/a.txt", lambda numbers: ("mean " + " ".join(map(str, numbers))).encode()),
    ],
)
def test_numbers_are_compared_with_a_tolerance(path, write):
    numbers = np.linspace(1.5, 2.5, 50)
    near, far = numbers * 1.001, numbers * 1.1
    assert checked(path, write(numbers), write(near)).good
    assert "within tolerance" in checked(path, write(numbers), write(near)).text
    assert not checked(path, write(numbers), write(far)).good
    assert not checked(path, write(numbers), write(numbers[:-1])).good


def test_data_must_be_closer_than_results():
    numbers = np.linspace(1, 2, 50)
    assert checked("reports/a.parquet", parquet(numbers), parquet(numbers * (1 + 1e-6))).good
    assert not checked("data/a.parquet", parquet(numbers), parquet(numbers * (1 + 1e-6))).good


def test_text_nan_and_columns_are_differences():
    assert not checked("a.csv", b"x\n1\n", b"y\n1\n").good
    assert not checked("a.parquet", parquet([1.0, np.nan]), parquet([1.0, 2.0])).good
    assert checked("a.parquet", parquet([1.0, np.nan]), parquet([1.0, np.nan])).good
    assert not checked("a.json", b'{"device": 1}', b'{"device": "x"}').good


def test_texts_of_a_table_are_compared_as_they_are():
    def table(texts):
        target = io.BytesIO()
        pq.write_table(pa.table({"x": [1.0, 2.0], "kind": pa.array(texts).dictionary_encode()}), target)
        return target.getvalue()

    assert checked("a.parquet", table(["red", None]), table(["red", None])).good
    assert not checked("a.parquet", table(["red", None]), table(["blue", None])).good


@pytest.mark.parametrize("suffix", ["parquet", "safetensors", "png", "json", "csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"PAR1", b"{", b"\x89PNG\r\n\x1a\n", b"\0" * 100])
def test_what_cannot_be_read_does_not_reproduce(suffix, content):
    for old, new in ((content, b"1,2"), (b"1,2", content)):
        result = checked(f"a.{suffix}", old, new)
        assert result.text.startswith("DIFFERS")
        assert "\n" not in result.text
        assert not result.good


def test_what_is_no_longer_made_is_not_reproduced():
    assert check_output("a.csv", "one", None, None, b"1") == check_output("a.csv", "one", None, None, None)
    assert "MADE no longer" in check_output("a.csv", "one", None, None, b"1").text


def test_digests_may_differ():
    assert checked("a.json", b'{"sha256": "%s"}' % (b"a" * 64), b'{"sha256": "%s"}' % (b"b" * 64)).good


def test_the_original_is_whatever_copy_has_its_hash(tmp_path):
    project, cache = tmp_path / "big/small", tmp_path / "shared/files/md5"
    project.mkdir(parents=True)
    (project / "a").write_bytes(b"workspace")
    assert original(project, cache, "a", "0" * 32) is None
    digest = hashlib.md5(b"workspace").hexdigest()
    assert original(project, cache, "a", digest) == b"workspace"
    (project / "a").write_bytes(b"edited since")
    assert original(project, cache, "a", digest) is None
    cached = cache / digest[:2] / digest[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"workspace")
    assert original(project, cache, "a", digest) == b"workspace"
    git(tmp_path / "big", "init", "--quiet")
    commit(tmp_path / "big")
    (project / "a").unlink()
    assert original(project, cache, "a", hashlib.md5(b"edited since").hexdigest()) == b"edited since"


@pytest.mark.parametrize(
    "content", [b"", b"\t{", b"\xff", b"- 1\n", b"<<<<<<< HEAD\n", b"stages:\n  a:\n    outs:\n    - pa"]
)
def test_m31_a_committed_lock_that_is_damaged_is_one_line(tmp_path, content):
    (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(UserError, match=r"^dvc\.lock of the last commit cannot be read; .* dvc repro$"):
        outputs(tmp_path)


# --- what it says to do, done ----------------------------------------------------------------------------------------

GRAPH = """stages:
  a:
    cmd: echo 1.$MACHINE > a.txt
    outs: [a.txt]
  b:
    cmd: echo 2 > b.txt
    outs: [b.txt]
  c:
    cmd: echo 3 > c.txt
    outs: [c.txt]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A repository with small stages, run and committed. The first one writes something else on another machine."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MACHINE", "5")
        git(folder, "init", "--quiet")
        dvc("init", "--quiet")
        Path("dvc.yaml").write_text(GRAPH)
        repro_and_commit()
    return folder


@pytest.fixture
def small(made, tmp_path, monkeypatch) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "small"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MACHINE", "5")
    return folder


def dvc(*arguments: str) -> None:
    done = run(Path(), "-m", "dvc", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def repro_and_commit() -> None:
    dvc("repro")
    commit(Path())


def texts() -> dict[str, str]:
    return {path: text for path, text, _ in verify(Path()).checks}


GOOD = dict.fromkeys(["a.txt", "b.txt", "c.txt"], "identical")


def test_a_lock_that_is_missing_or_damaged_is_committed_after_what_it_says(small):
    git(small, "rm", "--quiet", "--cached", "dvc.lock")
    git(small, "commit", "--quiet", "--message=none")
    with pytest.raises(UserError, match=r"is not in the last commit; commit it after: dvc repro$"):
        verify(small)
    repro_and_commit()
    Path("dvc.lock").write_text("<<<<<<< HEAD\n")
    commit(small)
    with pytest.raises(UserError, match=r"cannot be read; commit it after: rm -f dvc.lock && dvc repro$"):
        verify(small)
    Path("dvc.lock").unlink()
    repro_and_commit()
    assert texts() == GOOD


def test_a_lock_that_is_older_than_the_graph_is_committed_after_what_it_says(small):
    """One stage has another output, and one is gone."""
    Path("dvc.yaml").write_text(GRAPH.partition("  c:")[0].replace("b.txt", "d.txt"))
    commit(small)
    assert texts() == {"a.txt": "identical", "b.txt": NO_LONGER, "c.txt": NO_LONGER}
    assert NO_LONGER.endswith("; commit it after: rm -f dvc.lock && dvc repro")
    Path("dvc.lock").unlink()
    repro_and_commit()
    assert texts() == {"a.txt": "identical", "d.txt": "identical"}


def test_an_original_that_is_not_here_is_brought_or_made_anew(small, tmp_path, monkeypatch):
    dvc("remote", "add", "--default", "there", str(tmp_path / "there"))
    dvc("push")
    commit(small)
    shutil.rmtree(".dvc/cache")
    Path("a.txt").unlink()
    monkeypatch.setenv("MACHINE", "51")
    assert texts()["a.txt"] == NO_ORIGINAL
    dvc("pull")
    assert texts()["a.txt"].startswith("within tolerance: ")
    shutil.rmtree(".dvc/cache")
    Path("a.txt").unlink()
    repro_and_commit()
    assert texts() == GOOD
