"""Speed of the VLM's forward pass and training step, compared with PyTorch on the same shapes in one run.

    pip install -e .[bench]
    python benchmarks/model_speed.py --shape=d896                (2 threads, float32, CPU)
    python benchmarks/model_speed.py --shape=llava_ov_7b --torch=false --dtype=bfloat16     (on a GPU or TPU)

Every row has one image view, text around it, and a loss at `--targets` positions. PyTorch runs transformers' class with
random weights of the same dimensions (sdpa attention), eager and compiled. Runs are interleaved, so that other load on
the machine affects all alike. Prints one JSON line: the seconds of the fastest of `--repeats` runs, and the ratios
torch / ours, above 1 where ours is faster. `tflops` counts matrix products, backward = 2 forward.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import Any

from absl import app, flags
from flops import forward_flops

_SHAPE = flags.DEFINE_string("shape", "d896", "d896 (4 + 4 layers of width 896) or a preset")
_ROWS = flags.DEFINE_integer("rows", 2, "sequences in a batch", lower_bound=1)
_TEXT = flags.DEFINE_integer("text", 128, "text tokens of a sequence", lower_bound=4)
_TARGETS = flags.DEFINE_integer("targets", 16, "positions with a loss", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed runs; the fastest counts", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "CPU threads of both frameworks", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ("float32", "bfloat16"), "dtype of matrix products")
_TORCH = flags.DEFINE_bool("torch", True, "also run PyTorch, eager and compiled")
_VOCAB = 8192


Runs = dict[str, Callable[[], Any]]


def fastest(runs: Runs, repeats: int) -> dict[str, float]:
    """Seconds of each function's fastest run, after one warm-up; functions must block until their result is ready."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def shape_config(name: str, dtype: str) -> Any:
    """The config of a `--shape`."""
    from mmssr_jax.models import presets
    from mmssr_jax.models.config import DecoderConfig, VisionConfig, VLMConfig

    if name != "d896":
        config = presets.preset(name, vocab=_VOCAB if name == "tiny" else None)
    else:
        vision = VisionConfig(224, 14, width=896, depth=4, heads=14, mlp=3584, final_norm=True)
        config = VLMConfig(vision, DecoderConfig(_VOCAB, width=896, depth=4, heads=14, kv_heads=2, mlp=4864))
    return dataclasses.replace(config, dtype=dtype, remat="minimal")


def batch_arrays(config: Any, *, rows: int, text: int, targets: int) -> dict[str, Any]:
    """Inputs for both frameworks: text, one image with its newline, text."""
    import numpy as np

    rng = np.random.default_rng(0)
    T = config.image_tokens
    L = text + T + 1
    tokens = rng.integers(3, 1000, (rows, L)).astype(np.int32)
    index = np.full((rows, L), -1, np.int32)
    first = text // 2
    index[:, first : first + T] = 1 + np.arange(rows * T).reshape(rows, T)
    index[:, first + T] = 0
    size = config.vision.image_size
    return {
        "tokens": tokens,
        "image_index": index,
        "pixels": rng.normal(size=(rows, size, size, 3)).astype(np.float32),
        "loss_position": np.tile(np.arange(L - targets - 1, L - 1, dtype=np.int32), (rows, 1)),
        "loss_target": rng.integers(3, 1000, (rows, targets)).astype(np.int32),
    }


def our_runs(config: Any, arrays: dict[str, Any]) -> tuple[Runs, float]:
    """Our forward pass and training step, and the seconds to compile both."""
    import jax
    import numpy as np
    import optax
    from flax import nnx

    from mmssr_jax.data.batch import Batch
    from mmssr_jax.models import module_params
    from mmssr_jax.models.vlm import VLM
    from mmssr_jax.training.losses import read_logits
    from mmssr_jax.training.step import make_step

    rows, L = arrays["tokens"].shape
    positions = np.tile(np.arange(L, dtype=np.int32), (rows, 1))
    weight = np.ones(arrays["loss_target"].shape, np.float32)
    pixels = ((np.clip(arrays["pixels"], -2, 2) + 2) * 63).astype(np.uint8)
    batch = jax.device_put(
        Batch(
            arrays["tokens"], positions, np.full_like(positions, L), arrays["image_index"], pixels,
            arrays["loss_position"], arrays["loss_target"], weight,
        )
    )  # fmt: skip
    graphdef, _ = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    params = jax.jit(lambda: module_params.split(VLM(config, rngs=nnx.Rngs(0)))[1])()
    tx = optax.adamw(1e-5)
    carry = [params, jax.jit(tx.init)(params)]
    start = time.perf_counter()
    forward = jax.jit(lambda p, b: read_logits(module_params.merge(graphdef, p), b)).lower(params, batch).compile()
    step = jax.jit(make_step(graphdef, tx), donate_argnums=(0, 1))
    compiled = step.lower(*carry, batch).compile()
    seconds = time.perf_counter() - start

    def train() -> None:
        carry[0], carry[1], metrics = compiled(*carry, batch)
        jax.block_until_ready((carry, metrics))

    # The step donates its parameters, so the forward pass uses those of the last step.
    return {"forward": lambda: jax.block_until_ready(forward(carry[0], batch)), "step": train}, seconds


