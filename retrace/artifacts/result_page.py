"""reports/report.html: where it lies, and the one thing that only its copy in a run can know.

`report` makes the page of a result, and the same result gives the same bytes. A commit is not part of a result: many of
them have the same one, and the one that will hold it is made after it. So the page says how the commit is found, and
`record` writes into the copy that goes with a run which commit was checked out.
"""

from pathlib import Path

RESULT_PAGE = Path("reports/report.html")
# Once in the page, between two elements.
COMMIT_SPOT = "<!-- the commit, in the copy of a run -->"


def with_commit(page: str, commit: str | None, uncommitted: bool | None) -> str:
    """The page as a run keeps it. commit: None without git; uncommitted: whether files differed from it."""
    if commit is None:
        return page
    beside = ", beside changes that were not committed" if uncommitted else ""
    return page.replace(COMMIT_SPOT, f"<p>This copy was made at commit <code>{commit}</code>{beside}.</p>", 1)
