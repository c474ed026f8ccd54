"""The plan of a dry run, for the shipped configs."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.planner import log_plan

PHASE = {"steps": 10, "rows": 4, "length": 100}
CONFIG = {
    "base": "base_tiny",
    "plan": {"devices": "v6e-8", "samples": 1000, "text_tokens": 36.0},
    "judge": {"backend": "oracle", "share": 0.2, "repeat_share": 0.5},
    "train_scorer": {"phase": PHASE},
    "select": {"selections": {"few": {"method": "random", "budget": {"ratio": 0.1}}}},
    "train": {
        "phases": {
            "all": {**PHASE, "steps": None, "epochs": 2.0},
            "few": {**PHASE, "steps": None, "epochs": 2.0, "selection": "few"},
            "short": {**PHASE, "steps": None, "tokens": 5000},
        }
    },
}
STAGES = ("ingest", "judge", "train_scorer", "score", "select", "train", "report")


def lines(workdir, caplog, **changes):
    log_plan(StageContext({**CONFIG, **changes}, Workdir(workdir), dry_run=True), STAGES)
    texts = [r.getMessage() for r in caplog.records if r.getMessage().startswith("plan: ")]
    return {text.split()[1]: " ".join(text.split()[2:4]) for text in texts}


def test_the_work_of_each_stage(tmp_path, caplog):
    caplog.set_level("INFO")
    found = lines(tmp_path, caplog)
    tokens = 36 + 64  # a view of base_tiny has 64 tokens
    assert found == {
        "ingest": "1,000 samples;",
        "judge": "300 ratings;",  # 200, and half of them once more
        "train_scorer": "4,000 tokens;",
        "score": "1,000 samples;",
        "select": "1,000 rows;",
        "train": f"{2 * 1000 * tokens + 2 * 100 * tokens + 5000:,} tokens;",
    }


def test_without_a_pool_the_number_of_samples_must_be_given(tmp_path, caplog):
    with pytest.raises(UserError, match=r"give --config\.plan\.samples=N"):
        lines(tmp_path, caplog, plan={"devices": "v6e-8"})


@pytest.mark.parametrize(("backend", "price"), [("openai", 1.0), ("openai_batch", 0.5)])
def test_the_price_of_the_ratings(tmp_path, caplog, backend, price):
    """300 ratings of 1,850 and 132 tokens at $2.50 and $10 a million: $1.3875 and $0.396."""
    caplog.set_level("INFO")
    lines(tmp_path, caplog, judge={**CONFIG["judge"], "backend": backend, "api": {"model": "gpt-4o"}})
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("plan: judge")]
    assert f"; ${price * 1.7835:.2f} (assumed tokens a rating, list prices); " in line
