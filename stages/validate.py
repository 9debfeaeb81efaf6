"""Stage `validate`: is params.yaml sound?

Reads   params.yaml
Writes  data/params.ok, a receipt whose content never changes

Every other stage depends on the receipt, so that a bad key stops the run before DVC deletes any earlier result.
"""

# First, so that a library that cannot be loaded is one line, too.
from stages.process.run import run  # isort: split

from pathlib import Path

from stages.files.atomic import write_text
from stages.params import reader
from stages.params.baseline import Baseline
from stages.params.create import Create
from stages.params.evaluate import Evaluate
from stages.params.gate import Gate
from stages.params.plot import Plot
from stages.params.record import Record
from stages.params.split import Split
from stages.params.train import Train

SECTIONS = (Create, Split, Baseline, Train, Evaluate, Plot, Record, Gate)
RECEIPT = Path("data/params.ok")


def validate() -> int:
    """Check every section; returns the number of parameters, raises Fault with all faults at once."""
    return reader.check(SECTIONS)


def main() -> None:
    count = validate()
    write_text(RECEIPT, "params.yaml is sound\n")
    print(f"validate: {count} parameters in {len(SECTIONS)} sections are sound")


if __name__ == "__main__":
    run(main)
