"""Stages and commands as processes that need not load their libraries: each is forked off one that has them.

A stage computes for a tenth of a second on a tiny project, and imports for two. What comes out is a process as any
other, with its own folder, environment, files and exit status; where whoever asked for it is gone, it is killed. What
is about the start of a process, or about the code in its folder, starts a Python of its own: `environment()` and
sys.executable, as ever. `python -m tests.warm SOCKET` is the one that forks, one for all workers of a run of the tests;
it ends with its standard input, a pipe that each worker holds open.
"""

import atexit
import contextlib
import errno
import fcntl
import filecmp
import gc
import importlib
import io
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from pathlib import Path

from tests import warm_client
from tests.mlflow_store import FOLDER, copy_instead_of_migrating
from tests.warm_dvc import keep_what_is_dumped

ROOT = Path(__file__).parents[1]
SOURCES = [path.relative_to(ROOT) for folder in ("stages", "retrace") for path in sorted((ROOT / folder).rglob("*.py"))]
# What a function imports when it runs, and DVC.
LATE = (
    *("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "mlflow.pyfunc", "ruamel.yaml", "scipy.special"),
    *("sklearn.model_selection", "sklearn.ensemble", "sklearn.linear_model", "torch._dynamo"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg"),
    *("dvc.cli", "dvc.commands.repro", "dvc.repo", "dvc.stage.run", "dvc.output"),
    *("mlflow.cli", "mlflow.server.fastapi_app", "uvicorn.main", "uvicorn.lifespan.on"),
    *("uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
)
# What a server of MLflow makes of its settings when it loads them.
ANEW = ("mlflow.server.fastapi_app", "mlflow.server")


def folder() -> Path:
    """Of commands for PATH: python, where it is asked for a stage, dvc and retrace; starts the process that forks."""
    global _folder, _held
    if _folder is None:
        if FOLDER not in os.environ:  # a script, and no test
            os.environ[FOLDER] = tempfile.mkdtemp(prefix="retrace-tests-")
            atexit.register(shutil.rmtree, os.environ[FOLDER])
        place = Path(os.environ[FOLDER], "warm")
        with open(place.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            place.mkdir(exist_ok=True)
            _held = hold(place / "open")
            if _held is None:
                _held = begin(place)
        _folder = place
    return _folder


_folder: Path | None = None
_held: int | None = None  # this process's end of the pipe
_process: subprocess.Popen[bytes] | None = None  # where this one started it


def hold(pipe: Path) -> int | None:
    """An end of the pipe with which the process that forks lives; None: there is none, or it is about to end."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENXIO):
            raise
        return None


def begin(place: Path) -> int:
    """Start the process that forks, and write the commands; this process's end of the pipe."""
    global _process
    for name in ("open", "socket"):
        (place / name).unlink(missing_ok=True)
    os.mkfifo(place / "open")
    end = os.open(place / "open", os.O_RDONLY | os.O_NONBLOCK)
    held = hold(place / "open")
    assert held is not None
    _process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(place / "socket")],
        cwd=ROOT,
        # Not what the test that happens to be first has set.
        env={name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
        | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdin=end,
        stdout=subprocess.PIPE,
        start_new_session=True,  # what ends the tests ends it by its standard input
    )
    os.close(end)
    assert _process.stdout
    assert _process.stdout.readline() == b"ready\n"
    python = shlex.quote(sys.executable)
    ask = f"exec {python} -I -S {shlex.quote(warm_client.__file__)} {shlex.quote(str(place / 'socket'))}"
    known = '"-m stages."*|"-m dvc "*|"-m retrace "*|"-m retrace."*|"-P -m stages."*'
    scripts = {
        "python": f'case "$* " in {known}) {ask} "$@";; esac\nexec {python} "$@"',
        "forked": f'{ask} "$@"',
        "dvc": f'{ask} -m dvc "$@"',
        "retrace": f'{ask} -m retrace "$@"',
    }
    for name, script in scripts.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)
    return held


def forked() -> str:
    """A python that is forked whatever it is asked for, `-m` or `-c`."""
    return str(folder() / "forked")


class Started:
    """A process that was forked, and nobody's child here. files: by the number that they have there."""

    def __init__(self, place: Path, arguments: list[str], environment: dict[str, str], files: dict[int, int]):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(folder() / "socket"))
        warm_client.send(self.connection, str(place.resolve()), arguments, environment, files)
        self.answers = self.connection.makefile()
        self.pid = int(self.answers.readline())

    def wait(self) -> int:
        """Its exit status."""
        with self.connection, self.answers:
            return int(self.answers.readline())

    def poll(self) -> int | None:
        return self.wait() if select.select([self.connection], [], [], 0)[0] else None


def run(place: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`python arguments` there: its status, what it printed."""
    with open(os.devnull) as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = {0: nothing.fileno(), 1: out.fileno(), 2: err.fileno()}
        status = Started(place, arguments, environment, files).wait()
        out.seek(0)
        err.seek(0)
        said = [io.TextIOWrapper(stream, "utf-8", "replace").read() for stream in (out, err)]
    return subprocess.CompletedProcess([sys.executable, *arguments], status, *said)


def same_code(place: Path) -> bool:
    """Whether a Python in that folder would run the code that was loaded: what the folder lacks is from there, too."""
    there = [str(path) for path in SOURCES if (place / path).exists()]
    return not any(filecmp.cmpfiles(place, ROOT, there, shallow=False)[1:])


def serve(place: str) -> None:
    for path in SOURCES:
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations, by MLflow's server
        for name in LATE:
            importlib.import_module(name)
    for name in ANEW:
        package, _, last = name.rpartition(".")
        del sys.modules[name]
        vars(sys.modules[package]).pop(last, None)
    copy_instead_of_migrating()
    keep_what_is_dumped()
    assert threading.active_count() == 1, "threads do not survive a fork"
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    ends, tell = os.pipe()
    os.set_blocking(ends, False)
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting: dict[socket.socket, int] = {}
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin, ends, *waiting], [], [])
        if sys.stdin in ready:
            return
        for connection in waiting.keys() & set(ready):  # whoever waited is gone
            os.kill(waiting.pop(connection), signal.SIGKILL)
            connection.close()
        if ends in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(ends, 1 << 16)
            tell_of_ends(waiting)
        if listener in ready:
            connection, _ = listener.accept()
            try:
                asked, files = warm_client.receive(connection)
            except (ValueError, OSError):  # killed before it had asked
                connection.close()
                continue
            if not (process := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for file in (ends, tell, *(each.detach() for each in (listener, connection, *waiting))):
                    os.close(file)
                become(asked["folder"], asked["arguments"], asked["environment"], files)
            for file in files.values():
                os.close(file)
            waiting[connection] = process
            with contextlib.suppress(OSError):
                connection.sendall(b"%d\n" % process)


def tell_of_ends(waiting: dict[socket.socket, int]) -> None:
    """Say to each that waits for a process that has ended how it ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            for connection in [each for each, process in waiting.items() if process == ended[0]]:
                del waiting[connection]
                with contextlib.suppress(OSError), connection:
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))


