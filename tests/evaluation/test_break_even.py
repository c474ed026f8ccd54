"""The cost of selecting against the time it saves, by hand."""

from __future__ import annotations

from mmssr_jax.evaluation.break_even import selection_cost

ALL_STAGES = {"judge", "train_scorer", "score", "select"}


def cost(training, **more):
    groups = {"mmssr": ("m_0", "m_1"), "random": ("r_0",), "full": ("f_0",)}
    needs = {"mmssr": ALL_STAGES, "random": {"select"}, "full": set()}
    stages = {"judge": 10.0, "train_scorer": 200.0, "score": 80.0, "select": 10.0}
    return selection_cost({**stages, **more}, training, groups=groups, needs=needs, full="full")


def test_a_selection_pays_after_its_cost_over_what_a_training_saves():
    """Selecting takes 300 s; a training 120 s on average instead of 720 s: half a training pays for it."""
    result = cost({"m_0": 110.0, "m_1": 130.0, "r_0": 100.0, "f_0": 720.0})
    assert result["stages"] == {"judge": 10, "train_scorer": 200, "score": 80, "select": 10}
    assert result["full"] == "full"
    assert result["groups"] == {
        "full": {"training_seconds": 720},
        "mmssr": {
            "training_seconds": 120, "selection_seconds": 300, "saved_seconds": 600,
            "share_of_full": (300 + 120) / 720, "break_even_runs": 0.5,
        },
        "random": {
            "training_seconds": 100, "selection_seconds": 10, "saved_seconds": 620,
            "share_of_full": 110 / 720, "break_even_runs": 10 / 620,
        },
    }  # fmt: skip


def test_what_saves_no_time_never_pays():
    mmssr = cost({"m_0": 720.0, "m_1": 720.0, "r_0": 1.0, "f_0": 720.0})["groups"]["mmssr"]
    assert (mmssr["saved_seconds"], mmssr["break_even_runs"]) == (0, None)
    assert mmssr["share_of_full"] == 1020 / 720


def test_unknown_times_are_null():
    result = selection_cost(
        {"select": 3.0}, {"f": 9.0}, groups={"a": ("a",), "f": ("f",)}, needs={"a": {"select", "score"}, "f": set()},
        full="f",
    )  # fmt: skip
    assert result["stages"] == {"judge": None, "train_scorer": None, "score": None, "select": 3}
    assert result["groups"]["a"] == {
        "training_seconds": None, "selection_seconds": 3, "saved_seconds": None, "share_of_full": None,
        "break_even_runs": None,
    }  # fmt: skip
