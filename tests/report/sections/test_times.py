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
