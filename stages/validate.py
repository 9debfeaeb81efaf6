"""Stage `validate`: is params.yaml sound?

Reads   params.yaml
Writes  data/params.ok, a receipt whose content never changes
        data/decisions.json, the parameters that a result is made with, for `report`

Every other stage depends on the receipt, so that a bad key stops the run before DVC deletes any earlier result.
"""

from retrace.runtime.run import run

from pathlib import Path

from retrace.artifacts.decisions import write_decisions
from retrace.params import reader
from retrace.params.baseline import Baseline
from retrace.params.create import Create
from retrace.params.evaluate import Evaluate
from retrace.params.gate import Gate
from retrace.params.plot import Plot
from retrace.params.record import Record
from retrace.params.report import Report
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.atomic import write_text

SECTIONS = (Create, Split, Baseline, Train, Evaluate, Plot, Report, Record, Gate, Study)
# What decides the numbers of a result; the others say how it is shown, kept and judged.
DECIDING = (Create, Split, Baseline, Train, Evaluate)
RECEIPT = Path("data/params.ok")


def main() -> None:
    values = reader.check(SECTIONS)
    deciding = {section.section_name() for section in DECIDING}
    write_decisions({key: value for key, value in values.items() if key.partition(".")[0] in deciding})
    write_text(RECEIPT, "params.yaml is sound\n")
    print(f"validate: {len(values)} parameters in {len(SECTIONS)} sections are sound")


if __name__ == "__main__":
    run(main)
