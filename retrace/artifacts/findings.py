"""reports/data.json: what is suspicious about the data, for programs; reports/data.md has the same for people.

`split` writes it, with what `create` found; a person reads the first of them as warnings.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.runtime.atomic import write_json
from retrace.runtime.text import one_line

FINDINGS = Path("reports/data.json")

MOST_WARNINGS = 20

LONGEST_LINE = 500


@dataclass(frozen=True)
class Finding:
    """Something about the data that a person should know before trusting a result.

    kind:   in a word, the same for all of its kind.
    column: that it is about, or "" where it is about rows or the file.
    text:   what was found, with its number.
    param:  the key of params.yaml that settles it.
    """

    kind: str
    column: str
    text: str
    param: str

    @property
    def line(self) -> str:
        """On one line, whatever the column is called."""
        text = one_line(self.text, LONGEST_LINE)
        return f"{text}{'' if text.endswith('?') else ';'} {self.param} settles it"


def warn(stage: str, findings: Sequence[Finding], report: Path) -> None:
    """A line on stderr for each, up to MOST_WARNINGS; report: the file that has all of them."""
    for finding in findings[:MOST_WARNINGS]:
        print(f"{stage}: warning: {finding.line}", file=sys.stderr)
    if len(findings) > MOST_WARNINGS:
        print(f"{stage}: warning: {len(findings) - MOST_WARNINGS:,} more are in {report}", file=sys.stderr)


@dataclass(frozen=True)
class Findings:
    """The content of reports/data.json."""

    findings: list[Finding]


def write_findings(findings: Sequence[Finding]) -> None:
    write_json(FINDINGS, asdict(Findings(list(findings))))
