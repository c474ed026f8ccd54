import pytest

from mmssr_jax.models.presets import preset
from mmssr_jax.planning.config import PlanConfig
from mmssr_jax.planning.devices import parse_devices
from mmssr_jax.planning.estimate import TREE_TOKENS, estimates
from mmssr_jax.planning.model_cost import ModelCost, model_cost
from mmssr_jax.planning.trial import Measured
from mmssr_jax.planning.workload import Workload

COST = ModelCost(parameters=1_000_000_000, forward_token=2e9, forward_view=1e12, view_tokens=740)
WORK = Workload(
    samples=1_000_000, judged=2_000, scorer_tokens=10_000_000, train_tokens=20_000_000, phases=3, selections=4,
    capabilities=14,
)  # fmt: skip
STAGES = ("ingest", "judge", "train_scorer", "score", "select", "train", "evaluate", "report")


def plan(devices: str, measured=None, **settings):
    config = PlanConfig(devices=devices, trial="trial", **settings)
    kind = parse_devices(devices)
    found = estimates(STAGES, WORK, config, kind, COST, measured or {}, "adamw", 4)
    return {e.stage: e for e in found}


def test_times_from_flops():
    found = plan("v5e-8", utilisation=0.5, text_tokens=150.0, views=1.0)
    peak = 8 * 197e12 * 0.5
    assert found["score"].seconds == pytest.approx(1e6 * ((150 + 740 + TREE_TOKENS) * 2e9 + 1e12) / peak)
    # a view for each 890 positions, backward counted twice
    assert found["train"].seconds == pytest.approx(3 * 20e6 * (2e9 + 1e12 / 890) / peak)
    assert found["train"].basis == "computed, assumed 50% of the peak"
    assert found["select"].seconds == pytest.approx(4.0)
    assert found["judge"].seconds is None
    assert list(found) == ["ingest", "judge", "train_scorer", "score", "select", "train"]


def test_memory_and_disk():
    found = plan("v5e-8")
    assert found["score"].device_gib == pytest.approx(2e9 / 4 / 2**30)
    assert found["train"].device_gib == pytest.approx(16e9 / 4 / 2**30)  # parameters, gradients, two moments
    assert found["train"].disk_gib == pytest.approx(3 * 12e9 / 2**30)
    assert found["score"].disk_gib == pytest.approx(1e6 * (14 * 4 + 64) / 2**30)
    assert found["judge"].disk_gib == pytest.approx(2000 * 1000 / 2**30)
    assert found["ingest"].device_gib is None


def test_a_trial_is_scaled_by_the_work_and_the_devices():
    measured = {"score": Measured(seconds=100.0, work=4_000, peak_mib=900), "ingest": Measured(8.0, 4_000, 300)}
    found = plan("cpu:8", measured, trial_devices=2)
    assert found["score"].seconds == pytest.approx(100 / 4000 * 1e6 / 4)
    assert found["score"].basis == "measured in trial, assumed 4 times as fast"
    assert found["ingest"].seconds == pytest.approx(2000)  # one process ingests, whatever the devices
    assert found["ingest"].basis == "measured in trial"
    once = {"score": Measured(seconds=100.0, work=4_000, peak_mib=900, once=60.0)}
    assert plan("cpu:8", once, trial_devices=2)["score"].seconds == pytest.approx(60 + 40 / 4000 * 1e6 / 4)
    assert found["train"].seconds is None
    assert "config.plan.trial" in found["train"].basis


def test_a_line_says_what_is_measured_and_what_assumed():
    line = plan("v5e-8")["score"].line()
    assert line.startswith("score         1,000,000 samples; ")
    assert line.endswith(
        "(computed, assumed 40% of the peak); 0.5 GiB a device (computed, no activations); 0.11 GiB of disk"
    )


def test_the_cost_of_a_model_follows_its_parameters():
    cost = model_cost(preset("llava_ov_0_5b"), length=1024)
    assert 0.89e9 < cost.parameters < 0.90e9
    # decoder: 24 layers of width 896, q and o 896 x 896, k and v 896 x 128, three products with 4,864; two FLOPs a
    # multiplication; causal attention against 512 positions on average, keys and values; biases and norms are left out
    layers = 24 * (2 * 896 * 896 + 2 * 896 * 128 + 3 * 896 * 4864)
    assert cost.forward_token == pytest.approx(2 * (layers + 24 * 896 * 1024), rel=0.01)
    assert cost.view_tokens == 729
