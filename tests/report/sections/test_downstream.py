import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Note, Tracks
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.downstream import downstream_section
from mmssr_jax.report.sections.significance import verdict

from .. import fake
from .find import blocks, table


def test_the_difference_is_stated_with_its_standard_error(inputs, config):
    section = downstream_section(inputs, config)
    (sentence,) = [n.text for n in blocks(section, Note)]
    assert sentence == (
        "mmssr reaches 51.00, random 46.00 (quiz): a difference of +5.00, standard error 1.25 over 2 and 2 seeds, "
        "single pairs of runs from +2.00 to +8.00: significantly higher."
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
        ("mmssr", "quiz", "+5.00", "1.25", "+2.00 to +8.00", "0.50 to 9.50", "significantly higher")
    ]
    assert table(section, "All runs").rows == [("sft-0", "47.12 (40.00 to 54.00)")]
    assert table(section, "Trained on each selection").rows[0] == (
        "mmssr",
        "2",
        "51.00 ± 1.41",
        "1 of 1, 1 significantly",
    )


def with_start(tmp_path, value=40.0):
    """The fake comparison, whose runs were trained from a start model that was evaluated."""
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("comparison"), fake.comparison())
    runs = [run for group in fake.comparison()["groups"].values() for run in group["runs"]]
    files.write_json(workdir.config, {"train": {"phases": {run: {} for run in runs}}})
    entry = {"kind": "mixed", "metric": "accuracy", "value": value, "interval": [value - 5, value + 5], "n": 9}
    result = {"run": "base", "benchmarks": {"quiz": entry}, "averages": {"all": value}}
    files.write_json(workdir.results("base"), result)
    return workdir


def test_the_start_model_stands_beside_the_groups(tmp_path, config):
    section = downstream_section(read_inputs(with_start(tmp_path), "x"), config)
    assert table(section, "Trained on each selection").rows[-1] == ("start model base", "–", "40.00", "–")
    (tracks,) = blocks(section, Tracks)
    assert [(r.label, r.shown) for r in tracks.rows][-1] == ("start model base", "40.00")
    assert "Training gained over the start model base" in " ".join(n.text for n in blocks(section, Note))


def test_replicates_of_other_workdirs_are_shown_without_groups_here(tmp_path, config):
    workdir = Workdir(tmp_path)
    entry = {"mean": 2.0, "low": 1.0, "high": 3.0, "p": 0.01, "p_holm": 0.02, "replicates": 3}
    replicates = {
        "names": ["0", "1", "2"], "baseline": "random", "family": ["all"], "unpaired": [],
        "comparisons": {"mmssr": {"all": entry}},
    }  # fmt: skip
    empty = {"baseline": None, "full": None, "groups": {}, "differences": {}, "replicates": replicates}
    files.write_json(workdir.results("comparison"), empty)
    section = downstream_section(read_inputs(workdir, "x"), config)
    assert table(section, "Difference from random over replicates").rows[0][:4] == (
        "mmssr", "mean of all", "+2.00", "1.00 to 3.00",
    )  # fmt: skip
    assert not section.missing


@pytest.mark.parametrize(
    ("mean", "error", "interval", "expected"),
    [
        (5, 1, [1, 9], "significantly higher"),
        (-5, 1, [-9, -1], "significantly lower"),
        (5, 3, [1, 9], "no significant difference"),
        (5, 1, [-1, 9], "no significant difference"),
        (5, 1, None, "significantly higher"),
        (5, None, [1, 9], "one seed: significance unknown"),
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
    assert len(table(section, "All runs").rows) == 1
    assert section.headline is None


def test_a_higher_mean_is_not_called_better_where_the_difference_is_not_significant(tmp_path, config):
    workdir = Workdir(tmp_path)
    comparison = fake.comparison()
    comparison["differences"]["mmssr"]["quiz"] |= {"standard_error": 11.0}
    files.write_json(workdir.results("comparison"), comparison)
    section = downstream_section(read_inputs(workdir, "x"), config)
    assert table(section, "Trained on each selection").rows[0][-1] == "1 of 1, 0 significantly"
    assert section.headline.note == "± 11.00; no significant difference"
    assert section.summary[0].text.endswith("no significant difference.")


@pytest.mark.parametrize(
    ("start", "tone", "text"),
    [
        (
            (40.0, [38.0, 42.0]), "finding",
            "Training gained over the start model base (40.00, quiz): mmssr +11.00 (significantly higher), "
            "random +6.00 (significantly higher).",
        ),
        (
            (46.5, [43.5, 49.5]), "finding",
            "Training gained over the start model base (46.50, quiz) in 1 of 2 groups: "
            "mmssr +4.50 (significantly higher), "
            "random −0.50 (no significant difference).",
        ),
        (
            (48.0, [40.0, 56.0]), "alarm",
            "Training did not measurably gain over the start model base (48.00, quiz): "
            "mmssr +3.00 (no significant difference), random −2.00 (no significant difference).",
        ),
        (
            (60.0, [58.0, 62.0]), "alarm",
            "Training lost against the start model base (60.00, quiz): mmssr −9.00 (significantly lower), "
            "random −14.00 (significantly lower).",
        ),
    ],
)  # fmt: skip
def test_the_page_says_whether_training_gained(tmp_path, config, start, tone, text):
    workdir = trained_workdir(tmp_path)
    value, interval = start
    entry = {"metric": "accuracy", "value": value, "interval": interval, "n": 200}
    files.write_json(
        workdir.results("base"), {"run": "base", "benchmarks": {"quiz": entry}, "averages": {"all": value}}
    )
    section = downstream_section(read_inputs(workdir, "x"), config)
    assert (section.summary[-1].tone, section.summary[-1].text) == (tone, text)
    assert section.missing == []


def test_a_start_model_that_was_not_evaluated_is_named(tmp_path, config):
    section = downstream_section(read_inputs(trained_workdir(tmp_path), "x"), config)
    assert section.missing == [
        "Whether training gained is unknown: the start model base was not evaluated (config.evaluate.runs)."
    ]


def trained_workdir(folder):
    """The comparison of the fake workdir, with the training runs in the config."""
    workdir = Workdir(folder)
    comparison = fake.comparison()
    files.write_json(workdir.results("comparison"), comparison)
    runs = [run for group in comparison["groups"].values() for run in group["runs"]]
    files.write_json(workdir.config, {"train": {"phases": {run: {} for run in runs}}})
    return workdir