def torch_runs(config: Any, arrays: dict[str, Any], *, compiled: bool) -> Runs:
    """Transformers' forward pass and training step."""
    import torch
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    from mmssr_jax.convert.read_config import LlavaConfig
    from mmssr_jax.convert.write_config import to_hf
    from mmssr_jax.images.anyres import AnyresSpec

    torch.set_num_threads(_THREADS.value)
    image_token = 1
    vision = dataclasses.replace(config.vision, final_norm=True)
    spec = AnyresSpec(vision.image_size, vision.patch_size)
    values = to_hf(LlavaConfig(dataclasses.replace(config, vision=vision), spec, image_token))
    model = LlavaOnevisionForConditionalGeneration(LlavaOnevisionConfig(**values)).train()
    trunk = torch.compile(model.model) if compiled else model.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    tokens = torch.tensor(arrays["tokens"]).long()
    tokens[torch.tensor(arrays["image_index"] >= 0)] = image_token
    rows, size = len(tokens), vision.image_size
    inputs = {
        "input_ids": tokens,
        "pixel_values": torch.tensor(arrays["pixels"].transpose(0, 3, 1, 2)[:, None].copy()),
        "image_sizes": torch.tensor([[size, size]] * rows),
        "batch_num_images": torch.tensor([max(rows, 2)]),  # more than one image: no tiles
    }
    at, target = torch.tensor(arrays["loss_position"]).long(), torch.tensor(arrays["loss_target"]).long()

    def logits() -> Any:
        hidden = trunk(**inputs, use_cache=False).last_hidden_state
        return model.lm_head(torch.take_along_dim(hidden, at[..., None], dim=1))

    def forward() -> None:
        with torch.no_grad():
            logits()

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(logits().flatten(0, 1).float(), target.flatten()).backward()
        optimizer.step()

    return {"forward": forward, "step": train}


def main(_: list[str]) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _THREADS.value])
    import jax
    from flax import nnx

    from mmssr_jax.models import module_params
    from mmssr_jax.models.vlm import VLM

    config = shape_config(_SHAPE.value, _DTYPE.value)
    sizes = {"rows": _ROWS.value, "targets": _TARGETS.value}
    arrays = batch_arrays(config, text=_TEXT.value, **sizes)
    length = arrays["tokens"].shape[1]
    _, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    flops = forward_flops(config, params, length=length, **sizes)
    ours, compile_s = our_runs(config, arrays)
    baselines = {"torch_eager": False, "torch_compiled": True} if _TORCH.value else {}
    all_runs = {"ours": ours} | {name: torch_runs(config, arrays, compiled=c) for name, c in baselines.items()}
    best = fastest(
        {f"{who} {what}": run for who, runs in all_runs.items() for what, run in runs.items()}, _REPEATS.value
    )
    seconds = {who: {what: best[f"{who} {what}"] for what in ours} for who in all_runs}
    result: dict[str, Any] = {
        "shape": _SHAPE.value, "backend": jax.default_backend(), "dtype": _DTYPE.value, "length": length, **sizes,
        **seconds, "compile_s": compile_s,
        "tflops": {"forward": flops / best["ours forward"] / 1e12, "step": 3 * flops / best["ours step"] / 1e12},
        "ratio": {who: {what: seconds[who][what] / seconds["ours"][what] for what in ours} for who in baselines},
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
