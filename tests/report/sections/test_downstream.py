import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Note, Tracks
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.downstream import downstream_section, verdict

from .. import fake
from .find import blocks, table


def test_the_gain_is_said_with_its_spread(inputs, config):
    section = downstream_section(inputs, config)
    (sentence,) = [n.text for n in blocks(section, Note)]
    assert sentence == (
        "mmssr reaches 51.00, random 46.00 (quiz): a difference of +5.00, standard error 1.25 over 2 and 2 seeds, "
        "single pairs of runs from +2.00 to +8.00: higher."
    )
    assert section.headline.value == "+5.00"


def test_every_seed_is_a_dot(inputs, config):
    (tracks,) = blocks(downstream_section(inputs, config), Tracks)
    assert [(r.label, [d.shown for d in r.dots], r.shown) for r in tracks.rows] == [
        ("mmssr", ["50.00", "52.00"], "51.00 ± 1.41"),
        ("random", ["44.00", "48.00"], "46.00 ± 2.83"),
    ]
    places = [d.place for r in tracks.rows for d in r.dots]
    assert places[2] == min(places)
    assert places[1] == max(places)
    assert 0 <= min(places) <= max(places) <= 1


def test_tables_equal_the_files(inputs, config):
    section = downstream_section(inputs, config)
    assert table(section, "Difference from random").rows == [
        ("mmssr", "quiz", "+5.00", "1.25", "+2.00 to +8.00", "0.50 to 9.50", "higher")
    ]
    assert table(section, "Every run").rows == [("sft-0", "47.12 (40.00 to 54.00)")]
    assert table(section, "Trained on each selection").rows[0] == ("mmssr", "2", "51.00 ± 1.41", "1 of 1")


@pytest.mark.parametrize(
    ("mean", "error", "interval", "expected"),
    [
        (5, 1, [1, 9], "higher"),
        (-5, 1, [-9, -1], "lower"),
        (5, 3, [1, 9], "within the spread"),
        (5, 1, [-1, 9], "within the spread"),
        (5, 1, None, "higher"),
        (5, None, [1, 9], "one seed: cannot be told from chance"),
    ],
)
def test_verdict_needs_seeds_and_questions(mean, error, interval, expected):
    difference = {"mean": mean, "standard_error": error} | ({"interval": interval} if interval else {})
    assert verdict(difference) == expected


def test_runs_without_a_comparison(tmp_path, config):
    workdir = Workdir(tmp_path)
    fake.add_runs(workdir)
    files.write_json(workdir.results("scorer"), {"n": 1})
    section = downstream_section(read_inputs(workdir, "x"), config)
    assert "No comparison over seeds yet" in section.missing[0]
    assert len(table(section, "Every run").rows) == 1
    assert section.headline is None
