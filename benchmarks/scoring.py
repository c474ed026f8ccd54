"""Cost of scoring relative to one forward pass and to transformers; prints one JSON line.

    pip install -e .[bench]
    python benchmarks/scoring.py                                   (2 threads, float32; about an hour, 12 GiB)
    python benchmarks/scoring.py --only=0.5b,7b,input,pool --layers=4              (minutes; without PyTorch)
    python benchmarks/scoring.py --only=gpu                        (without a GPU it prints what it would run)

Shapes are LLaVA-OneVision's but where Qwen3-VL is named: one view (729 tokens and a newline), `--text` tokens of
conversation, random weights. A prefix pass is vision tower, connector, decoder, and logits at the last position.
Compared programs alternate for `--repeats` rounds; a ratio is the median of the rounds' ratios.

| key | meaning |
| --- | --- |
| tree_over_prefix | 14 scores and one-pass styles / a prefix pass, 0.5B shape |
| likelihood_over_tree | the same pass with -log p of the answers (a third of the text) / without |
| tree_over_prefix_7b | the same at 7B shape, by default with two layers per tower and a smaller vocabulary |
| tree_over_prefix_qwen3_vl | the same at Qwen3-VL's 2B shape with `--layers_7b`, an image of 864 x 864 pixels |
| pair_over_prefix | two models, one for the scores and one for the styles / a prefix pass of one |
| tree_over_separate | one pass for all / 15 passes, extrapolated from `--calls` |
| vs_transformers_generate | 15 `generate` calls on the same weights, extrapolated from `--calls` / our one pass |
| vs_transformers_shared | transformers' prefill and all 15 suffixes in a batch on its cache / our one pass |
| transformers | version, how far logits differ, tree_over_prefix in the same run, seconds of each program |
| transformers_qwen3_vl | the last three at Qwen3-VL's 2B shape with `--layers_7b` |
| samples_per_s | the tiny model from a packed pool to the table, without compilation |
| padding_share | share of padding among the tokens computed in that run |
| input_over_decode | samples/s of decoding, resizing and tokenising / of decoding and resizing alone |
"""

from __future__ import annotations

import json
import os
import statistics
from typing import Any

from absl import app, flags
from scoring_parts import QUESTIONS, compiled, questions, random_params, ratio, rounds, sample_batch, shape_config

PARTS = ("0.5b", "7b", "qwen3_vl", "transformers", "transformers_qwen3_vl", "input", "pool", "gpu")
_ONLY = flags.DEFINE_list("only", list(PARTS), f"parts to run, of {', '.join(PARTS)}")
_LAYERS = flags.DEFINE_integer("layers", 0, "layers of decoder and tower at 0.5B shape; 0 is all 24 and 26")
_LAYERS_7B = flags.DEFINE_integer("layers_7b", 2, "the same at 7B shape; 0 is all 28 and 26")
_ROWS = flags.DEFINE_integer("rows", 1, "samples in a batch", lower_bound=1)
_TEXT = flags.DEFINE_integer("text", 150, "text tokens of a sample", lower_bound=4)
_REPEATS = flags.DEFINE_integer("repeats", 3, "rounds", lower_bound=1)
_CALLS = flags.DEFINE_integer("calls", 3, "calls to run of 15 equal ones", lower_bound=1, upper_bound=15)
_THREADS = flags.DEFINE_integer("threads", 2, "CPU threads of both frameworks", lower_bound=1)
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "folder of a tokenizer; by default one with a token per word")


def measure_shape(name: str, layers: int, dtype: str, *, more: bool) -> dict[str, Any]:
    """Ratios for one model shape; `more` adds the pair of models and the separate prompts."""
    config = shape_config(name, layers, dtype)
    graphdef, params = random_params(config)
    batch = sample_batch(config, rows=_ROWS.value, text=_TEXT.value, answer=_TEXT.value // 3)
    chosen = ("prefix", "tree", "likelihood", "scores", "styles", "alone") if more else ("prefix", "tree", "likelihood")
    seconds = rounds(
        compiled(config, graphdef, params, batch, names=chosen, tokenizer=_TOKENIZER.value), _REPEATS.value
    )
    found: dict[str, Any] = {
        "tree_over_prefix": ratio(seconds["tree"], seconds["prefix"]),
        "likelihood_over_tree": ratio(seconds["likelihood"], seconds["tree"]),
        "seconds": {n: round(statistics.median(s), 3) for n, s in seconds.items()},
        "prefix_tokens": batch.tokens.shape[1], "question_tokens": len(questions("all", _TOKENIZER.value).tree.tokens),
        "layers": [config.decoder.depth, config.vision.depth],
    }  # fmt: skip
    if more:
        pair = [a + b for a, b in zip(seconds["scores"], seconds["styles"], strict=True)]
        found["pair_over_prefix"] = ratio(pair, seconds["prefix"])
        found["tree_over_separate"] = ratio(seconds["tree"], seconds["alone"], 1 / QUESTIONS)
    return found


def main(_: list[str]) -> None:
    unknown = set(_ONLY.value) - set(PARTS)
    if unknown:
        raise app.UsageError(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(PARTS)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _THREADS.value])
    import jax
    import scoring_gpu
    import scoring_input

    only = set(_ONLY.value)
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    result: dict[str, Any] = {"backend": jax.default_backend(), "dtype": dtype, "rows": _ROWS.value}
    if "0.5b" in only:
        result["0.5b"] = measure_shape("llava_ov_0_5b", _LAYERS.value, dtype, more=True)
        moved = ("tree_over_prefix", "likelihood_over_tree", "pair_over_prefix", "tree_over_separate")
        result |= {key: result["0.5b"].pop(key) for key in moved}
    if "7b" in only:
        result["7b"] = measure_shape("llava_ov_7b", _LAYERS_7B.value, dtype, more=False)
        result["tree_over_prefix_7b"] = result["7b"].pop("tree_over_prefix")
    if "qwen3_vl" in only:
        result["qwen3_vl"] = measure_shape("qwen3_vl_2b", _LAYERS_7B.value, dtype, more=False)
        result["tree_over_prefix_qwen3_vl"] = result["qwen3_vl"].pop("tree_over_prefix")
    sizes = {"text": _TEXT.value, "calls": _CALLS.value, "repeats": _REPEATS.value, "threads": _THREADS.value}
    if only & {"transformers", "transformers_qwen3_vl"}:
        import scoring_torch
    if "transformers" in only:
        result |= scoring_torch.compare(shape_config("llava_ov_0_5b", _LAYERS.value, "float32"), **sizes)
    if "transformers_qwen3_vl" in only:
        config = shape_config("qwen3_vl_2b", _LAYERS_7B.value, "float32")
        result["transformers_qwen3_vl"] = scoring_torch.compare(config, **sizes)
    if "input" in only:
        result |= scoring_input.input_rates(threads=_THREADS.value)
    if "pool" in only:
        result |= scoring_input.pool_rate(threads=_THREADS.value)
    if "gpu" in only:
        result["gpu"] = scoring_gpu.measure(text=_TEXT.value)
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
