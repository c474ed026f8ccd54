from mmssr_jax.core import files, tables
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Facts, Fold, Heat, Note
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.judge import judge_section

from .. import fake
from .find import blocks, table


def test_counts_and_agreement(inputs, config):
    section = judge_section(inputs, config)
    (facts,) = blocks(section, Facts)
    assert [(f.label, f.value) for f in facts.facts] == [
        ("judged samples", "11"), ("ratings", "15"), ("cost", "$1.50"), ("agreement", "0.50"),
    ]  # fmt: skip
    agreement = table(section, "Agreement on 4 samples rated twice")
    assert agreement.rows[0] == ("scene understanding", "0.50", "–", "0.25")
    assert agreement.rows[-1] == ("mean", "0.50", "–", "0.25")
    assert section.missing == []


def test_ratings_are_the_histograms(inputs, config):
    (ratings,) = blocks(judge_section(inputs, config), Heat)
    assert [name for name, _ in ratings.rows] == ["scene understanding", "fine-grained recognition", "rhyme"]
    assert [c.shown for c in ratings.rows[0][1]] == ["6", "2", "1", "1", "1", "0"]
    assert ratings.rows[0][1][0].hint == "54.5 %"


def test_disagreements_name_what_differs(inputs, config):
    folds = {f.summary: f for f in blocks(judge_section(inputs, config), Fold)}
    row = folds["The 1 samples they differ on most"].blocks[0].rows[0]
    assert row == (fake.IDS[-1], "2", "scene understanding 1 → 3", "")


def test_without_repeats_it_says_so(tmp_path, config):
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("judge"), {**fake.judge_result(), "agreement": []})
    section = judge_section(read_inputs(workdir, "x"), config)
    assert "no sample was rated twice" in section.missing[0]
    assert not [n for n in blocks(section, Note) if "repeats" in n.text]


def test_ratings_are_read_in_the_order_of_the_judgments(tmp_path, config):
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("judge"), fake.judge_result())
    columns = tables.judgment_schema(("rhyme", "scene_understanding", "fine_grained_recognition"))
    files.write_parquet(workdir.judge / "judgments.parquet", columns.empty_table())
    folds = {f.summary: f for f in blocks(judge_section(read_inputs(workdir, "x"), config), Fold)}
    assert folds["The 1 samples they differ on most"].blocks[0].rows[0][2] == "rhyme 1 → 3"
