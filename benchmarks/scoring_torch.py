"""Scoring by transformers on the same weights and machine, for benchmarks/scoring.py."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGE_TOKEN = 3  # of the small tokenizer
SCORE_TOKENS = 2  # a digit and the end of the answer; random weights would not generate the end


def compare(config: Any, *, text: int, calls: int, repeats: int, threads: int) -> dict[str, Any]:
    """`vs_transformers_generate` and `vs_transformers_shared`, one sample at a time, in float32, alternating with ours.

    Args:
      config: the model's config, of LLaVA-OneVision or Qwen3-VL.
      text: text tokens of the sample.
      calls: number of `generate` calls to run; the time of all 15 is extrapolated.
      repeats: rounds.
      threads: PyTorch's threads.
    """
    import torch
    from scoring_parts import QUESTIONS, compiled, questions, random_params, ratio, rounds, sample_batch

    torch.set_num_threads(threads)
    graphdef, params = random_params(config)
    batch = sample_batch(config, rows=1, text=text)
    ours = compiled(config, graphdef, params, batch, names=("prefix", "tree"))
    load = _llava if config.vision.native is None else _qwen3_vl
    with tempfile.TemporaryDirectory() as folder:
        theirs, inputs = load(config, params, batch, Path(folder))
    encoder = questions("all")
    queries = [torch.tensor([q]) for q in [*encoder.queries, encoder.style_query]]
    tokens = torch.tensor(batch.tokens).long() % 500 + 4
    tokens[torch.tensor(batch.image_index >= 0)] = IMAGE_TOKEN
    after = int(batch.positions[0, -1]) + 1

    def generate() -> None:
        with torch.no_grad():
            for query in queries[:calls]:
                ids = torch.cat([tokens, query], dim=1)
                theirs.generate(
                    input_ids=ids, **inputs(ids), do_sample=False, max_new_tokens=SCORE_TOKENS,
                    min_new_tokens=SCORE_TOKENS,
                )  # fmt: skip

    def shared() -> Any:
        with torch.no_grad():
            return shared_prefix(theirs, tokens, inputs(tokens), queries, after=after)

    programs = {"ours": ours["tree"], "prefix": ours["prefix"], "generate": generate, "shared": shared}
    seconds = rounds(programs, repeats)
    agreement = _agreement(config, graphdef, params, batch, tokens, encoder, shared())
    return {
        "vs_transformers_generate": ratio(seconds["generate"], seconds["ours"], QUESTIONS / calls),
        "vs_transformers_shared": ratio(seconds["shared"], seconds["ours"]),
        "transformers": {
            "torch": torch.__version__, "calls": calls, "logits_differ_by": agreement,
            "tree_over_prefix": ratio(seconds["ours"], seconds["prefix"]),
            "seconds": {name: round(statistics.median(times), 3) for name, times in seconds.items()},
        },
    }  # fmt: skip


def _llava(config: Any, params: Any, batch: Any, folder: Path) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    """transformers' LLaVA-OneVision with our weights, and its further inputs for token ids."""
    import numpy as np
    import torch
    from transformers import LlavaOnevisionForConditionalGeneration

    from mmssr_jax.convert.export_hf import export_vlm
    from mmssr_jax.convert.read_config import LlavaConfig
    from mmssr_jax.images.anyres import AnyresSpec

    spec = AnyresSpec(config.vision.image_size, config.vision.patch_size)
    export_vlm(LlavaConfig(config, spec, IMAGE_TOKEN), params, folder)
    size = config.vision.image_size
    image = {
        "pixel_values": torch.tensor(batch.pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)[:, None],
        "image_sizes": torch.tensor([[size, size]]),
        "batch_num_images": torch.tensor([2]),  # more than one: no tiles
    }
    return LlavaOnevisionForConditionalGeneration.from_pretrained(folder).eval(), lambda ids: image


def _qwen3_vl(config: Any, params: Any, batch: Any, folder: Path) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    """transformers' Qwen3-VL with our weights, and its further inputs for token ids."""
    import numpy as np
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    from mmssr_jax.convert.export_hf import export_qwen3_vl
    from mmssr_jax.convert.qwen3_vl import Qwen3VLConfig
    from mmssr_jax.images.image_blocks import COLUMNS, IMAGE, ROWS

    marks = {"video_token": IMAGE_TOKEN - 1, "vision_start": IMAGE_TOKEN - 2, "vision_end": IMAGE_TOKEN - 3}
    export_qwen3_vl(Qwen3VLConfig(config, image_token=IMAGE_TOKEN, **marks), params, folder)
    blocks, place = batch.pixels
    used, patch = place[:, IMAGE] > 0, config.vision.patch_size
    M, F, S, _, C = blocks[used].shape
    n = S // patch
    # A block [F, S, S, 3] is n x n patches in raster order, each flattened as [3, F, patch, patch].
    cut = blocks[used].reshape(M, F, n, patch, n, patch, C).transpose(0, 2, 4, 6, 1, 3, 5).reshape(M * n * n, -1)
    rows, columns = place[used][0, [ROWS, COLUMNS]]
    image = {
        "pixel_values": torch.tensor(cut.astype(np.float32) / 127.5 - 1),
        "image_grid_thw": torch.tensor([[1, rows * n, columns * n]]),
    }

    def inputs(ids: Any) -> dict[str, Any]:
        return {**image, "mm_token_type_ids": (ids == IMAGE_TOKEN).long()}

    return Qwen3VLForConditionalGeneration.from_pretrained(folder).eval(), inputs


def shared_prefix(model: Any, tokens: Any, inputs: dict[str, Any], queries: list[Any], *, after: int) -> Any:
    """Logits after each query [15, V]: one prefill, its cache repeated, and all queries as one batch.

    `after` is the position that follows the prefix.
    """
    import torch

    n = len(queries)
    cache = model(input_ids=tokens, **inputs, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(n)
    longest = max(q.shape[1] for q in queries)
    suffix = torch.zeros((n, longest), dtype=torch.long)
    for row, query in enumerate(queries):
        suffix[row, : query.shape[1]] = query[0]
    last = torch.tensor([q.shape[1] - 1 for q in queries])
    positions = torch.arange(after, after + longest).expand(n, -1)
    hidden = model.model.language_model(
        input_ids=suffix, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return model.lm_head(hidden[torch.arange(n), last])


def _agreement(config: Any, graphdef: Any, params: Any, batch: Any, tokens: Any, encoder: Any, theirs: Any) -> float:
    """The maximum absolute difference between our logits at the capability leaves and theirs."""
    import dataclasses

    import jax
    import numpy as np

    from mmssr_jax.models import module_params
    from mmssr_jax.scoring import forward

    same = dataclasses.replace(batch, tokens=np.asarray(tokens, np.int32))
    run = jax.jit(lambda p, b: forward.leaf_logits(module_params.merge(graphdef, p), b, encoder.tree)[0])
    ours = np.asarray(run(params, same))[0, : len(theirs)]
    return float(np.abs(ours - theirs.float().numpy()).max())
