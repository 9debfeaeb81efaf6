"""What a stage or a command says when it cannot go on, and the exit status that goes with it."""

BAD_PARAMS = 2
BAD_DATA = 3
MACHINE_FAULT = 4
GATE_FAILED = 5

RESTORE = "bring it back with: dvc checkout, or: dvc repro"


class Fault(Exception):  # noqa: N818 - not an error of the program
    """A fault the user can mend: one line for each, and the exit status of the process.

    Each line names the file, the key or column, the value, the rule and the fix.
    """

    def __init__(self, status: int, *lines: str):
        super().__init__("\n".join(lines))
        self.status = status
