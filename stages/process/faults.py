"""What a stage or a command says when it cannot go on, and the exit status that goes with it."""

from stages.files.text import shown

BAD_PARAMS = 2
BAD_DATA = 3
MACHINE_FAULT = 4
GATE_FAILED = 5


class Fault(Exception):  # noqa: N818 - not an error of the program
    """A fault the user can mend: one line for each, and the exit status of the process.

    Each line names the file, the key or column, the value, the rule and the fix. What it quotes may be a table's, which
    may hold anything: it stays on its line, and a terminal takes no orders from it.
    """

    def __init__(self, status: int, *lines: str):
        super().__init__("\n".join(map(shown, lines)))
        self.status = status
