"""The pictures of MLflow in docs/record.md: `python -m tests.browser.screenshots` makes them anew (some minutes).

The default recipe and three changes of it, each recorded by `dvc repro`, seen through what `make ui` prints.
"""

import tempfile
from pathlib import Path

from tests.browser.browser import opened
from tests.conftest import PARAMS, ROOT
from tests.project import commit, copy_project, environment, repro, turn
from tests.served import served

FOLDER = ROOT / "tests" / "browser" / "screenshots"
CHANGES = ({"train.hidden": [4]}, {"train.optimizer.learning_rate": 1.0}, {"train.activation": "sigmoid"})
# Pixels of the window; the pictures are 1,400 wide.
WIDTH = 1640
SETTLE = 3_000  # milliseconds until nothing moves any more


def record(root: Path) -> None:
    copy_project(root, {})
    # The committed state is what names speak of: without it the first run, with it what differs.
    (root / "dvc.lock").unlink()
    commit(root)
    repro(root)
    commit(root)
    for change in CHANGES:
        (root / "params.yaml").write_text(PARAMS)
        turn(root, change)
        repro(root)


def shoot(root: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    with served(root, environment()) as ui, opened() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": 560}, device_scale_factor=1400 / WIDTH)
        page.goto(ui.link)
        page.get_by_role("button", name="Toggle sidebar").click()
        page.get_by_role("link", name="circles").wait_for()
        page.wait_for_timeout(SETTLE)
        page.screenshot(path=FOLDER / "runs.png")

        page.set_viewport_size({"width": WIDTH, "height": 1000})
        page.get_by_role("link", name="hidden").click()
        page.get_by_role("button", name="Expand description").click()
        page.wait_for_timeout(SETTLE)
        page.screenshot(path=FOLDER / "run.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder))
        shoot(Path(folder))


if __name__ == "__main__":
    main()
