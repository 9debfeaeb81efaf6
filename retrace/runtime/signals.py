"""Ctrl-C and the like while work is under way that should first come to a place where nothing of it is lost."""

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from retrace.runtime.system import TERMINATING

SIGNALS = (signal.SIGINT, *TERMINATING)


class DeferredSignals:
    """Within it, the first of SIGNALS waits for `raise_pending`; a second one acts at once. line: said at the first."""

    def __init__(self, line: str):
        self.line = line
        self.received: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "DeferredSignals":
        # Some are ignored on purpose: in a job in the background, under nohup.
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self.before = {number: signal.signal(number, self._postpone) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if kind is None:
            self.raise_pending()

    def _postpone(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        # Not with print: it may be what was interrupted, and whoever read it may be gone.
        with suppress(OSError):
            os.write(2, f"{self.line}\n".encode())

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def raise_pending(self) -> None:
        """Do what was asked for, if anything was."""
        if self.received is not None:
            signal.raise_signal(self.received)
