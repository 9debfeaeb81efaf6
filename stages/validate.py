"""Stage `validate`: is params.yaml sound?

Reads   params.yaml
Writes  data/params.ok, a receipt whose content never changes

Every other stage depends on the receipt, so that a bad key stops the run before DVC deletes any earlier result.
"""

from retrace.runtime.run import run

from pathlib import Path

from retrace.params import reader
from retrace.params.baseline import Baseline
from retrace.params.create import Create
from retrace.params.evaluate import Evaluate
from retrace.params.gate import Gate
from retrace.params.plot import Plot
from retrace.params.record import Record
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.atomic import write_text

SECTIONS = (Create, Split, Baseline, Train, Evaluate, Plot, Record, Gate, Study)
RECEIPT = Path("data/params.ok")


def main() -> None:
    count = reader.check(SECTIONS)
    write_text(RECEIPT, "params.yaml is sound\n")
    print(f"validate: {count} parameters in {len(SECTIONS)} sections are sound")


if __name__ == "__main__":
    run(main)
