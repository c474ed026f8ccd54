"""Scoring in 16 bits on a GPU, for benchmarks/scoring.py: samples/s and share of the peak."""

from __future__ import annotations

import statistics
from typing import Any

# Dense bfloat16 TFLOP/s of NVIDIA's data sheets, by a substring of the device's name.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "RTX 4090": 165, "V100": 125}
SHAPES = {"llava_ov_0_5b": (8, 16, 32), "llava_ov_7b": (4, 8, 16)}
REPEATS = 5


def measure(*, text: int) -> dict[str, Any]:
    """For each shape samples/s, TFLOP/s and share of peak at the best batch size; without a GPU, what would run."""
    import jax

    if jax.default_backend() != "gpu":
        plan = [f"{name} in bfloat16, rows {', '.join(map(str, rows))}" for name, rows in SHAPES.items()]
        return {"would_run": plan, "reports": ["samples_per_s", "tflops", "share_of_peak", "tree_over_prefix"]}
    kind = jax.devices()[0].device_kind
    peak = next((p for part, p in PEAKS.items() if part in kind), None)
    return {"device": kind} | {name: _shape(name, rows, text, peak) for name, rows in SHAPES.items()}


def _shape(name: str, row_counts: tuple[int, ...], text: int, peak: int | None) -> dict[str, Any]:
    from flops import forward_flops
    from scoring_parts import compiled, questions, random_params, ratio, rounds, sample_batch, shape_config

    config = shape_config(name, 0, "bfloat16")
    graphdef, params = random_params(config)
    tree = questions("all").tree
    best: dict[str, Any] = {}
    for rows in row_counts:
        batch = sample_batch(config, rows=rows, text=text)
        seconds = rounds(compiled(config, graphdef, params, batch, names=("prefix", "tree")), REPEATS)
        length = batch.tokens.shape[1] + len(tree.tokens)
        flops = forward_flops(config, params, rows=rows, length=length, targets=len(tree.leaves))
        tflops = flops / statistics.median(seconds["tree"]) / 1e12
        if tflops > best.get("tflops", 0):
            best = {
                "rows": rows, "samples_per_s": round(rows / statistics.median(seconds["tree"]), 2),
                "tflops": round(tflops, 1), "share_of_peak": round(tflops / peak, 3) if peak else None,
                "tree_over_prefix": ratio(seconds["tree"], seconds["prefix"]),
            }  # fmt: skip
    return best
