"""`make gate`: is the result surely good enough? One line; exit status 0, or 5 when it is not.

Reads reports/metrics.json and the section `gate`; the rule stands in stages/scoring/gate.py. It is no DVC stage: a
teaching configuration that fails it must still run and be recorded.
"""

import json

from stages.params.gate import Gate
from stages.params.reader import read
from stages.process.damage import damaged
from stages.process.run import run
from stages.scoring.gate import METRICS, failure, gate


def main() -> None:
    section = read(Gate)
    try:
        metrics = json.loads(METRICS.read_bytes())
    except FileNotFoundError:
        raise failure("not found; run: dvc repro") from None
    except OSError as error:
        raise failure(f"cannot be read ({error.strerror}); run: dvc repro") from None
    except (ValueError, RecursionError) as error:
        raise failure(f"is not valid JSON ({error}); run: dvc repro") from None
    if damaged([METRICS]):
        raise failure("is not the file that dvc.lock describes; run: dvc repro")
    print(gate(metrics, section))


if __name__ == "__main__":
    run(main)
