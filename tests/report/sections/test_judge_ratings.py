from mmssr_jax.core import files, tables
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Cards, Fold, Heat, KeyFigures, Note
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.judge_ratings import disputed, judge_section

from .. import fake
from .find import blocks, table


def test_counts_and_agreement(inputs, config):
    section = judge_section(inputs, config, {})
    (facts,) = blocks(section, KeyFigures)
    assert [(f.label, f.value) for f in facts.facts] == [
        ("judged samples", "11"), ("ratings", "15"), ("cost", "$1.50"), ("agreement", "0.50"),
    ]  # fmt: skip
    agreement = table(section, "Agreement on 4 samples rated twice")
    assert agreement.rows[0] == ("scene understanding", "0.50", "–", "0.25")
    assert agreement.rows[-1] == ("mean", "0.50", "–", "0.25")
    assert section.missing == []


def test_ratings_are_the_histograms(inputs, config):
    (ratings,) = blocks(judge_section(inputs, config, {}), Heat)
    assert [name for name, _ in ratings.rows] == ["scene understanding", "fine-grained recognition", "rhyme"]
    assert [c.shown for c in ratings.rows[0][1]] == ["6", "2", "1", "1", "1", "0"]
    assert ratings.rows[0][1][0].hint == "54.5 %"


def test_disagreements_name_what_differs(inputs, config):
    wanted = disputed(inputs)
    assert wanted == [fake.IDS[-1]]
    section = judge_section(inputs, config, {i: fake.sample(i) for i in wanted})
    folds = {f.summary: f for f in blocks(section, Fold)}
    (card,) = folds["The 1 samples with the largest disagreement"].blocks[0].cards
    assert (card.sample, card.source, card.tags) == (fake.IDS[-1], "scenes", ["2 points apart"])
    assert card.why == "scene understanding 1 → 3"
    assert len(card.images) == 1
    assert card.turns[1] == ("assistant", f"It is {fake.HOSTILE} & more.")
    gone = judge_section(inputs, config, {})
    assert "no longer in the pool" in blocks(gone, Cards)[0].cards[0].turns[0][1]


def test_styles_and_reasons_of_both_judges_are_told(tmp_path, config):
    workdir = Workdir(tmp_path)
    result = fake.judge_result()
    (d,) = result["agreement"][0]["disagreements"]
    d["second"] = {**d["first"], "styles": ["coordinate"], "rationale": "a point is asked for"}
    files.write_json(workdir.results("judge"), result)
    (cards,) = blocks(judge_section(read_inputs(workdir, "x"), config, {}), Cards)
    assert cards.cards[0].why == "styles yes/no → coordinate; second judge: a point is asked for"


def test_the_estimate_stands_beside_the_ledger(tmp_path, config):
    workdir = Workdir(tmp_path)
    used = {"prompt_tokens": 3000, "completion_tokens": 150}
    estimate = {"prompt_tokens": 2000, "completion_tokens": 300, "usd": 2.0, "prices_date": "2026-08"}
    files.write_json(workdir.results("judge"), {**fake.judge_result(), "usage": used, "estimate": estimate})
    found = table(judge_section(read_inputs(workdir, "x"), config, {}), "Estimate and ledger")
    assert found.rows == [
        ("prompt tokens", "2,000", "3,000", "× 1.50"),
        ("answer tokens", "300", "150", "× 0.50"),
        ("US dollars", "2.00", "1.50", "× 0.75"),
    ]
    assert "Prices as of 2026-08" in found.note


def test_without_repeats_it_says_so(tmp_path, config):
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("judge"), {**fake.judge_result(), "agreement": []})
    section = judge_section(read_inputs(workdir, "x"), config, {})
    assert "no sample was rated twice" in section.missing[0]
    assert not [n for n in blocks(section, Note) if "repeats" in n.text]


def test_ratings_are_read_in_the_order_of_the_judgments(tmp_path, config):
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("judge"), fake.judge_result())
    columns = tables.judgment_schema(("rhyme", "scene_understanding", "fine_grained_recognition"))
    files.write_parquet(workdir.judge / "judgments.parquet", columns.empty_table())
    folds = {f.summary: f for f in blocks(judge_section(read_inputs(workdir, "x"), config, {}), Fold)}
    assert folds["The 1 samples with the largest disagreement"].blocks[0].cards[0].why == "rhyme 1 → 3"
