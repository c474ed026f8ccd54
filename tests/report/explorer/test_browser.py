"""The explorer in a real browser: filters, sorting, the detail view, the address, the keyboard."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.report.explorer.entries import explorer_data
from mmssr_jax.report.explorer.section import Explorer
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.render import render

from .. import fake

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the PATH")


def add_categories(workdir):
    """Results of the comparison's runs by category, so that the page has its widest chart, the radar."""
    categories = {f"a category with a long name {i}": {"value": 10.0 * i, "n": 20} for i in range(5)}
    entry = {"metric": "accuracy", "value": 20.0, "percent": 20.0, "n": 100, "interval": [10.0, 30.0]}
    for run in [run for group in fake.comparison()["groups"].values() for run in group["runs"]]:
        result = {"run": run, "benchmarks": {"quiz": {**entry, "categories": categories}}}
        files.write_json(workdir.results(run), result)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    workdir = fake.build(folder / "run")
    add_categories(workdir)
    inputs = read_inputs(workdir, "tiny")
    reasons = {"mmssr": [f"<i>reason {i}</i>" for i in range(fake.N)]}
    data = explorer_data(inputs, ReportConfig(), np.arange(fake.N), [fake.sample(i) for i in fake.IDS], reasons)
    (folder / "index.html").write_text(render(inputs, ReportConfig(), {}, Explorer(data, "All.")), encoding="utf-8")
    return f"file://{folder}/index.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        launched = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser, url):
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(f"a script of the data ran: {dialog.message}"))
    page.goto(url)
    yield page
    assert problems == []
    page.close()


def ids(page):
    return [text.split(" · ")[0] for text in page.locator("#explorer .results .id").all_inner_texts()]


def choose(page, **fields):
    for name, value in fields.items():
        control = page.locator(f"#explorer [name={name}]")
        control.select_option(value) if control.evaluate("e => e.tagName") == "SELECT" else control.fill(value)


def test_everything_is_listed_in_pool_order(page):
    assert ids(page) == list(fake.IDS)
    assert page.locator(".matches").inner_text() == "24 of 24 samples"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"q": "s07"}, ["s07"]),
        ({"q": "S07 WHAT"}, ["s07"]),
        ({"q": "onerror"}, [fake.IDS[-1]]),
        ({"source": "charts"}, ["s01", "s04", "s07", "s10", "s13", "s16", "s19", "s22"]),
        ({"style": "coordinate", "source": "charts"}, ["s01", "s04", "s07", "s10", "s13", "s16", "s19", "s22"]),
        ({"style": "coordinate", "source": "scenes"}, []),
        ({"selection": "picked"}, ["s00", "s05", "s09", "s21", "s22"]),
        ({"selection": "in:mmssr"}, ["s00", "s21", "s22"]),
        ({"selection": "out:mmssr", "q": "s0"}, [f"s{i:02d}" for i in range(1, 10)]),
        ({"capability": "scene_understanding", "low": "4.4"}, ["s00", "s01", "s02"]),
        ({"capability": "scene_understanding", "low": "4.3", "high": "4.5"}, ["s02"]),
        ({"selection": "in:mmssr", "sort": "pick:mmssr"}, ["s00", "s22", "s21"]),
        ({"capability": "fine_grained_recognition", "low": "4.3", "sort": "high"}, [fake.IDS[-1], "s22"]),
        ({"capability": "scene_understanding", "low": "4.4", "sort": "low"}, ["s02", "s01", "s00"]),
    ],
)
def test_filters_and_sorting(page, fields, expected):
    choose(page, **fields)
    assert ids(page) == expected


def test_the_table_and_the_rejects(page):
    choose(page, view="table", q="s07")
    assert page.locator("#explorer tbody tr").all_inner_texts()[0].split("\t")[:2] == ["s07", "charts"]
    choose(page, q="", kind="rejected:missing_image")
    assert [row.split("\t")[0] for row in page.locator("#explorer tbody tr").all_inner_texts()] == ["bad1", "bad2"]
    assert "2 of 3 rejected records" in page.locator(".matches").inner_text()


def test_the_detail_view_and_the_keyboard(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    choose(page, q="s0", sort="")
    page.locator("#explorer button.open").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.sample")
    assert dialog.locator("h3").inner_text() == "s01"
    assert "What is <b>s01</b>?" in dialog.inner_text()
    assert "<i>reason 1</i>" in dialog.inner_text()  # text, not markup
    assert "scene understanding" in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h3").inner_text() == "s02"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("h3").inner_text() == "s00"
    page.keyboard.press("Escape")
    assert not dialog.evaluate("d => d.open")
    assert page.evaluate("document.activeElement.className") == "open"


def test_the_address_holds_the_state(page, browser, url):
    choose(page, q="s0", selection="in:mmssr")
    page.locator("#explorer button.open").first.click()
    shared = browser.new_page()
    shared.goto(page.url)
    assert ids(shared) == ["s00"]
    assert shared.locator("dialog.sample h3").inner_text() == "s00"
    shared.close()


def test_back_undoes_a_filter(page):
    choose(page, source="charts")
    choose(page, selection="in:mmssr")
    assert ids(page) == ["s22"]
    page.go_back()
    assert len(ids(page)) == 8
    page.go_back()
    assert len(ids(page)) == 24


def test_an_unknown_id_in_the_address_is_stated(browser, url):
    page = browser.new_page()
    page.goto(f"{url}#explorer?id=elsewhere")
    assert "elsewhere is not among the samples on this page" in page.locator(".matches").inner_text()
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_part_of_the_page_is_wider_than_the_screen(browser, url, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(url)
    assert page.locator(".charts.full svg").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
