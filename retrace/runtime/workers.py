"""Copies of this process that work side by side, one a core: made by fork, they share its memory and copy nothing."""

import ctypes
import gc
import mmap
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, Self

from retrace.runtime.cores import LIMIT
from retrace.runtime.errors import MACHINE_FAULT, UserError

PR_SET_PDEATHSIG = 1
TERMINAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def shared_out(
    function: Callable[[Any], Any], requests: Sequence[Any], does: Sequence[str], count: int, command: str
) -> Iterator[tuple[int, Any]]:
    """As Workers.each, of so many processes that all can do the same; 1: this one alone."""
    if count == 1:
        for place, request in enumerate(requests):
            yield place, function(request)
        return
    with Workers([function] * count, does[:count], command) as workers:
        yield from workers.each(requests, does)


def shared_memory(size: int) -> mmap.mmap:
    """So many zero bytes that a worker and this process both see changes of; no file stands behind them."""
    return mmap.mmap(-1, max(size, 1))


class Workers:
    """One for each of the functions, which answers what it is asked; within `with` they run, and no longer.

    does: what a worker is at work on, for the message where one is killed; command: what goes on with the work then.
    """

    def __init__(self, functions: Sequence[Callable[[Any], Any]], does: Sequence[str], command: str = "dvc repro"):
        self.functions, self.does, self.command = functions, does, command
        self.connections: list[Connection] = []
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        # What is still to be written would be written by each copy, too.
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            for function in self.functions:
                connection, pid = self._fork(function)
                self.connections.append(connection)
                self.pids.append(pid)
        except OSError as error:
            does = self.does[len(self.pids)]
            self.__exit__()
            raise _no_process(does, error) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def _fork(self, function: Callable[[Any], Any]) -> tuple[Connection, int]:
        ours, theirs = Pipe()
        parent = os.getpid()
        # Until it is a worker it would do with a signal what its parent does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)
        try:
            if not (pid := os.fork()):
                _work(function, theirs, parent, [*self.connections, ours])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return ours, pid

    def ask(self, requests: Sequence[Any]) -> list[Any]:
        """The answers to a request for each, or None where there is none to ask. Raises what the functions raise.

        Where several raise, the error that is least by `place`, where they have one; else of the first worker.
        """
        asked = [place for place, request in enumerate(requests) if request is not None]
        answers: list[Any] = [None] * len(requests)
        for place in asked:
            with suppress(BrokenPipeError):  # it is found dead below
                self.connections[place].send(requests[place])
        errors = []
        for place in asked:
            try:
                answers[place], error = self.connections[place].recv()
            except (EOFError, ConnectionResetError):
                error = self._killed(place, self.does[place])
            if error is not None:
                errors.append(error)
        if errors:
            raise first_of(errors)
        return answers

    def each(self, requests: Sequence[Any], does: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Answers to requests that any worker can answer, as they come: (place of the request, answer).

        Whoever is done is given the next one. Where a worker is killed, another one takes its place and is asked the
        same once more, since what was killed for want of memory may find some now; killed again, UserError, with what
        the request does.
        """
        waiting, asked, again = deque(range(len(requests))), dict[int, int](), set[int]()

        def ask_next(worker: int) -> None:
            if waiting:
                asked[worker] = waiting.popleft()
                with suppress(BrokenPipeError):  # it is found dead below
                    self.connections[worker].send(requests[asked[worker]])

        for worker in range(len(self.functions)):
            ask_next(worker)
        while asked:
            for ready in wait([self.connections[worker] for worker in asked]):
                worker = self.connections.index(ready)  # type: ignore[arg-type]
                place, error = asked.pop(worker), None
                try:
                    answer, error = self.connections[worker].recv()
                except (EOFError, ConnectionResetError):
                    error = self._killed(worker, does[place])
                    if place not in again:
                        again.add(place)
                        waiting.appendleft(place)
                        self.connections[worker].close()
                        try:
                            self.connections[worker], self.pids[worker] = self._fork(self.functions[worker])
                        except OSError as lacking:
                            raise _no_process(does[place], lacking) from None
                        ask_next(worker)
                        continue
                if error is not None:
                    raise error
                ask_next(worker)
                yield place, answer

    def _killed(self, place: int, does: str) -> UserError:
        _, status = os.waitpid(self.pids[place], 0)
        self.pids[place], number = 0, os.waitstatus_to_exitcode(status)
        how = f"was killed by {signal.Signals(-number).name}" if number < 0 else f"ended with status {number}"
        why = f" the system kills what takes too much memory: free some, or set {LIMIT} to less, then:"
        fix = f"{why if number == -signal.SIGKILL else ' run'} {self.command}"
        return UserError(MACHINE_FAULT, f"{does}: its process {how};{fix}")

    def __exit__(self, *error: object) -> None:
        for connection in self.connections:
            connection.close()  # an idle worker ends by that
        for pid in self.pids:
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.connections, self.pids = [], []


def _no_process(does: str, error: OSError) -> UserError:
    return UserError(MACHINE_FAULT, f"{does}: no further process can be made ({error.strerror}); set {LIMIT} to less")


def _work(
    function: Callable[[Any], Any], connection: Connection, parent: int, of_parent: Sequence[Connection]
) -> NoReturn:
    """Answer until nobody asks any more. This process ends here, and does nothing that its parent has yet to do."""
    status = 1
    try:
        # What it has inherited is not its own to tidy up: some of it waits for threads that were not copied.
        gc.freeze()
        _die_with(parent)
        for each in of_parent:
            each.close()
        while True:
            try:
                request = connection.recv()
            except EOFError:
                break
            connection.send(answered(function, request))
        status = 0
    finally:
        os._exit(status)


def answered(function: Callable[..., Any], *request: Any) -> tuple[Any, Exception | None]:
    """What it answers, and what it raises, for another process: of a kind that any knows how to make."""
    try:
        return function(*request), None
    except UserError as error:
        return None, error
    except Exception as error:
        same = type(error) in (MemoryError, RuntimeError)
        raised = type(error)(str(error)) if same else RuntimeError(f"{type(error).__name__}: {error}")
        raised.add_note(traceback.format_exc())  # where it happened
        return None, raised


def first_of(errors: Sequence[Exception]) -> Exception:
    """What a single process would have met first: the least by `place`, where they have one."""
    return min(errors, key=lambda error: getattr(error, "place", (0, 0)))


def _die_with(parent: int) -> None:
    # What a terminal sends goes to all its processes; the one who asks decides what becomes of it.
    for number in TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that took effect
        os._exit(1)
