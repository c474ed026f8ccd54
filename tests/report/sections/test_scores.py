from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Bars, Charts, Heat
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.scores import scores_section

from .. import fake
from .find import blocks, table


def test_distributions_and_means(inputs, config):
    section = scores_section(inputs, config)
    (charts,) = blocks(section, Charts)
    assert [c.title for c in charts.charts] == ["scene understanding", "fine-grained recognition", "rhyme"]
    column = fake.scores()[:, 0]
    assert charts.charts[0].note == f"mean {column.mean():.2f}, {100 * (column >= 3).mean():.1f} % ≥ 3"
    assert charts.charts[2].svg.count("<rect") == 2  # only zeros and ones


def test_means_by_source(inputs, config):
    (heat,) = blocks(scores_section(inputs, config), Heat)
    rows = dict(heat.rows)
    assert [c.shown for c in rows["scenes (8)"]] == [f"{m:.1f}" for m in fake.scores()[0::3].mean(axis=0)]


def test_main_styles_are_counted_once_a_sample(inputs, config):
    (bars,) = blocks(scores_section(inputs, config), Bars)
    assert [(b.label, b.shown) for b in bars.rows] == [("coordinate", "8 · 33.3 %"), ("yes/no", "8 · 33.3 %")]


def test_samples_that_could_not_be_scored_are_named(tmp_path, config):
    workdir = Workdir(tmp_path)
    fake.add_scores(workdir)
    reject = {"id": "s99", "source": "charts", "reason": "too_large", "detail": "9 pixels too many"}
    files.write_jsonl(workdir.scores / "rejects.jsonl", [reject])
    section = scores_section(read_inputs(workdir, "x"), config)
    assert table(section, "Could not be scored").rows == [("too large", "1", "s99", "9 pixels too many")]
