"""What a person sees in MLflow after `make ui`, in headless Chromium, over four real runs (conftest.py)."""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from retrace.cli import ui

DIFFERING = {
    "train.activation": ["tanh", "relu", "relu", "relu"],
    "train.epochs": ["3", "3", "5", "3"],
    "train.hidden": ["[10]", "[4]", "[4]", "[10]"],
}
CARD = "experiment-view-compare-runs-card"
# The titles of the table's columns from left to right, and its rows: title of the column -> text.
TABLE = """() => {
    const heads = [...document.querySelectorAll('.ag-header-cell')]
    heads.sort((one, other) => one.getBoundingClientRect().x - other.getBoundingClientRect().x)
    const titles = Object.fromEntries(heads.map(head => [head.getAttribute('col-id'), head.innerText.trim()]))
    const rows = {}
    for (const cell of document.querySelectorAll('.ag-row .ag-cell')) {
        const row = rows[cell.closest('.ag-row').getAttribute('row-index')] ??= {}
        row[titles[cell.getAttribute('col-id')]] = (cell.querySelector('a') ?? cell).innerText.trim()
    }
    return [heads.map(head => head.innerText.trim()).filter(title => title), Object.values(rows)]
}"""

# The texts of which a part is cut off and replaced by dots.
CUT_OFF = """cells => cells.filter(cell => [...cell.querySelectorAll('*')].some(part =>
    part.scrollWidth > part.clientWidth && getComputedStyle(part).textOverflow === 'ellipsis'
)).map(cell => cell.innerText)"""


def head(page: Page, title: str) -> Locator:
    return page.locator(".ag-header-cell").filter(has_text=title)


def names(page: Page) -> Locator:
    """The links to the runs, the newest first."""
    return page.locator(".ag-row [col-id*='Run Name'] a")


def open_table(page: Page, link: str) -> None:
    page.goto(link)
    expect(names(page)).to_have_count(4)


def open_run(page: Page, link: str, index: int) -> None:
    open_table(page, link)
    names(page).nth(index).click()
    expect(page.get_by_text("About this run")).to_be_visible()


def expect_curves(card: Locator, count: int) -> None:
    """The chart holds so many different curves, each really drawn."""
    # MLflow draws each twice.
    curves = card.locator(".scatterlayer .trace path.js-line")
    expect(curves).to_have_count(2 * count)
    drawn = curves.evaluate_all("paths => paths.map(path => [path.getAttribute('d'), path.getTotalLength()])")
    assert len({curve for curve, _ in drawn}) == count, drawn
    assert min(length for _, length in drawn) > 50, drawn


def expect_picture(image: Locator) -> None:
    expect(image).to_be_visible()
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth") > 200


def test_the_link_opens_a_table_of_what_tells_the_runs_apart(page, link, project):
    open_table(page, link)
    expect(head(page, [*DIFFERING][-1])).to_be_visible()
    heads, rows = page.evaluate(TABLE)
    assert heads == ["Run Name", "Created", "Duration", *ui.METRICS, *DIFFERING]
    for row, recorded in zip(rows, reversed(project.runs), strict=True):
        assert [said for said in recorded.said if said not in row["Run Name"]] == []
        assert f"{recorded.accuracy:.4f}" in row["Run Name"]
        assert float(row["test/accuracy"]) == pytest.approx(recorded.accuracy, abs=1e-6)
        assert float(row["test/accuracy_low"]) < recorded.accuracy
    assert len({row["Run Name"] for row in rows}) == 4
    assert {key: [row[key] for row in rows] for key in DIFFERING} == DIFFERING
    assert page.locator(".ag-row [col-id*='Run Name']").evaluate_all(CUT_OFF) == []


