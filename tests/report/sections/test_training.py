import re

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Charts, Table
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.training import is_loss, metric_files, read_curves, training_section

from .find import blocks


def test_losses_are_drawn_and_the_rest_listed(inputs, config):
    section = training_section(inputs, config)
    (charts,) = blocks(section, Charts)
    assert charts.series == ["loss"]
    assert [c.title for c in charts.charts] == ["sft-0"]
    assert charts.charts[0].note == "loss 4 at step 1, 0.4 at step 10"
    (values,) = blocks(section, Table)
    assert values.rows == [("sft-0", "accuracy", "10", "1"), ("sft-0", "loss", "10", "0.4")]


def test_all_runs_have_one_scale(tmp_path, config):
    workdir = Workdir(tmp_path)
    for run, losses in (("a", [8.0, 4.0]), ("b", [0.5, 0.4])):
        rows = [{"step": s, "name": "loss", "value": v} for s, v in enumerate(losses, 1)]
        files.write_jsonl(workdir.metrics(run), rows)
    (charts,) = blocks(training_section(read_inputs(workdir, "x"), config), Charts)
    ticks = [re.findall(r'class="end"[^>]*>([^<]*)<', c.svg) for c in charts.charts]
    assert ticks[0] == ticks[1]
    assert (float(ticks[0][0]), float(ticks[0][-1])) == (0.2, 10.0)
    assert [c.svg.count("<circle") for c in charts.charts] == [2, 2]  # every point


def test_timings_and_the_log_of_stages_are_not_metrics(workdir):
    (path,) = metric_files(workdir.root)
    assert path.stem == "sft-0"
    assert list(read_curves(path)) == ["accuracy", "loss"]


def test_what_is_a_loss():
    assert [n for n in ("loss", "eval/loss", "z_loss", "lossless", "accuracy") if is_loss(n)] == [
        "loss", "eval/loss", "z_loss",
    ]  # fmt: skip
