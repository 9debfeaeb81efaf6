"""The mirror of a study in a real PostgreSQL, which the test starts itself, kills in the middle and starts again.

Skipped where there is no PostgreSQL (Debian: apt-get install postgresql) or no driver (pip install 'psycopg[binary]').
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import pytest

from retrace.tracking.study_mirror import TRIAL
from tests.project import free_port
from tests.study_project import end_started, make_project, start, steer, step, study, until

NAME = "retrace my *table*"
ALL = list(range(8))


def binaries() -> Path | None:
    """Debian has them in a folder for each version."""
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


pytestmark = [
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL here: apt-get install postgresql"),
    pytest.mark.skipif(
        not importlib.util.find_spec("psycopg"), reason="no driver for PostgreSQL: pip install 'psycopg[binary]'"
    ),
]


class Server:
    """In a folder of its own, as a user that it agrees to run as: it refuses root."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.password = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None
        self.user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
        if self.user:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        (folder / "password").write_text(self.password)
        (folder / "password").chmod(0o644)
        options = ["--username=me", "--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync"]
        self._run("initdb", f"--pgdata={folder}/data", *options)

    def _command(self, name: str, *arguments: str) -> list[str]:
        return [str(binaries() / name), *arguments]

    def _run(self, name: str, *arguments: str) -> None:
        command = self._command(name, *arguments)
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60, **self.user)

    def start(self) -> None:
        options = ["-D", f"{self.folder}/data", "-p", str(self.port), "-k", str(self.folder), "-F"]
        self.process = subprocess.Popen(
            self._command("postgres", *options, "-c", "listen_addresses=127.0.0.1"),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self.user,
        )
        until(self.answers, "PostgreSQL")

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As a machine that loses its power: all of its processes at once."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process
        main = psutil.Process(self.process.pid)
        for each in (main, *main.children()):
            with contextlib.suppress(psutil.NoSuchProcess):  # some end by themselves when the first one does
                each.send_signal(number)

    def url(self, password: str = "", database: str = "postgres") -> str:
        return f"postgresql://me:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.url(database=database)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="retrace-pg-", dir="/tmp"))  # short: a socket's path has at most 107 letters
    running = Server(folder)
    try:
        running.start()
        yield running
    finally:
        running.kill()
        shutil.rmtree(folder)


@pytest.fixture
def project(tmp_path) -> Iterator[Path]:
    yield make_project(tmp_path / "my project ü")
    end_started()


def mirrored(url: str) -> dict[str, list[int]]:
    storage = optuna.storages.RDBStorage(url.replace("postgresql", "postgresql+psycopg"))
    try:
        return {
            name: sorted(
                trial.user_attrs[TRIAL] for trial in optuna.load_study(study_name=name, storage=storage).get_trials()
            )
            for name in optuna.get_all_study_names(storage)
        }
    finally:
        storage.engine.dispose()


def test_a_study_is_mirrored_while_it_is_under_way_and_once(server, project):
    url = server.make("whole")
    steer(project, steps=True)
    process = start(project, "--mirror", url)
    step(project, 2)
    until(lambda: mirrored(url) == {NAME: [0, 1]}, "two trials")
    step(project, 6)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "Winner" in out
    assert server.password not in out
    assert mirrored(url) == {NAME: ALL}
    assert study(project, "--mirror", url).returncode == 0
    assert mirrored(url) == {NAME: ALL}


def test_a_server_that_is_killed_in_the_middle_gets_all_of_it_when_it_is_back(server, project):
    url = server.make("killed")
    steer(project, steps=True)
    process = start(project, "--mirror", url)
    step(project, 3)
    until(lambda: mirrored(url) == {NAME: [0, 1, 2]}, "three trials")
    server.kill()
    step(project, 2)
    time.sleep(12)  # Optuna itself tries again for eight
    server.start()
    until(lambda: mirrored(url) == {NAME: [0, 1, 2, 3, 4]}, "what it missed", 120)
    step(project, 3)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, "Winner" in out) == (0, True)
    (line,) = errors.splitlines()
    assert line.startswith(f"study: mirror postgresql://127.0.0.1:{server.port}/killed: ")
    assert server.password not in errors
    assert mirrored(url) == {NAME: ALL}


def test_a_server_that_is_gone_for_good_costs_a_line_and_some_seconds(server, project):
    url = server.make("gone")
    steer(project, steps=True)
    process = start(project, "--mirror", url)
    step(project, 3)
    until(lambda: mirrored(url) == {NAME: [0, 1, 2]}, "three trials")
    server.kill()
    step(project, 5)
    begin = time.monotonic()
    out, errors = process.communicate(timeout=60)
    assert time.monotonic() - begin < 20
    assert (process.returncode, "Winner" in out, errors.count("\n")) == (0, True, 1)
    assert server.password not in errors
    server.start()
    assert study(project, "--mirror", url).returncode == 0
    assert mirrored(url) == {NAME: ALL}


def test_a_server_that_is_stopped_in_a_call_is_left_behind(server, project):
    """It has the connection and says nothing: no timeout of the driver's ends that."""
    url = server.make("stopped")
    steer(project, steps=True)
    process = start(project, "--mirror", url)
    step(project, 3)
    until(lambda: mirrored(url) == {NAME: [0, 1, 2]}, "three trials")
    server.signal(signal.SIGSTOP)
    try:
        step(project, 5)
        out, errors = process.communicate(timeout=60)
    finally:
        server.signal(signal.SIGCONT)
    assert (process.returncode, "Winner" in out) == (0, True)
    (line,) = errors.splitlines()
    assert "does not answer within 10 s" in line


@pytest.mark.parametrize(("password", "database", "words"), [("wrong", "postgres", "password"), ("", "none", "none")])
def test_a_server_that_refuses_is_a_line_without_the_password(server, project, password, database, words):
    done = study(project, "--mirror", server.url(password, database))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert words in line
    assert "wrong" not in line
    assert server.password not in line
