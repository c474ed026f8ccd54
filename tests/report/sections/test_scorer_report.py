import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Heat, KeyFigures, Note, Table, Tracks
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.sections.scorer_report import scorer_section
from mmssr_jax.scoring import quality

from .. import fake
from .find import blocks, table


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (40, 3)).astype(float)
    truth[:, 2] = 0
    scores = np.clip(truth + rng.normal(0, 0.5, truth.shape), 0, 5)
    scores[:, 2] = 1.0
    styles = [["yes/no"] if i % 2 else ["coordinate"] for i in range(40)]
    return quality.scorer_report(
        scores, truth, slugs=fake.SLUGS, truth_kind="synthetic", resamples=20, styles=styles, true_styles=styles,
        baselines={"ngram_ridge": truth + 0.1, "blind": rng.normal(size=truth.shape)},
        counterfactual=quality.Counterfactual(
            scores, scores - 0.5, ["blank", "swapped"] * 20, np.ones_like(scores, bool)
        ),
        digit_mass=np.full(40, 0.9),
    )  # fmt: skip


@pytest.fixture(scope="module")
def section(report, tmp_path_factory):
    workdir = Workdir(tmp_path_factory.mktemp("scorer"))
    files.write_json(workdir.results("scorer"), report)
    return scorer_section(read_inputs(workdir, "x"), ReportConfig())


def test_concordance_stands_beside_the_trivial_predictors(section, report):
    rows = table(section, "Comparison with trivial predictors").rows
    assert rows[0] == ("scorer", f"{report['concordance']:.3f}", "", "")
    assert [r[0] for r in rows] == ["scorer", "same scorer, blank image", "ridge on character n-grams"]
    assert rows[2][1] == "1.000"


def test_a_scorer_that_is_beaten_and_degenerate_scores_raise_alarms(section):
    alarms = [n.text for n in blocks(section, Note) if n.tone == "alarm"]
    assert alarms[0].startswith("rhyme: the scores carry no information (constant: all scores are 1.000)")
    assert alarms[1].startswith("Trivial predictors that rank better than the scorer: ridge on character n-grams (−0.")
    assert len(alarms) == 2


def test_dots_stand_at_their_value(section, report):
    (tracks,) = blocks(section, Tracks)
    (low, high) = (float(tracks.ticks[0][1]), float(tracks.ticks[-1][1]))
    assert high == 1
    row = tracks.rows[0]
    assert row.label == "scene understanding"
    mine = next(d for d in row.dots if d.series == 0)
    value = report["capabilities"]["scene_understanding"]["concordance"]
    assert low + mine.place * (1 - low) == pytest.approx(value, abs=1e-6)
    assert tracks.rows[2].dots == []  # nothing to order


def test_spearman_only_beside_its_ceiling(section, report):
    every = table(section, "All metrics")
    rank = report["capabilities"]["scene_understanding"]["spearman"]
    assert every.rows[0][4] == f"{rank['value']:.2f} of {rank['ceiling']:.2f}"
    assert "Spearman" not in " ".join(f"{t.header}" for t in blocks(section, Table) if t is not every)


def test_confusions_hold_every_sample(section, report):
    small = [h for h in blocks(section, Heat) if h.small]
    assert [h.title for h in small] == ["scene understanding", "fine-grained recognition", "rhyme"]
    assert sum(int(c.shown or 0) for _, cells in small[0].rows for c in cells) == 40


def test_counterfactual_and_styles(section):
    assert table(section, "Same text, another image").rows[0] == ("all", "40", "100.0 %", "0.50")
    assert table(section, "Styles").rows[-1] == ("macro", "40", "", "", "1.00")


def test_a_concordance_below_a_trivial_predictor_is_an_alarm_at_the_top(section, report):
    (tile,) = [f for f in blocks(section, KeyFigures)[0].facts if f.label == "concordance"]
    assert section.headline.tone == "bad"
    assert tile.tone == "bad"
    assert section.headline.note.endswith("; below trivial predictors")
    assert [(n.tone, n.text) for n in section.summary] == [
        (
            "alarm",
            "The scorer ranks samples worse than 1 of 2 trivial predictors: concordance "
            f"{report['concordance']:.3f}; the best trivial predictor is ridge on character n-grams, 1.000.",
        )
    ]


def test_a_concordance_above_every_trivial_predictor_is_a_finding(report, tmp_path):
    files.write_json(
        tmp_path / "results" / "scorer.json", {**report, "baselines": {"blind": report["baselines"]["blind"]}}
    )
    section = scorer_section(read_inputs(Workdir(tmp_path), "x"), ReportConfig())
    assert section.headline.tone == "good"
    (note,) = section.summary
    assert note.tone == "finding"
    assert note.text.startswith("The scorer ranks samples better than the best trivial predictor: concordance 0.")


def test_the_first_screen_is_of_the_calibrated_scores(report, tmp_path):
    """The expected scores, which they are compared with too, are no trivial predictor."""
    better = dict(report["baselines"]["ngram_ridge"], gap=0.1, gap_interval=[0.05, 0.15], concordance=0.7)
    raw = dict(better, gap=-0.2, gap_interval=[-0.3, -0.1])
    calibrated = {**report, "concordance": 0.8, "concordance_interval": [0.75, 0.85]}
    both = {**report, "calibrated": {**calibrated, "baselines": {"ngram_ridge": better, "raw": raw}}}
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("scorer"), both)
    section = scorer_section(read_inputs(workdir, "x"), ReportConfig())
    assert (section.headline.value, section.headline.note, section.headline.tone) == (
        "0.800", "calibrated; 95 %: 0.750 to 0.850", "good",
    )  # fmt: skip
    (note,) = section.summary
    assert note.text.startswith("The scorer, calibrated, ranks samples better than the best trivial predictor: ")
