"""`python -m retrace.cli.study_mirror`: the process that `retrace study --mirror` lets mirror its trials.

A process of its own, since a storage may hang in a call that nothing interrupts: this one may be left behind. It gets
the URL through its standard input, where no list of processes shows the password, then a line with the study's exit
status when that has ended; without that line whoever started it is gone, and it ends, too. It says one line at most.
"""

import json
import math
import os
import sys
import threading
import time
import warnings
from pathlib import Path

from retrace.artifacts.study import TRIALS
from retrace.artifacts.study_feed import Feed, first_line
from retrace.runtime.errors import UserError
from retrace.runtime.single_instance import single_instance
from retrace.tracking.study_mirror import StudyMirror, Target, fault, open_storage

# Two would add each trial twice.
LOCK = Path(".retrace/study_mirror.lock")
LOOK_SECONDS = 0.5
# A storage that is down is asked again after so long, then after twice that, and so on.
RETRY_SECONDS, MOST_RETRY_SECONDS = 2.0, 60.0
# So long one call may take while the study is under way, and when all wait for the last trials.
HANG_SECONDS, HANG_SECONDS_AT_END = 60.0, 10.0
# So long it may take to bring what is missing at the end.
END_SECONDS = 60.0
LATER = "the study goes on without it; the next `retrace study --mirror` brings what is missing"


class Mirroring:
    """What the thread that mirrors and the one that watches it share."""

    def __init__(self, target: Target, before: str):
        """before: the first line of the file before the study began."""
        self.target, self.feed, self.before = target, Feed(), before
        self.ended = threading.Event()
        self.status = 0  # of the study, once it has ended
        self.progress = time.monotonic()
        self.said = False

    def say(self, reason: str) -> None:
        if not self.said:
            self.said = True
            # In one piece: others write there, too.
            os.write(2, f"study: mirror {self.target.shown}: {reason}\n".encode())

    def note_progress(self) -> None:
        self.progress = time.monotonic()

    def run(self) -> None:
        pause, brought = RETRY_SECONDS, 0
        storage = mirror = None
        while True:
            last = self.ended.is_set()
            try:
                storage = storage or open_storage(self.target)
                # What an earlier study left is not this one's, unless there was nothing to do for this one.
                begun = first_line() != self.before
                if (begun or last) and self.feed.read():
                    mirror, brought = None, 0
                header, trials = self.feed.header, self.feed.trials
                if header and len(trials) > brought and (begun or self._is_current()):
                    mirror = mirror or StudyMirror(storage, header)
                    mirror.bring(trials, self.note_progress)
                    brought = len(trials)
                pause = RETRY_SECONDS
            except UserError as error:
                self.say(f"{error}; {LATER}")
                return
            except Exception as error:  # Optuna, SQLAlchemy and each driver have their own
                self.say(f"{fault(self.target, error)}; {LATER}")
                storage, mirror, brought = None, None, 0
                self.wait(pause)
                pause = min(2 * pause, MOST_RETRY_SECONDS)
            if last:
                return
            self.wait(LOOK_SECONDS)

    def wait(self, seconds: float) -> None:
        """No longer than the study takes."""
        self.progress = math.inf
        self.ended.wait(seconds)
        self.note_progress()

    def _is_current(self) -> bool:
        """Whether the file is of the study whose result is there: DVC may have brought that from its cache."""
        if self.status:
            return False
        if not self.feed.is_of(TRIALS.read()):
            self.say("nothing to mirror: the result came from DVC's cache, and no trial was measured for it here")
            return False
        return True


def main() -> None:
    given = json.loads(sys.stdin.readline())
    mirroring = Mirroring(Target.of(given["url"]), given["before"])
    warnings.simplefilter("ignore")
    os.nice(10)  # the trials come first

    def listen() -> None:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        mirroring.status = int(json.loads(line)["status"])
        mirroring.note_progress()
        mirroring.ended.set()

    def work() -> None:
        try:
            with single_instance(LOCK, "another `retrace study --mirror` is under way here; it mirrors this study"):
                mirroring.run()
        except UserError as error:
            mirroring.say(str(error))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=work, daemon=True).start()
    end = math.inf
    while True:
        time.sleep(LOOK_SECONDS / 2)
        now = time.monotonic()
        ended = mirroring.ended.is_set()
        end = min(end, now + END_SECONDS) if ended else end
        limit = HANG_SECONDS_AT_END if ended else HANG_SECONDS
        if now - mirroring.progress > limit or now > end:
            slow = f"does not answer within {limit:g} s" if now <= end else f"takes more than {END_SECONDS:g} s"
            mirroring.say(f"{slow}; {LATER}")
            os._exit(1)


if __name__ == "__main__":
    main()
