"""A recorded model, `retrace predict` and the ONNX file work on plain Windows: they ask for nothing that it lacks.

Real processes without all that are in test_serving.py and test_predict.py; an ONNX file needs nothing of ours.
"""

import ast
import os
import zipfile

import pytest

from retrace.runtime import posix, windows
from retrace.runtime.errors import MACHINE_FAULT
from retrace.runtime.imports import ROOT, closure
from retrace.runtime.system import running
from tests.project import environment, run
from tests.windows import lacking, without_posix

SERVED = closure("retrace/serving/pyfunc.py")
PREDICT = sorted({*closure("retrace/__main__.py"), *closure("retrace/cli/predict.py")})
# What stands behind the one module that asks which system it is, on POSIX alone.
SYSTEM = "retrace/runtime/system.py"
BEHIND = {f"retrace/runtime/{name}.py" for name in ("control_group", "posix", "parent_watch")}

STARTED = "from retrace.runtime.preflight import started; print(started())"


def uses(path: str) -> list[str]:
    return lacking((ROOT / path).read_text("utf-8"))


def modules(path: str) -> set[str]:
    """All that a file imports, `from package import module` among it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def test_a_recorded_model_brings_what_a_prediction_needs_and_no_more():
    assert {path for path in SERVED if not path.endswith("/__init__.py")} == {
        "retrace/data/values.py",
        "retrace/networks/activations.py",
        "retrace/networks/architectures.py",
        "retrace/networks/encodings.py",
        "retrace/networks/entrance.py",
        "retrace/networks/layers.py",
        "retrace/networks/layout.py",
        "retrace/networks/mlp.py",
        "retrace/networks/model.py",
        "retrace/networks/network.py",
        "retrace/networks/probabilities.py",
        "retrace/networks/residual.py",
        "retrace/preprocessing/apply.py",
        "retrace/preprocessing/description.py",
        "retrace/serving/frame.py",
        "retrace/serving/pyfunc.py",
    }


@pytest.mark.parametrize("path", SERVED)
def test_it_neither_writes_nor_knows_of_processes(path):
    assert uses(path) == []
    assert not modules(path) & {"os", "shutil", "signal", "subprocess", "sys", "tempfile", "threading"}


@pytest.mark.parametrize("path", PREDICT)
def test_predict_asks_for_what_posix_alone_has_in_one_place(path):
    if path in BEHIND:
        assert uses(path)
        return
    assert uses(path) == []
    behind = {name.removesuffix(".py").replace("/", ".") for name in BEHIND}
    assert path == SYSTEM or not modules(path) & behind


def test_that_place_imports_them_on_posix_alone():
    (choice,) = [node for node in ast.parse((ROOT / SYSTEM).read_text()).body if isinstance(node, ast.If)]
    reached = {f"{node.module}".replace(".", "/") + ".py" for node in choice.body}
    other = {f"{node.module}".replace(".", "/") + ".py" for node in choice.orelse}
    assert reached == BEHIND
    assert other == {"retrace/runtime/windows.py"}
    assert {SYSTEM, *BEHIND} <= set(PREDICT)


def test_both_systems_say_the_same_of_what_both_have():
    read, write = os.pipe()
    try:
        for system in (posix, windows):
            assert system.stream_is_open(write, os.O_WRONLY)
    finally:
        os.close(read)
        os.close(write)
    for system in (posix, windows):
        assert not system.stream_is_open(write, os.O_WRONLY)


def test_a_process_runs_or_not():
    assert running(os.getpid())
    assert not running(2**22 + 1)
    assert not running(10**30)


def test_a_stage_says_where_it_runs(tmp_path):
    stage = "runpy.run_module('stages.train', run_name='__main__', alter_sys=True)"
    code = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); {stage}"
    done = without_posix(code, tmp_path, environment())
    assert done.returncode == MACHINE_FAULT
    assert done.stderr == "train: it needs fcntl, which Windows does not have; run it in WSL\n"


def test_the_command_is_known_by_the_name_that_pip_gives_it_there(tmp_path):
    """An archive with a `__main__`, behind a launcher."""
    with zipfile.ZipFile(tmp_path / "retrace.exe", "w") as archive:
        archive.writestr("__main__.py", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{STARTED}")
    assert run(tmp_path, "retrace.exe", "predict", "a.csv").stdout == "predict\n"


@pytest.mark.parametrize(
    "code",
    [
        *("import fcntl", "import os, resource", "from pwd import getpwuid", "def late():\n    import termios"),
        *("import os\nos.kill(1, 0)", "from os import fork", "import os\nFLAGS = os.O_ACCMODE | os.O_RDWR"),
        *("import signal\nS = (signal.SIGTERM, signal.SIGHUP)", "from signal import SIGPIPE"),
        *('open("/proc/self/stat")', 'open(f"/proc/{1}/stat")', 'Path("/sys/fs/cgroup", "memory")'),
    ],
)
def test_what_windows_lacks_is_seen(code):
    assert lacking(code)


def test_what_it_has_is_not():
    code = '"""Reads /proc."""\nimport os, signal\nos.replace("a", "b")\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)'
    assert lacking(code) == []
