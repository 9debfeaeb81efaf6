"""Tables in Markdown, for the pages that stages and commands write."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:") -> str:
    """The first column to the left, the others as `align` has them."""
    rule = ["---", *[align] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
