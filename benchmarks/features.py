"""Cost of each kind of features relative to one forward pass; prints one JSON line.

    python benchmarks/features.py                  (LLaVA-OneVision's 0.5B shape, all 24 layers, one row; 12 GiB)
    python benchmarks/features.py --layers=4                                                     (minutes on two cores)

Shapes are those of benchmarks/scoring.py: one view (729 tokens and a newline), `--text` tokens of conversation of which
a third is the answer, random weights. A plain pass is tower, connector, decoder, and logits at the last position.
Programs alternate for `--repeats` rounds; a ratio is the median of the rounds' ratios. On CPUs the time is that of all
threads of the process, which hardly depends on what else the machine does; on other devices it is the clock's.

| key | meaning |
| --- | --- |
| over_forward | kind -> its cost for one sample / a plain pass; of a kind with two sequences a sample, both |
| seconds | the medians in seconds, `forward` among them |

attention_outputs (COINCIDE) reads every fourth layer as published, first_layer (ScalSelect) runs tower and one layer;
attention_spectrum (XMAS) is per checkpoint; gradients (ICONS) are of LoRA adapters of rank `--rank`, projected to
`--dimensions`. Comparisons with target samples (RDS+, ICONS) are products of small matrices on the host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags
from scoring_parts import random_params, ratio, sample_batch, shape_config

_LAYERS = flags.DEFINE_integer("layers", 0, "layers of decoder and tower at 0.5B shape; 0 is all 24 and 26")
_ROWS = flags.DEFINE_integer("rows", 1, "samples in a batch", lower_bound=1)
_TEXT = flags.DEFINE_integer("text", 150, "text tokens of a sample", lower_bound=4)
_REPEATS = flags.DEFINE_integer("repeats", 3, "rounds", lower_bound=1)
_RANK = flags.DEFINE_integer("rank", 128, "of the adapters that gradients are of", lower_bound=1)
_DIMENSIONS = flags.DEFINE_integer("dimensions", 5120, "of the projected gradients", lower_bound=1)
_KINDS = flags.DEFINE_list("kinds", [], "the kinds; all by default")
_THREADS = flags.DEFINE_integer("threads", 2, "CPU threads", lower_bound=1)


def kinds(depth: int) -> dict[str, Any]:
    """The kinds of features that a vision-language model of `depth` layers computes."""
    from mmssr_jax.scoring.feature_kinds import (
        activations,
        attention_outputs,
        attention_spectrum,
        embedding,
        first_layer,
        gradients,
        likelihood,
        question_losses,
        weighted_states,
    )

    fourth = tuple(range(3, depth - 1, 4)) or (depth - 1,)
    return {
        "activations": activations.FEATURE(layers=fourth),
        "attention_outputs": attention_outputs.FEATURE(layers=fourth),
        "attention_spectrum": attention_spectrum.FEATURE(),
        "embedding": embedding.FEATURE(),
        "first_layer": first_layer.FEATURE(),
        "likelihood": likelihood.FEATURE(),
        "question_losses": question_losses.FEATURE(),
        "weighted_states": weighted_states.FEATURE(),
        "gradients": gradients.FEATURE(adapters="", dimensions=_DIMENSIONS.value),
    }


def without_image(batch: Any) -> Any:
    """The batch as the kind `likelihood` reads it a second time: its text alone."""
    import numpy as np

    text = np.flatnonzero(np.asarray(batch.image_index[0]) < 0)
    cut = {name: getattr(batch, name)[:, text] for name in ("tokens", "image_index")}
    length = np.full_like(cut["tokens"], len(text))
    positions = np.tile(np.arange(len(text), dtype=np.int32), (len(length), 1))
    loss_position = np.maximum(batch.loss_position - (batch.tokens.shape[1] - len(text)), 0)
    return dataclasses.replace(
        batch, **cut, positions=positions, visible_until=length, pixels=batch.pixels[:0], loss_position=loss_position
    )


def adapted(config: Any, params: Any) -> Any:
    """Structure and parameters of the model with adapters on all projections of the decoder."""
    from flax import nnx

    from mmssr_jax.models.module_params import abstract
    from mmssr_jax.models.vlm import VLM
    from mmssr_jax.training.bundle import ModelBundle
    from mmssr_jax.training.lora import LoraConfig, adapt

    graphdef, _ = abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    bundle = ModelBundle(config, None, graphdef, params)  # type: ignore[arg-type]
    bundle = adapt(bundle, LoraConfig(rank=_RANK.value, alpha=2.0 * _RANK.value), seed=0)
    return bundle.graphdef, bundle.params


def program(function: Callable[..., Any], params: Any, batches: Sequence[Any]) -> Callable[[], Any]:
    """The compiled function, run on each batch."""
    import jax

    devices = [jax.device_put(batch) for batch in batches]
    compiled = [jax.jit(function).lower(params, batch).compile() for batch in devices]
    return lambda: jax.block_until_ready([run(params, b) for run, b in zip(compiled, devices, strict=True)])


def rounds(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each program in each round, after one warm-up round."""
    import jax

    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for n in range(repeats + 1):
        for name, run in programs.items():
            begin = clock()
            run()
            if n:
                seconds[name].append(clock() - begin)
    return seconds


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _THREADS.value])
    from mmssr_jax.models.module_params import merge

    config = shape_config("llava_ov_0_5b", _LAYERS.value, "float32")
    graphdef, params = random_params(config)
    batch = sample_batch(config, rows=_ROWS.value, text=_TEXT.value, answer=_TEXT.value // 3)
    second = {"likelihood": without_image(batch), "question_losses": batch}

    def forward(params: Any, batch: Any) -> Any:
        model = merge(graphdef, params)
        hidden = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        return model.logits(hidden[:, -1])

    programs = {"forward": program(forward, params, [batch])}
    for name, kind in kinds(config.decoder.depth).items():
        if _KINDS.value and name not in _KINDS.value:
            continue
        graph, leaves = adapted(config, params) if name == "gradients" else (graphdef, params)
        batches = [batch, second[name]] if name in second else [batch]
        programs[name] = program(lambda p, b, kind=kind, graph=graph: kind.compute(graph, p, b), leaves, batches)
    seconds = rounds(programs, _REPEATS.value)
    print(
        json.dumps(
            {
                "over_forward": {n: ratio(s, seconds["forward"]) for n, s in seconds.items() if n != "forward"},
                "seconds": {n: round(statistics.median(s), 3) for n, s in seconds.items()},
                "tokens": batch.tokens.shape[1], "layers": [config.decoder.depth, config.vision.depth],
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