def test_nothing_but_the_runs_greets_a_newcomer(page, link):
    open_table(page, link)
    for banner in ("You're viewing a shared view", "MLflow Assistant", "gateway"):
        expect(page.get_by_text(banner).locator("visible=true")).to_have_count(0)
    assert "token" not in page.url
    cookie = next(cookie for cookie in page.context.cookies() if cookie["name"].startswith("retrace-ui-"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert page.evaluate("document.cookie") == ""


def test_a_persons_own_columns_are_one_click_away_and_the_view_stays_in_the_list(page, link):
    open_table(page, link)
    column = head(page, next(iter(DIFFERING)))
    expect(column).to_be_visible()
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_test_id("saved-views-discard-active").click()
    expect(column).to_have_count(0)
    expect(head(page, "Source")).to_be_visible()
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_text(ui.VIEW_NAME).click()
    expect(column).to_be_visible()


def test_the_charts_of_all_runs_begin_with_the_curves(page, link):
    page.goto(f"{link}&compareRunsMode=CHART")
    cards = page.get_by_test_id(CARD)
    expect(cards.first).to_contain_text("train/loss")
    expect_curves(cards.first, 4)


def test_the_figures_of_several_runs_stand_side_by_side(page, link):
    page.goto(f"{link}&compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill("no metric has this name")
    card = page.get_by_test_id(CARD).filter(has_text="confusion_matrix")
    pictures = card.locator("img")
    expect(pictures).to_have_count(4)
    for index in range(4):
        expect_picture(pictures.nth(index))
    assert len(set(pictures.evaluate_all("images => images.map(image => image.src)"))) == 4
    first, second = (pictures.nth(index).bounding_box() for index in (0, 1))
    assert abs(first["y"] - second["y"]) < first["height"] / 2
    assert first["x"] + first["width"] <= second["x"]


def test_a_run_shows_its_loss_curves(page, link):
    open_run(page, link, 0)
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("(train|validation)/loss$")
    # The search leaves figures alone.
    cards = page.get_by_test_id(CARD).filter(has_text=re.compile("^loss"))
    expect(cards).to_have_count(2)
    for index, group in enumerate(("train", "validation")):
        expect(page.get_by_text(group, exact=True)).to_be_visible()
        expect(cards.nth(index)).to_contain_text("loss")
        expect_curves(cards.nth(index), 1)


def test_a_run_shows_its_confusion_matrix_in_its_description_and_among_its_files(page, link, project):
    open_run(page, link, 0)
    page.get_by_role("button", name="Expand description").click()
    expect(page.get_by_text(f"Test accuracy {project.runs[-1].accuracy:.4f}")).to_be_visible()
    expect_picture(page.locator("img[src*='confusion_matrix.png']"))
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("figures", exact=True).click()
    page.get_by_text("confusion_matrix.png", exact=True).click()
    expect_picture(page.locator("img[src^='blob:']").first)


def test_a_run_leads_to_the_page_of_its_result_which_works_there(page, link, project):
    open_run(page, link, 0)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="The report").click()
    inside = opened.value.frame_locator("iframe")
    expect(inside.get_by_role("heading", name="How good, and how sure")).to_be_visible()
    assert f"Right on {100 * project.runs[-1].accuracy:.1f}%" in inside.locator(".lead").inner_text()
    expect(inside.get_by_text("This copy was made at commit")).to_be_visible()
    accuracy = inside.get_by_role("columnheader", name="accuracy").first
    accuracy.get_by_role("button").click()
    expect(accuracy).to_have_attribute("aria-sort", "ascending")


def test_a_run_leads_to_its_model_with_signature_and_example(page, link):
    open_run(page, link, 0)
    page.locator("a[href$='#/models/retrace/versions/4']").filter(has_text="v4").first.click()
    expect(page.get_by_role("heading", name="Version 4")).to_be_visible()
    expect(page.get_by_text("Not champion")).to_be_visible()
    for side in ("Inputs (2)", "Outputs (3)"):
        page.get_by_text(side).click()
    for column in ("x1", "x2", "label", "probability_outer", "probability_inner"):
        expect(page.get_by_role("row").filter(has_text=column)).to_contain_text(
            {"label": "string", "x1": "any", "x2": "any"}.get(column, "double")
        )
    page.get_by_role("link", name="classifier").click()
    page.get_by_role("link", name="Artifacts", exact=True).click()
    page.get_by_text("input_example.json", exact=True).click()
    example = page.locator("pre, code").filter(has_text="columns").first
    expect(example).to_be_visible()
    content = json.loads(example.inner_text())
    assert content["columns"] == ["x1", "x2"]
    assert len(content["data"]) >= 2


def test_two_runs_side_by_side_show_what_differs_and_the_curves_of_both(page, link, project):
    open_table(page, link)
    for index in (1, 2):
        page.locator(f".ag-row[row-index='{index}'] .ag-checkbox-input").check(force=True)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Comparing 2 Runs")).to_be_visible()
    page.get_by_role("switch", name="Parameters - Show diff only").click()
    parameters = page.get_by_role("table").filter(has_text="train.epochs")
    expect(parameters.get_by_role("row")).to_have_count(1)
    assert parameters.inner_text().split() == ["train.epochs", "3", "5"]
    page.get_by_role("switch", name="Metrics - Show diff only").click()
    accuracy = metric(page, "test/accuracy")
    top = accuracy.evaluate("link => link.parentElement.style.top")
    values = (
        page.get_by_role("grid")
        .last.locator("div", has_not=page.locator("div"))
        .evaluate_all(
            "(cells, top) => cells.filter(cell => cell.closest(`[style*='top: ${top}']`)).map(cell => cell.innerText)",
            top,
        )
    )
    assert [float(value) for value in values] == pytest.approx([run.accuracy for run in project.runs[2:0:-1]], abs=1e-3)
    # A script's click: the list of metrics draws its lines anew under the mouse.
    metric(page, "train/loss").evaluate("link => link.click()")
    expect_curves(page.get_by_test_id(CARD), 2)


def metric(page: Page, key: str) -> Locator:
    """The metric's line in the list of a comparison, which holds no more than what is in sight."""
    link = page.get_by_role("link", name=key, exact=True)
    grid = page.get_by_role("grid").last
    for top in range(0, 10_000, 150):
        grid.evaluate("(grid, top) => new Promise(done => { grid.scrollTop = top; setTimeout(done, 50) })", top)
        if link.count():
            return link
    raise AssertionError(f"no {key} among the metrics")
