"""A recorded model and the ONNX file work on plain Windows: they ask for nothing that it lacks.

A real process without all that is in test_serving.py; an ONNX file needs nothing of ours.
"""

import ast

import pytest

from retrace.runtime.imports import ROOT, closure
from tests.windows import lacking

SERVED = closure("retrace/serving/pyfunc.py")


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
        "retrace/networks/model.py",
        "retrace/networks/network.py",
        "retrace/preprocessing/apply.py",
        "retrace/serving/frame.py",
        "retrace/serving/pyfunc.py",
    }


@pytest.mark.parametrize("path", SERVED)
def test_it_neither_writes_nor_knows_of_processes(path):
    assert uses(path) == []
    assert not modules(path) & {"os", "shutil", "signal", "subprocess", "sys", "tempfile", "threading"}


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
