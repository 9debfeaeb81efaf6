"""The README's pictures of MLflow: `python -m tests.browser.screenshots` makes them anew (some minutes).

The default recipe and three changes of it, each recorded by `dvc repro`, seen through what `make ui` prints.
"""

import tempfile
from pathlib import Path

from tests.browser.browser import opened, served, visit
from tests.conftest import PARAMS, ROOT
from tests.project import commit, copy_project, repro, turn

FOLDER = ROOT / "tests" / "browser" / "screenshots"
SETTLE = 3_000  # milliseconds until nothing moves any more
CHANGES = ({"train.hidden": [4]}, {"train.optimizer.learning_rate": 1.0}, {"train.activation": "sigmoid"})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder), {})
        # The committed state is what names speak of.
        (root / "dvc.lock").unlink()
        commit(root)
        repro(root)
        commit(root)
        for change in CHANGES:
            (root / "params.yaml").write_text(PARAMS)
            turn(root, change)
            repro(root)
        with served(root) as link, opened() as browser:
            # 1,400 pixels wide, for 1,640 of the window.
            page = browser.new_page(viewport={"width": 1640, "height": 560}, device_scale_factor=0.853)
            visit(page, link)
            page.get_by_role("button", name="Toggle sidebar").click()
            page.get_by_role("button", name="Hide banner").click()
            page.locator(".ag-row").last.wait_for()
            page.wait_for_timeout(SETTLE)
            page.screenshot(path=FOLDER / "runs.png")

            page.locator(".ag-row [col-id*='Run Name'] a").first.click()
            page.set_viewport_size({"width": 1640, "height": 1000})
            page.get_by_role("button", name="Expand description").click()
            page.wait_for_timeout(SETTLE)
            page.screenshot(path=FOLDER / "run.png")


if __name__ == "__main__":
    main()
