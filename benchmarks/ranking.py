"""Cost of ranking the options of a question relative to one forward pass of its prompt; prints one JSON line.

    python benchmarks/ranking.py --layers=2            (2 threads, float32; a minute)
    python benchmarks/ranking.py --layers=0            (all 24 and 26 layers)

Shape of LLaVA-OneVision 0.5B: one view (729 tokens and a newline), `--text` tokens of text, random weights; `--options`
options of `--tokens` tokens each, as branches behind the prompt. A plain pass is vision tower, connector, decoder, and
logits at the prompt's last position. Compared programs alternate for `--repeats` rounds; a ratio is the median of the
rounds' ratios.

| key | meaning |
| --- | --- |
| rank_over_plain | all options in one pass / a plain pass of the prompt; at most 1.15 at the default sizes |
| separate_over_plain | each option in a pass of its own / a plain pass |
| empty_over_plain | all options behind an empty user turn of `--empty` tokens, without image / a plain pass |
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Callable
from typing import Any

from absl import app, flags
from scoring_parts import random_params, ratio, rounds, sample_batch, shape_config

_LAYERS = flags.DEFINE_integer("layers", 2, "layers of decoder and tower; 0 is all 24 and 26")
_ROWS = flags.DEFINE_integer("rows", 1, "questions in a batch", lower_bound=1)
_TEXT = flags.DEFINE_integer("text", 150, "text tokens of a prompt", lower_bound=4)
_OPTIONS = flags.DEFINE_integer("options", 4, "options of a question", lower_bound=1)
_TOKENS = flags.DEFINE_integer("tokens", 8, "tokens of an option", lower_bound=1)
_EMPTY = flags.DEFINE_integer("empty", 20, "tokens of the prompt with an empty user turn", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "rounds", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "CPU threads", lower_bound=1)


def ranked(batch: Any, options: int, tokens: int) -> Any:
    """The batch with `options` branches of `tokens` tokens behind every row, whose tokens are the loss targets."""
    import numpy as np

    from mmssr_jax.data.batch import Batch

    rows, P = batch.tokens.shape
    N = options * tokens
    target = np.random.default_rng(1).integers(0, 600, (rows, N)).astype(np.int32)
    within = np.tile(np.arange(tokens, dtype=np.int32), options)
    ends = P + tokens * (1 + np.repeat(np.arange(options, dtype=np.int32), tokens))
    place = np.where(within == 0, P - 1, P - 1 + np.arange(N, dtype=np.int32)).astype(np.int32)
    return Batch(
        np.concatenate([batch.tokens, target], 1), np.concatenate([batch.positions, np.tile(P + within, (rows, 1))], 1),
        np.concatenate([np.full((rows, P), P + N, np.int32), np.tile(ends, (rows, 1))], 1),
        np.concatenate([batch.image_index, np.full((rows, N), -1, np.int32)], 1), batch.pixels,
        np.tile(place, (rows, 1)), target, np.ones((rows, N), np.float32),
    )  # fmt: skip


def without_image(batch: Any, length: int) -> Any:
    """The first `length` tokens of every row as text."""
    import numpy as np

    rows, size = batch.tokens.shape[0], batch.pixels.shape[1]
    return dataclasses.replace(
        batch, tokens=batch.tokens[:, :length], positions=batch.positions[:, :length],
        image_index=np.full((rows, length), -1, np.int32), pixels=np.zeros((0, size, size, 3), np.uint8),
    )  # fmt: skip


def programs(config: Any) -> dict[str, Callable[[], Any]]:
    """The compiled programs: plain, rank, separate (one option) and empty. They block."""
    import jax

    from mmssr_jax.generation.likelihood import target_log_probs
    from mmssr_jax.models.module_params import merge

    graphdef, params = random_params(config)
    prompt = sample_batch(config, rows=_ROWS.value, text=_TEXT.value)

    def plain(params: Any, batch: Any) -> Any:
        model = merge(graphdef, params)
        hidden, _ = model.run(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        return model.logits(hidden[:, -1])

    def rank(params: Any, batch: Any) -> Any:
        return target_log_probs(merge(graphdef, params), batch)

    empty = without_image(prompt, _EMPTY.value)
    inputs = {
        "plain": (plain, prompt), "rank": (rank, ranked(prompt, _OPTIONS.value, _TOKENS.value)),
        "separate": (rank, ranked(prompt, 1, _TOKENS.value)),
        "empty": (rank, ranked(empty, _OPTIONS.value, _TOKENS.value)),
    }  # fmt: skip
    made = {}
    for name, (function, batch) in inputs.items():
        device = jax.device_put(batch)
        program = jax.jit(function).lower(params, device).compile()
        made[name] = lambda program=program, device=device: jax.block_until_ready(program(params, device))
    return made


def main(_: list[str]) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _THREADS.value])
    import jax

    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    config = shape_config("llava_ov_0_5b", _LAYERS.value, dtype)
    seconds = rounds(programs(config), _REPEATS.value)
    result = {
        "backend": jax.default_backend(), "dtype": dtype, "rows": _ROWS.value,
        "prompt_tokens": config.vision.tokens + 1 + _TEXT.value, "options": _OPTIONS.value,
        "option_tokens": _TOKENS.value, "layers": [config.decoder.depth, config.vision.depth],
        "rank_over_plain": ratio(seconds["rank"], seconds["plain"]),
        "separate_over_plain": ratio(seconds["separate"], seconds["plain"], _OPTIONS.value),
        "empty_over_plain": ratio(seconds["empty"], seconds["plain"]),
        "seconds": {name: round(statistics.median(values), 3) for name, values in seconds.items()},
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
