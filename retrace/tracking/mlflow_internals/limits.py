"""How long MLflow and the libraries under it wait for a server: alone, MLflow waits 247 s for one that is down.

Not a deadline around a process of its own: from outside, one that waits for a dead server looks like one that a slow
server answers, or that sends a large file (docs/LOG.md, 2026-11-30).
"""

import contextlib
import functools
import inspect
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

REQUEST_SECONDS = 3
# An answer within this time, and what was sent at this speed, is in time; what answers in a row are late adds up.
ANSWER_SECONDS = 1
BYTES_A_SECOND = 100_000


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when it takes longer; one within another one may be shorter. For the main thread alone."""

    armed = True

    def late(signum: int, frame: object) -> None:
        # One that comes while the limit is taken back would leave it there.
        if armed:
            raise TimeoutError(f"does not answer within {seconds:.3g} s")

    begin = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    # Again and again, since the first one may be taken for one more failed try.
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    if 0 < left < seconds:
        signal.setitimer(signal.ITIMER_REAL, left, 0.2)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - time.monotonic() + begin, 0.001), again)


@contextlib.contextmanager
def download_limit(uri: str, size: int) -> Iterator[None]:
    """For the download of so many bytes from the tracking server `uri`; no limit where it is a file.

    MLflow downloads in a thread of its own, and `limit_request_time` sees no more of it than that an answer begins.
    """
    if not uri.startswith(("http://", "https://")):
        yield
        return
    seconds, begin = REQUEST_SECONDS + size / BYTES_A_SECOND, time.monotonic()
    try:
        with time_limit(seconds):
            yield
    except Exception as error:
        if time.monotonic() - begin < seconds:
            raise
        # What MLflow makes of it says that the path may be wrong.
        raise TimeoutError("timed out") from error


def limit_request_time() -> None:
    """Give a request less time after late answers: with MLflow's limit for each, fifty slow ones take minutes."""
    from requests import PreparedRequest, Response, Session

    send = inspect.unwrap(Session.send)
    nothing = contextlib.nullcontext()
    full = patience = float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) - ANSWER_SECONDS

    @functools.wraps(send)
    def timed(session: Session, request: PreparedRequest, **options: Any) -> Response:
        nonlocal patience
        in_time = ANSWER_SECONDS + int(request.headers.get("Content-Length", 0)) / BYTES_A_SECOND
        # None is left after a request that failed: MLflow swallows some errors and asks on.
        before, patience = patience, 0.0
        begin = time.monotonic()
        # The timeout is of each read: an answer that trickles would take any time. Signals reach the main thread only.
        whole = time_limit(in_time + before + 0.5) if threading.current_thread() is threading.main_thread() else nothing
        with whole:
            response: Response = send(session, request, **{**options, "timeout": in_time + before})
        late = time.monotonic() - begin - in_time
        patience = max(before - late, 0) if late > 0 else full
        return response

    Session.send = timed  # type: ignore[method-assign, assignment]
