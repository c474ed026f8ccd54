import re
from html.parser import HTMLParser

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.render import render
from mmssr_jax.report.sections import gallery

from . import fake

CONFIG = ReportConfig(per_capability=2, lowest=3)
VOID = {"meta", "img", "rect", "line", "circle", "polyline"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects tags, attributes and text by section."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.sections, self.text = [], set(), [], [], {}
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *a) for a in attrs]
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        where = self.sections[-1] if "section" in self.open else "top"
        self.text[where] = self.text.get(where, "") + data


@pytest.fixture(scope="module")
def html(workdir):
    read = read_inputs(workdir, "tiny & <b>bold</b>")
    return render(read, CONFIG, {s.id: fake.sample(s.id) for s in gallery.choose(read, CONFIG)})


def test_sections_in_order(html):
    assert Page(html).sections == [
        "pool", "judge", "scores", "scorer", "selections", "downstream", "training", "gallery", "times",
    ]  # fmt: skip


def test_text_of_the_data_cannot_become_markup(html):
    page = Page(html)
    assert not page.tags & {"script", "iframe", "link", "object", "form"}
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert fake.HOSTILE in page.text["pool"]  # it is there, as text
    assert fake.IDS[-1] in page.text["judge"]
    assert "tiny & <b>bold</b>" in page.text["top"]


def test_nothing_is_loaded_from_anywhere(html):
    page = Page(html)
    assert all(value.startswith("data:image/jpeg;base64,") for _, name, value in page.attributes if name == "src")
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert "url(" not in html
    assert "@import" not in html
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_equal_artefacts_equal_bytes_but_for_the_times(workdir, tmp_path, html):
    again = fake.build(tmp_path / "elsewhere")
    stages = again.metrics("stages")
    stages.write_text(stages.read_text().replace("65.0", "99.0"))
    metrics = again.metrics("sft-0")
    metrics.write_text(re.sub(r'"time": \d+\.\d', '"time": 5.0', metrics.read_text()).replace("77.125", "78.5"))
    read = read_inputs(again, "tiny & <b>bold</b>")
    other = render(read, CONFIG, {s.id: fake.sample(s.id) for s in gallery.choose(read, CONFIG)})
    assert other != html
    assert _without_times(other) == _without_times(html)


def _without_times(html):
    return re.sub(r'<section id="times"[^>]*>.*?</section>', "", html, flags=re.DOTALL)


def test_an_empty_workdir_says_what_is_missing(tmp_path):
    page = Page(render(read_inputs(Workdir(tmp_path), "empty"), CONFIG, {}))
    for section, words in {
        "pool": "No pool yet", "judge": "No judgments yet", "scores": "No scores yet", "scorer": "Not measured yet",
        "selections": "Nothing selected yet", "downstream": "Nothing evaluated yet", "training": "Nothing trained yet",
        "gallery": "needs scores", "times": "No stage has been timed yet",
    }.items():  # fmt: skip
        assert words in page.text[section]
    assert "table" not in page.tags


def test_headlines_stand_at_the_top(html):
    top = Page(html).text["top"]
    assert "pool24" in top
    assert "mmssr over random+5.00" in top


def test_conclusions_and_alarms_stand_at_the_top(tmp_path):
    workdir = fake.build(tmp_path / "run")
    files.write_json(workdir.results("scorer"), fake.scorer_result())
    html = render(read_inputs(workdir, "tiny"), CONFIG, {})
    top = Page(html).text["top"]
    assert "worse than 1 of 1 trivial predictors" in top
    assert "significantly higher" in top
    assert 'class="bad"><dt>scorer concordance</dt>' in html
