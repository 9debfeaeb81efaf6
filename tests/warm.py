"""Stages and commands as processes that need not load their libraries: each is forked off one that has them.

A stage computes for a tenth of a second on a tiny project, and imports for two. What comes out is a process as any
other, with its own folder, environment, streams and exit status. What is about the start of a process, or about the
code in its folder, starts a Python of its own: `environment()` and sys.executable, as ever. `python -m tests.warm
SOCKET` is the one that forks; it ends with its standard input.
"""

import atexit
import contextlib
import filecmp
import gc
import importlib
import io
import os
import runpy
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from tests import warm_client
from tests.mlflow_store import FOLDER, copy_instead_of_migrating

ROOT = Path(__file__).parents[1]
SOURCES = [path.relative_to(ROOT) for folder in ("stages", "retrace") for path in sorted((ROOT / folder).rglob("*.py"))]
# What a function imports when it runs, and DVC.
LATE = (
    *("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "mlflow.pyfunc", "ruamel.yaml", "scipy.special"),
    *("sklearn.model_selection", "sklearn.ensemble", "sklearn.linear_model", "torch._dynamo"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg"),
    *("dvc.cli", "dvc.commands.repro", "dvc.repo", "dvc.stage.run", "dvc.output"),
)


def folder() -> Path:
    """Of commands for PATH: python, where it is asked for a stage, dvc and retrace; starts the process that forks."""
    global _folder
    if _folder is None:
        shared = os.environ.get(FOLDER) or os.environ.setdefault(FOLDER, tempfile.mkdtemp(prefix="retrace-tests-"))
        _folder = Path(tempfile.mkdtemp(prefix="warm-", dir=shared))
        place = _folder / "socket"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(place)],
            cwd=ROOT,
            # Not what the test that happens to be first has set.
            env={name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
            | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # what ends the tests ends it by its standard input
        )
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        python = shlex.quote(sys.executable)
        ask = f"exec {python} -I -S {shlex.quote(warm_client.__file__)} {shlex.quote(str(place))}"
        known = '"-m stages."*|"-m dvc"|"-m retrace"'
        scripts = {
            "python": f'case "$1 $2" in {known}) {ask} "$@";; esac\nexec {python} "$@"',
            "dvc": f'{ask} -m dvc "$@"',
            "retrace": f'{ask} -m retrace "$@"',
        }
        for name, script in scripts.items():
            (_folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (_folder / name).chmod(0o755)
        atexit.register(process.communicate)
    return _folder


_folder: Path | None = None


def run(place: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`python arguments` there: its status, what it printed."""
    with (
        socket.socket(socket.AF_UNIX) as connection,
        open(os.devnull) as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        connection.connect(str(folder() / "socket"))
        streams = [nothing.fileno(), out.fileno(), err.fileno()]
        warm_client.send(connection, str(place.resolve()), arguments, environment, streams)
        with connection.makefile() as answers:
            _, status = answers.readline(), int(answers.readline())
        out.seek(0)
        err.seek(0)
        said = [io.TextIOWrapper(stream, "utf-8", "replace").read() for stream in (out, err)]
    return subprocess.CompletedProcess([sys.executable, *arguments], status, *said)


def same_code(place: Path) -> bool:
    """Whether a Python in that folder would run the code that was loaded."""
    if not (place / "stages").is_dir() and not (place / "retrace").is_dir():
        return True
    return not any(filecmp.cmpfiles(place, ROOT, map(str, SOURCES), shallow=False)[1:])


def serve(place: str) -> None:
    for path in SOURCES:
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    for name in LATE:
        importlib.import_module(name)
    copy_instead_of_migrating()
    keep_what_is_dumped()
    assert threading.active_count() == 1, "threads do not survive a fork"
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            answer(connection)
        connection.close()


def keep_what_is_dumped() -> None:
    """Let DVC go on with the content of dvc.lock that it wrote: it parses its 1,800 lines again for each stage."""
    from dvc.utils.serialize import _yaml

    parse, dump, kept = _yaml.parse_yaml_for_update, _yaml._dump, {}

    def dumped(data, stream) -> None:
        text = io.StringIO()
        dump(data, text)
        kept.clear()
        kept[text.getvalue()] = data
        stream.write(text.getvalue())

    _yaml._dump = dumped
    _yaml.parse_yaml_for_update = lambda text, path: kept.pop(text, None) or parse(text, path)


def answer(connection: socket.socket) -> None:
    """Run what is asked for in a child, and say how it ended."""
    try:
        asked, streams = warm_client.receive(connection)
    except EOFError:
        os._exit(1)
    if not (process := os.fork()):
        connection.close()
        become(asked["folder"], asked["arguments"], asked["environment"], streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(b"%d\n" % process)
    _, status = os.waitpid(process, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(place: str, arguments: list[str], environment: dict[str, str], streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(place)
    if not same_code(Path(place)) or not alike(environment):
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    os.environ.clear()
    os.environ.update(environment)
    # As retrace.runtime.preflight has it, which was loaded before it was known what for.
    sys.stdout.reconfigure(errors="backslashreplace")
    _, module, *rest = arguments
    sys.path[0] = place
    sys.argv = [module, *rest]
    sys.modules.pop(module if "." in module else f"{module}.__main__", None)  # of which runpy makes its own
    gc.unfreeze()
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    # As at every end, but for a walk through all that was imported: half a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def alike(environment: dict[str, str]) -> bool:
    """Whether a Python with these variables would have started as this one did."""
    kinds = ("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONWARNINGS", "LC_", "LANG", "OMP_", "MPL")
    names = {name for name in {*environment, *os.environ} if name.startswith(kinds)}
    return all(environment.get(name) == os.environ.get(name) for name in names)


if __name__ == "__main__":
    serve(sys.argv[1])
