"""The page of a result in headless Chromium: no request, read without mouse or eyes, on paper, on a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from retrace.report.result_page import result_page
from tests.browser.browser import NAMES, installed
from tests.conftest import PARAMS
from tests.made_results import SHAPES, made, section

A4 = {"width": 680, "height": 960}  # what its margins leave, in pixels
PHONE = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """Shape of a result -> address of its page."""
    if installed() is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed (.ci/run installs chromium)")
    found = {}
    for index, shape in enumerate(SHAPES):
        folder: Path = tmp_path_factory.mktemp("pages") / f"{index}"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            Path("params.yaml").write_text(PARAMS)
            (folder / "report.html").write_text(result_page(made(shape), section()), "utf-8")
        found[shape] = (folder / "report.html").as_uri()
    return found


@pytest.fixture
def page(pages, browser: Browser) -> Iterator[Page]:
    """It says nothing on the console, and asks for nothing but itself."""
    opened, said, asked = browser.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    opened.close()
    assert said == []
    assert set(asked) <= set(pages.values())


def plot(page: Page, index: int) -> Locator:
    return page.locator(".plot").nth(index)


def tip(page: Page, index: int) -> Locator:
    return page.locator(".tip").nth(index)


def column(page: Page, table: Locator, index: int) -> list[str]:
    return table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{index}].innerText.trim())")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_is_shut_out(pages, page, shape, scheme):
    """By axe-core: names, roles, contrast, order of headings and what else a program can see."""
    page.emulate_media(color_scheme=scheme)
    page.goto(pages[shape])
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)"
    )
    for summary in page.locator("summary").all():
        summary.click()
    # The light of a selection fades, and colours in between have too little contrast.
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_table_is_sorted_by_keys(pages, page):
    page.goto(pages["as it should be"])
    table = page.get_by_role("table").filter(has_text="on the same test rows")
    first, accuracy = table.get_by_role("columnheader").nth(0), table.get_by_role("columnheader").nth(1)
    expect(accuracy).not_to_have_attribute("aria-sort", "ascending")
    accuracy.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(accuracy).to_have_attribute("aria-sort", "ascending")
    assert column(page, table, 1) == ["0.5000", "0.8500", "0.9000", "0.9500"]
    page.keyboard.press("Space")
    expect(accuracy).to_have_attribute("aria-sort", "descending")
    assert column(page, table, 1) == ["0.9500", "0.9000", "0.8500", "0.5000"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-sort", "ascending")
    assert accuracy.get_attribute("aria-sort") is None
    assert column(page, table, 0) == ["Bayes limit", "gradient boosting", "logistic regression", "majority"]


def test_numbers_are_sorted_as_numbers_and_dashes_stay_last(pages, page):
    page.goto(pages["a long training"])
    for summary in page.locator("summary").all():
        summary.click()
    losses = page.get_by_role("table").filter(has=page.get_by_role("button", name="epoch", exact=True))
    losses.get_by_role("button", name="epoch").click()
    epochs = [int(each.replace(",", "")) for each in column(page, losses, 0)]
    assert epochs == sorted(epochs)
    assert epochs[-1] == 2000
    replicas = page.get_by_role("table").filter(has_text="replicas' mean")
    seeds = replicas.get_by_role("button", name="luck of the seed")
    seeds.click()
    seeds.click()
    assert set(column(page, replicas, 5)) == {"-"}
    values = page.get_by_role("table").filter(has=page.get_by_role("button", name="classifier"))
    values.get_by_role("button", name="from").click()
    below = column(page, values, 2)
    known = [float(each) for each in below if each != "-"]
    assert known == sorted(known)
    assert below[len(known) :] == ["-"] * (len(below) - len(known)) != []


def test_values_are_read_under_the_pointer(pages, page):
    page.goto(pages["as it should be"])
    expect(tip(page, 0)).to_be_hidden()
    network = plot(page, 0).locator("[data-tip^='this network']")
    network.locator(".dot").hover()
    expect(tip(page, 0)).to_have_text("this network: 0.9000 (0.7985 to 0.9534)")
    box, figure = tip(page, 0).bounding_box(), page.locator("figure").first.bounding_box()
    dot = network.locator(".dot").bounding_box()
    assert box
    assert figure
    assert dot
    assert figure["x"] <= box["x"] <= dot["x"] <= box["x"] + box["width"] <= figure["x"] + figure["width"] + 1
    assert box["y"] + box["height"] <= dot["y"]
    page.mouse.move(5, 5)
    expect(tip(page, 0)).to_be_hidden()


def test_values_are_read_by_keys_alone(pages, page):
    """In each chart from the first to the last one; the page does not move meanwhile."""
    page.goto(pages["as it should be"])
    for index in range(page.locator(".plot").count()):
        plot(page, index).focus()
        tips = plot(page, index).locator("[data-tip]").evaluate_all("marks => marks.map(each => each.dataset.tip)")
        assert tips
        top = page.evaluate("scrollY")
        page.keyboard.press("ArrowRight")
        expect(tip(page, index)).to_have_text(tips[0])
        expect(plot(page, index).locator(".on")).to_have_count(1)
        page.keyboard.press("End")
        expect(tip(page, index)).to_have_text(tips[-1])
        page.keyboard.press("ArrowDown")
        expect(tip(page, index)).to_have_text(tips[-1])
        page.keyboard.press("Home")
        expect(tip(page, index)).to_have_text(tips[0])
        assert page.evaluate("scrollY") == top
        page.keyboard.press("Escape")
        expect(tip(page, index)).to_be_hidden()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
        expect(tip(page, index)).to_be_hidden()


def test_what_has_the_focus_is_seen(pages, page):
    page.goto(pages["as it should be"])
    for _ in range(30):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid", page.evaluate("document.activeElement.outerHTML")[:200]


@pytest.mark.parametrize("shape", SHAPES)
def test_on_a_phone_nothing_but_tables_and_charts_scrolls_sideways(pages, page, shape):
    page.set_viewport_size(PHONE)
    page.goto(pages[shape])
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    beyond = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.wide, .plot') && e.scrollWidth > 321)"
    assert page.evaluate(f"{beyond}.map(each => each.outerHTML.slice(0, 200))") == []


@pytest.mark.parametrize("shape", SHAPES)
def test_on_paper_nothing_is_cut_off(pages, page, shape, tmp_path):
    page.set_viewport_size(A4)
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(pages[shape])
    wide = "[...document.querySelectorAll('table, svg, p, li')].filter(e => e.getBoundingClientRect().right > 681)"
    assert page.evaluate(f"{wide}.map(each => each.outerHTML.slice(0, 300))") == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator("nav")).to_be_hidden()
    page.pdf(path=tmp_path / "page.pdf", format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"))
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_without_its_script_all_of_it_is_there(pages, browser):
    """Some who show a mailed page let no script run: what it would do is not promised then."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["as it should be"])
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("heading", name="Where it is wrong")).to_be_visible()
    page.locator("summary").first.click()
    expect(page.get_by_role("columnheader", name="classifier")).to_be_visible()
    context.close()


def test_no_other_script_runs(pages, browser, tmp_path):
    """The policy, not only the escaping: one that got into the page would not run."""
    source = Path(pages["as it should be"].removeprefix("file://")).read_text("utf-8")
    (tmp_path / "page.html").write_text(source.replace("</main>", "<script>document.title = 'run'</script></main>"))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page).not_to_have_title("run")
    page.close()
