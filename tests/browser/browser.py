"""A person's view: `make ui` on a project, and a headless Chromium that opens what it prints."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.project import environment

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# Of its own, since other tests may start a server at the same moment, and would find the same port free.
FIRST_PORT = 5200
PATIENCE = 60_000  # milliseconds for a page on a machine that is busy with other tests


def installed() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """The browser that the machine has, with a new empty profile: Playwright's own is not downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=[*FLAGS])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Run commands/ui.py in a project; the link that it prints."""
    code = f"from commands import ui; ui.FIRST_PORT = {FIRST_PORT}; ui.run(ui.main)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        line = next((line for line in process.stdout if line.startswith("ui: ")), "")
        found = re.fullmatch(r"ui: (http://127\.0\.0\.1:\d+/\S+) \(Ctrl-C ends it\)\n", line)
        if found:
            yield found[1]
    finally:
        # Not Ctrl-C's signal: what is started in the background ignores that one.
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert found, line + errors
    assert process.returncode == 143, errors


def visit(page: Page, link: str) -> None:
    """Open a page of MLflow as one who has put away the assistant that it shows to a newcomer."""
    page.goto(link)
    page.get_by_role("button", name="Close", exact=True).click()
