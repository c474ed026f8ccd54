from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Heat
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.selection import headline_selection, selection_section

from .. import fake
from .find import blocks, table, titled


def shown(heat):
    return {name: [c.shown for c in cells] for name, cells in heat.rows}


def test_overview_counts_and_flaws(inputs, config):
    rows = table(selection_section(inputs, config), "").rows
    assert rows == [
        ("the whole pool", "", "24", "100 %", "41.7 %", ""),
        ("mmssr", "mmssr", "3", "12.5 %", "0.0 %", "–"),
        ("random-0", "random", "3", "12.5 %", "0.0 %", "33.3 %"),
    ]


def test_shares_by_source_and_style(inputs, config):
    section = selection_section(inputs, config)
    sources = shown(titled(section, Heat, "Sources"))
    assert sources["scenes"] == ["33.3 %", "66.7 %", "66.7 %"]  # rows 0, 21 and 0, 9 of every third
    assert sources["charts"] == ["33.3 %", "33.3 %", "0.0 %"]
    styles = shown(titled(section, Heat, "Main styles"))
    assert styles["yes/no"] == ["50.0 %", "66.7 %", "100.0 %"]


def test_mean_scores_and_flaws_of_the_selection(inputs, config):
    section = selection_section(inputs, config)
    means = shown(titled(section, Heat, "Mean score"))
    expected = fake.scores()[[0, 21, 22], 1].mean()
    assert means["fine-grained recognition"][1] == f"{expected:.2f}"
    flaws = shown(titled(section, Heat, "Flawed samples"))
    assert flaws["any flaw"] == ["41.7 %", "0.0 %", "0.0 %"]


def test_rounds_of_the_reasoned_selection_only(inputs, config):
    rounds = [h for h in blocks(selection_section(inputs, config), Heat) if h.columns[0] == "all"]
    assert len(rounds) == 1
    assert shown(rounds[0]) == {
        "fine-grained recognition": ["2", "1", "1"], "scene understanding": ["1", "1", ""],
    }  # fmt: skip


def test_page_is_about_the_smallest_reasoned_selection(inputs):
    assert headline_selection(inputs)[0] == "mmssr"


def test_selections_alone_are_enough(tmp_path, config):
    workdir = Workdir(tmp_path)
    fake.add_selections(workdir)
    section = selection_section(read_inputs(workdir, "x"), config)
    assert "need scores" in section.missing[0]
    assert table(section, "").rows[0] == ("mmssr", "mmssr", "3", "–", "–", "–")
