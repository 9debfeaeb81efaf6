"""What plain Windows lacks: looked for in code, and taken away from a process before anything of this project loads."""

import ast
import subprocess
import sys
from pathlib import Path

MODULES = frozenset({"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"})
# Of `os`; of its functions that are there, `kill` ends whatever it is asked about.
OS = frozenset(
    {
        *(
            "fork",
            "forkpty",
            "register_at_fork",
            "posix_spawn",
            "posix_spawnp",
            "kill",
            "killpg",
            "nice",
            "getpriority",
        ),
        *("wait", "wait3", "wait4", "waitid", "getsid", "setsid", "getpgid", "getpgrp", "setpgid", "setpgrp"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups", "setuid", "setgid", "initgroups"),
        *("chown", "fchown", "lchown", "chroot", "fchdir", "fchmod", "mkfifo", "mknod", "openpty"),
        *("lockf", "posix_fadvise", "posix_fallocate", "pread", "pwrite", "sendfile", "sync", "fdatasync"),
        *("statvfs", "fstatvfs", "sysconf", "confstr", "pathconf", "uname", "getloadavg", "memfd_create"),
        *("sched_getaffinity", "sched_setaffinity", "sched_yield", "getxattr", "setxattr", "listxattr"),
        *(
            "O_ACCMODE",
            "O_CLOEXEC",
            "O_DIRECTORY",
            "O_DSYNC",
            "O_NOCTTY",
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "O_SYNC",
            "O_TMPFILE",
        ),
    }
)
SIGNALS = frozenset({"SIGABRT", "SIGBREAK", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"})
FOLDERS = ("/proc", "/sys/", "/dev/")


def lacking(code: str) -> list[str]:
    """What the code uses, at import or later, that plain Windows does not have."""
    tree = ast.parse(code)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            found += [module] * (module.partition(".")[0] in MODULES)
            found += [each.name for each in node.names if _lacks(module, each.name)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and _lacks(node.value.id, node.attr):
            found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            found += [node.value] * node.value.startswith(FOLDERS)
    return found


def _lacks(module: str, name: str) -> bool:
    if module == "signal":
        there = name in SIGNALS or not name.startswith("SIG")
        return not there or name in ("alarm", "pause", "setitimer", "sigwait", "pthread_kill", "pthread_sigmask")
    return module == "os" and name in OS


# Libraries come first and keep what they found: on Windows they have another half of their own. `uname`, `statvfs` and
# the like stay for what the standard library makes of them here (platform, shutil).
TAKE_AWAY = f"""
import os, signal, sys
import click, mlflow.pyfunc, numpy, pandas, psutil, pyarrow.compute, pyarrow.csv, pyarrow.parquet, pydantic
import ruamel.yaml, safetensors.torch, torch
vars(psutil._psposix)["os"] = type(os)("os")
vars(psutil._psposix.os).update(vars(os))
ROOT = {str(Path(__file__).parents[1])!r}
assert not [name for name in sys.modules if name.startswith(("retrace", "stages"))]
for name in {sorted(MODULES)}:
    sys.modules[name] = None
for name in {sorted(OS - {"uname", "statvfs", "sysconf"})}:
    vars(os).pop(name, None)
for name in [name for name in vars(signal) if name.startswith("SIG") and name not in {sorted(SIGNALS)}]:
    delattr(signal, name)
def is_asked(event, arguments):
    if event == "open" and str(arguments[0]).startswith({FOLDERS}):
        frame = sys._getframe(1)
        while "/lib/python" in frame.f_code.co_filename and "site-packages" not in frame.f_code.co_filename:
            frame = frame.f_back
        if f"{{os.sep}}retrace{{os.sep}}" in frame.f_code.co_filename.removeprefix(ROOT):
            raise FileNotFoundError(2, "there is no such folder on Windows", arguments[0])
sys.addaudithook(is_asked)
"""


def without_posix(code: str, folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Such a process, which runs the code when all that is gone."""
    return subprocess.run(
        [sys.executable, "-c", f"{TAKE_AWAY}\n{code}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
