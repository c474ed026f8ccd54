"""Training speed: one step compared with PyTorch on the same shapes, and the whole loop with packing and input.

    pip install -e .[bench]
    python benchmarks/training.py                                                (2 threads, float32, CPU)
    python benchmarks/training.py --preset=llava_ov_7b --dtype=bfloat16 --torch=false --loop=false    (on a GPU)

Prints one JSON line. `step` is that of benchmarks/model_speed.py: seconds of the fastest of --repeats interleaved
steps, and the ratios torch / ours, above 1 if ours is faster (goal: at least 0.9 for both). `loop` trains the preset
`tiny` on a generated pool and reports, without the first steps, which compile: tokens per second, `packing` (fraction
of the token positions that are not padding), `input_wait_share` (fraction of the time spent waiting for input), FLOPs
per second, and `flop_utilisation` if the device's peak is known. FLOPs are those of the model, padding included.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import model_speed
from absl import app, flags

_PRESET = flags.DEFINE_string("preset", "tiny", "shape of the step: d896 or a preset of models.presets")
_LOOP = flags.DEFINE_bool("loop", True, "also run the loop")
_STEPS = flags.DEFINE_integer("steps", 60, "of the loop", lower_bound=20)
_LOG_EVERY = 10


def time_step() -> dict[str, Any]:
    """Times the training step, ours and PyTorch's."""
    import jax

    from mmssr_jax.training.throughput import peak_tflops

    values = flags.FLAGS
    config = model_speed.shape_config(_PRESET.value, values.dtype)
    sizes = {"rows": values.rows, "targets": values.targets}
    arrays = model_speed.batch_arrays(config, text=values.text, **sizes)
    ours, _ = model_speed.our_runs(config, arrays)
    rivals = {"torch_eager": False, "torch_compiled": True} if values.torch else {}
    racers = {"ours": ours["step"]}
    racers |= {name: model_speed.torch_runs(config, arrays, compiled=c)["step"] for name, c in rivals.items()}
    best = model_speed.fastest(racers, values.repeats)
    result: dict[str, Any] = {"shape": _PRESET.value, "dtype": values.dtype, **sizes}
    result |= {f"{name}_s": seconds for name, seconds in best.items()}
    result |= {f"ratio_{name}": best[name] / best["ours"] for name in rivals}
    result["tflops"] = _flops(config, arrays) / best["ours"] / 1e12
    peak = peak_tflops(jax.devices()[0].device_kind)
    result["flop_utilisation"] = result["tflops"] / peak if peak is not None else None
    return result


def _flops(config: Any, arrays: dict[str, Any]) -> float:
    """FLOPs of the step: matrix products, the backward pass counts twice the forward pass."""
    from flax import nnx
    from flops import forward_flops

    from mmssr_jax.models import module_params
    from mmssr_jax.models.vlm import VLM

    _, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    rows, length = arrays["tokens"].shape
    return 3 * forward_flops(config, params, rows=rows, length=length, targets=arrays["loss_target"].shape[1])


def run_loop(workdir: Path) -> dict[str, float]:
    """Runs the stages `ingest` and `pretrain` on a generated pool; means of the metrics after compilation."""
    from mmssr_jax import main
    from mmssr_jax.core.metric_writer import read_metrics
    from mmssr_jax.core.stage import StageContext
    from mmssr_jax.core.workdir import Workdir

    phase = {"steps": _STEPS.value, "rows": 12, "length": 384, "images": 3, "targets": 256, "log_every": _LOG_EVERY}
    config = {
        "pool": {"captions": {"size": 1500, "seed": 1}, "verify_images": "header"},
        "pretrain": {"phase": phase, "preset": "tiny", "vocab_size": 1024},
    }
    context = StageContext(config=config, workdir=Workdir(workdir))
    main.run_stages(context, ("ingest", "pretrain"))
    rows = [r for r in read_metrics(workdir / "metrics" / "base.jsonl") if r["step"] > _STEPS.value // 2]
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(str(row["name"]).removeprefix("time/"), []).append(float(row["value"]))
    names = ("tokens_per_s", "packing", "input_wait_share", "tflops_per_s", "flop_utilisation", "memory_gib")
    return {name: sum(values[name]) / len(values[name]) for name in names if name in values}


def main(_: list[str]) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.FLAGS.threads])
    import jax

    result: dict[str, Any] = {"backend": jax.default_backend(), "device": jax.devices()[0].device_kind}
    result["step"] = time_step()
    if _LOOP.value:
        with tempfile.TemporaryDirectory() as folder:
            result["loop"] = run_loop(Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
