"""What a person changes on MLflow's pages after `make ui` is changed in the store: the buttons that must work."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Project
from tests.conftest import ROOT
from tests.project import environment
from tests.served import Served, served
from tests.state import rows


@pytest.fixture(scope="module")
def own(project: Project, tmp_path_factory) -> Iterator[Served]:
    """A store of its own: the other tests look at the one that they share."""
    root = tmp_path_factory.mktemp("changed")
    databases = (contextlib.closing(sqlite3.connect(folder / "mlflow.db")) for folder in (project.root, root))
    with next(databases) as there, next(databases) as here:
        there.backup(here)
    # The artifacts stay where they are; nothing here changes them.
    (root / "params.yaml").write_bytes((project.root / "params.yaml").read_bytes())
    with served(root, environment() | {"PYTHONPATH": str(ROOT)}) as found:
        yield found


@pytest.fixture(scope="module")
def link(own: Served) -> str:
    return own.link


def newest(own: Served) -> str:
    return rows(own.root, "SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1")[0][0]


def model(own: Served) -> str:
    return rows(own.root, "SELECT model_id FROM logged_models ORDER BY creation_timestamp_ms LIMIT 1")[0][0]


def visit(page: Page, own: Served, place: str) -> None:
    """As one who came with the link before: the page keeps its cookie."""
    page.goto(own.link)
    page.goto(f"{own.base}/#{place}")


def press(page: Page, name: str, index: int = 0) -> None:
    page.get_by_role("button", name=name, exact=True).nth(index).click()


def expect_answer(page: Page, last: str):
    return page.expect_response(lambda answer: answer.url.partition("?")[0].endswith(last) and answer.status == 200)


def test_a_run_is_renamed_described_and_tagged(page, own):
    run_id = newest(own)
    visit(page, own, f"/experiments/{own.experiment}/runs/{run_id}")
    page.get_by_test_id("overflow-menu-trigger").click()
    page.get_by_role("menuitem", name="Rename").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("a name of mine")
    with expect_answer(page, "/runs/update"):
        dialog.get_by_role("button", name="Save").click()
    press(page, "Edit description")
    page.get_by_role("textbox").first.fill("words of mine")
    with expect_answer(page, "/runs/set-tag"):
        press(page, "Save")
    press(page, "Edit tags")
    dialog.get_by_role("combobox").first.click()
    page.keyboard.type("mine")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    dialog.get_by_role("textbox").last.fill("yes")
    dialog.get_by_role("button", name="Add tag").click()
    with expect_answer(page, "/runs/set-tag"):
        press(page, "Save tags")
    tags = dict(rows(own.root, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))
    assert (tags["mlflow.runName"], tags["mlflow.note.content"], tags["mine"]) == (
        *("a name of mine", "words of mine"),
        "yes",
    )


def test_the_data_sets_of_a_run_are_told(page, own):
    visit(page, own, f"/experiments/{own.experiment}/runs/{newest(own)}")
    page.get_by_role("button", name="circles train").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("3 datasets used")


def test_a_file_of_a_run_is_downloaded(page, own):
    visit(page, own, f"/experiments/{own.experiment}/runs/{newest(own)}/artifacts")
    page.get_by_text("figures", exact=True).click()
    page.get_by_text("confusion_matrix.png", exact=True).click()
    with page.expect_download() as download:
        page.locator("[data-component-id*='artifactview']").last.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_model_is_registered_once_more_and_its_version_deleted(page, own):
    def versions() -> list[int]:
        return [each for (each,) in rows(own.root, "SELECT version FROM model_versions ORDER BY version")]

    before = versions()
    visit(page, own, f"/experiments/{own.experiment}/models/{model(own)}")
    press(page, "Register model")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").first.click()
    page.get_by_text("retrace").last.click()
    with expect_answer(page, "/model-versions/create"):
        dialog.get_by_role("button", name="Register", exact=True).click()
    assert versions() == [*before, before[-1] + 1]
    visit(page, own, f"/models/retrace/versions/{before[-1] + 1}")
    page.get_by_test_id("overflow-menu-trigger").click()
    page.get_by_role("menuitem", name="Delete").click()
    with expect_answer(page, "/model-versions/delete"):
        dialog.get_by_role("button", name="Delete").click()
    assert set(rows(own.root, "SELECT version FROM model_versions WHERE current_stage != 'Deleted_Internal'")) == {
        (version,) for version in before
    }


def test_a_version_is_described_tagged_named_and_compared(page, own):
    visit(page, own, "/models/retrace/versions/1")
    press(page, "Edit")
    page.get_by_role("textbox").first.fill("words of mine")
    with expect_answer(page, "/model-versions/update"):
        press(page, "Save")
    page.get_by_placeholder("Name").fill("mine")
    page.get_by_placeholder("Value").fill("yes")
    with expect_answer(page, "/model-versions/set-tag"):
        page.get_by_role("button", name="Add", exact=True).last.click()
    press(page, "Add")
    page.get_by_role("dialog").get_by_role("combobox").click()
    page.keyboard.type("mine")
    page.keyboard.press("Enter")
    with expect_answer(page, "/registered-models/alias"):
        page.get_by_role("button", name="Save").last.click()
    assert rows(own.root, "SELECT description FROM model_versions WHERE version = 1") == [("words of mine",)]
    assert rows(own.root, "SELECT value FROM model_version_tags WHERE version = 1 AND key = 'mine'") == [("yes",)]
    assert ("mine", 1) in rows(own.root, "SELECT alias, version FROM registered_model_aliases")
    page.goto(f"{own.base}/#/models/retrace")
    for index in (1, 2):
        page.get_by_role("checkbox").nth(index).check(force=True)
    page.get_by_role("button", name="Compare").last.click()
    expect(page.get_by_text("Comparing 2 Versions")).to_be_visible()


def test_a_run_is_deleted(page, own):
    page.goto(own.link)
    page.locator(".ag-row[row-index='3'] .ag-checkbox-input").check(force=True)
    press(page, "Delete")
    with expect_answer(page, "/runs/delete"):
        press(page, "Delete selected")
    deleted = "SELECT COUNT(*) FROM runs WHERE lifecycle_stage = 'deleted'"
    assert rows(own.root, deleted) == [(1,)]


def test_it_is_no_tracking_server_and_a_page_creates_no_run(page, own):
    """The reasons stand in retrace/cli/ui_server.py; the page says so where its button is pressed."""
    page.goto(own.link)
    for last in ("runs/create", "experiments/create", "experiments/delete"):
        for api in ("api", "ajax-api"):
            path = f"/{api}/2.0/mlflow/{last}"
            status = page.request.post(own.base + path, data={"experiment_id": own.experiment, "name": "x"}).status
            assert status == 404, path
    assert rows(own.root, "SELECT lifecycle_stage FROM experiments WHERE name = 'retrace'") == [("active",)]