def become(place: str, arguments: list[str], environment: dict[str, str], files: dict[int, int]) -> None:
    # First out of the way of the numbers that they are to have.
    for number, file in [(number, fcntl.fcntl(file, fcntl.F_DUPFD, 200)) for number, file in files.items()]:
        os.dup2(file, number)
        os.close(file)
    for file in set(files.values()) - set(files):
        os.close(file)
    os.chdir(place)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    roots = [] if "-P" in arguments[:2] else [place]
    roots += filter(None, given)
    if not all(same_code(Path(root)) for root in roots) or not alike(environment):
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*roots, *(path for path in sys.path[1:] if path not in known)]
    os.environ.clear()
    os.environ.update(environment)
    # As retrace.runtime.preflight has it, which was loaded before it was known what for.
    sys.stdout.reconfigure(errors="backslashreplace", write_through=arguments[0] == "-u")
    way, what, *rest = arguments[arguments[0] in ("-u", "-P") :]
    gc.unfreeze()
    status: object = 0
    try:
        if way == "-c":
            sys.argv = ["-c", *rest]
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), vars(sys.modules["__main__"]))
        else:
            sys.argv = [what, *rest]
            sys.modules.pop(what if "." in what else f"{what}.__main__", None)  # of which runpy makes its own
            # What it starts in its turn, a command's server or DVC, is forked too.
            if what == "retrace" and (asked := environment.get("PATH", "").partition(os.pathsep)[0]).endswith("/warm"):
                sys.executable = f"{asked}/python"
            runpy.run_module(what, run_name="__main__", alter_sys=True)
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
