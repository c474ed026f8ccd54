import dataclasses

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.sections.times import times_section

from .find import table


def test_attempts_of_a_stage_are_added_up_and_skips_left_out(inputs):
    assert table(times_section(inputs), "").rows == [
        ("ingest", "done", "3.2 s", "400 MiB", "–"),
        ("score", "done", "2 min 5 s", "1,500 MiB", "–"),
        ("all", "", "2 min 8 s", "", ""),
    ]


def test_timed_metrics_stand_here(inputs):
    assert table(times_section(inputs), "Training").rows == [("sft-0", "input_wait_s", "77.125")]


def test_the_seconds_of_every_selection(inputs, tmp_path):
    inputs = dataclasses.replace(inputs, workdir=Workdir(tmp_path))
    rows = {"a": {"method": "random", "samples": 1200, "seconds": 0.25}}
    rows["b"] = {"method": "e5v", "samples": 3, "seconds": None}
    files.write_json(inputs.workdir.results("selections"), {"selections": rows, "names": ["a", "b"], "jaccard": []})
    found = table(times_section(inputs), "Selections").rows
    assert found == [("a", "random", "1,200", "0.250"), ("b", "e5v", "3", "–")]
