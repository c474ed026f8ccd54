"""The primary endpoint and the gain split in words."""

from __future__ import annotations

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Fold, Note
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.downstream import downstream_section
from mmssr_jax.report.sections.replicate_statistics import replicate_notes

from .. import fake
from .find import blocks, table


def entry(mean, low, high, p=0.01, **more):
    return {"mean": mean, "low": low, "high": high, "p": p, "replicates": 5, **more}


PRIMARY = {"group": "mmssr", "baseline": "random", "measure": "all", "observed_deviation": 1.0}
REPLICATES = {
    "names": list("01234"), "baseline": "random", "family": ["all"], "unpaired": [],
    "comparisons": {"mmssr": {"all": entry(2.0, 1.0, 3.0, p_holm=0.02), "quiz/skills": entry(1.0, -1.0, 3.0, p=0.3)}},
    "primary": {**PRIMARY, **entry(2.0, 1.0, 3.0)},
    "split": {
        "method": "mmssr", "matched": "matched", "random": "random",
        "measures": {
            "all": {
                "gain": entry(2.0, 1.0, 3.0), "mixture": entry(1.75, 0.5, 3.0),
                "scores": entry(0.25, -0.5, 1.0, p_holm=0.6),
            }
        },
    },
}  # fmt: skip


def test_the_primary_endpoint_and_the_split_in_words():
    primary, split = [note.text for note in replicate_notes(REPLICATES)]
    assert primary == (
        "Primary endpoint, named in the config: mmssr − random on mean of all: +2.00, 95 % interval +1.00 to +3.00 "
        "over 5 replicates. The interval excludes zero: mmssr is better."
    )
    assert split == (
        "Where the gain comes from (mean of all): mmssr − random is +2.00, 95 % interval +1.00 to +3.00 over 5 "
        "replicates. The mixture of sources and styles (matched − random) contributes +1.75 (+0.50 to +3.00); the "
        "scores (mmssr − matched) contribute +0.25 (−0.50 to +1.00): not distinguishable from zero. Predicted "
        "styles count as mixture."
    )


@pytest.mark.parametrize(
    ("values", "measure", "tone", "conclusion"),
    [
        ((-2.0, -3.0, -1.0), "quiz", "finding", "mmssr is worse."),
        ((-2.0, -3.0, -1.0), "quiz/nll", "finding", "mmssr is better."),
        ((2.0, 1.0, 3.0), "quiz/nll_per_token", "finding", "mmssr is worse."),
        ((2.0, 1.0, 3.0), "quiz/acc_norm", "finding", "mmssr is better."),
        ((2.0, -1.0, 5.0), "quiz", "alarm", "The interval includes zero: no difference is shown."),
        ((2.0, None, None), "quiz", "alarm", "One replicate: the difference has no interval."),
    ],
)
def test_conclusions(values, measure, tone, conclusion):
    (note,) = replicate_notes({"primary": {**PRIMARY, **entry(*values), "measure": measure}})
    assert note.text.endswith(conclusion)
    assert note.tone == tone


def test_the_power_in_words():
    power = {"effect": 1.5, "deviation": 2.0, "power": 0.8, "replicates_needed": 16, "replicates": 5}
    (note,) = replicate_notes({"primary": {**REPLICATES["primary"], "power": power}})
    assert note.text.endswith(
        "An effect of 1.50 was to be found with probability 0.80, which takes 16 replicates at the expected deviation "
        "of 2.00; there are 5."
    )


def test_the_page_shows_them_and_the_tables(tmp_path, config):
    workdir = Workdir(tmp_path)
    files.write_json(workdir.results("comparison"), {**fake.comparison(), "replicates": REPLICATES})
    section = downstream_section(read_inputs(workdir, "x"), config)
    assert section.summary[0].text.startswith("Primary endpoint")
    assert section.summary[1].text.startswith("Where the gain comes from")
    assert {note.text for note in section.summary} <= {note.text for note in blocks(section, Note)}
    assert table(section, "Difference from random over replicates").rows == [
        ("mmssr", "mean of all", "+2.00", "1.00 to 3.00", "5", "0.010", "0.020")
    ]
    (fold,) = [b for b in blocks(section, Fold) if b.summary == "Other measures over replicates"]
    assert fold.blocks[0].rows == [("mmssr", "quiz, over skills", "+1.00", "−1.00 to 3.00", "5", "0.300")]
