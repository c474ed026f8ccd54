"""Scoring by transformers on the same weights and machine, for benchmarks/scoring.py."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

IMAGE_TOKEN = 3  # of the small tokenizer
SCORE_TOKENS = 2  # a digit and the end of the answer; random weights would not generate the end


def compare(config: Any, *, text: int, calls: int, repeats: int, threads: int) -> dict[str, Any]:
    """`vs_transformers_generate` and `vs_transformers_shared`, one sample at a time, in float32, alternating with ours.

    Args:
      config: the model's config.
      text: text tokens of the sample.
      calls: number of `generate` calls to run; the time of all 15 is extrapolated.
      repeats: rounds.
      threads: PyTorch's threads.
    """
    import numpy as np
    import torch
    from scoring_parts import QUESTIONS, compiled, questions, random_params, ratio, rounds, sample_batch

    torch.set_num_threads(threads)
    graphdef, params = random_params(config)
    batch = sample_batch(config, rows=1, text=text)
    ours = compiled(config, graphdef, params, batch, names=("tree",))["tree"]
    with tempfile.TemporaryDirectory() as folder:
        theirs = _load(config, params, Path(folder))
    encoder = questions("all")
    queries = [torch.tensor([q]) for q in [*encoder.queries, encoder.style_query]]
    tokens = torch.tensor(batch.tokens).long() % 500 + 4
    tokens[torch.tensor(batch.image_index >= 0)] = IMAGE_TOKEN
    pixels = torch.tensor(batch.pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)[:, None]
    size = config.vision.image_size
    image = {
        "pixel_values": pixels, "image_sizes": torch.tensor([[size, size]]),
        "batch_num_images": torch.tensor([2]),  # more than one: no tiles
    }  # fmt: skip

    def generate() -> None:
        with torch.no_grad():
            for query in queries[:calls]:
                theirs.generate(
                    input_ids=torch.cat([tokens, query], dim=1), **image, do_sample=False, max_new_tokens=SCORE_TOKENS,
                    min_new_tokens=SCORE_TOKENS,
                )  # fmt: skip

    def shared() -> Any:
        with torch.no_grad():
            return shared_prefix(theirs, tokens, image, queries)

    seconds = rounds({"ours": ours, "generate": generate, "shared": shared}, repeats)
    agreement = _agreement(config, graphdef, params, batch, tokens, encoder, shared())
    return {
        "vs_transformers_generate": ratio(seconds["generate"], seconds["ours"], QUESTIONS / calls),
        "vs_transformers_shared": ratio(seconds["shared"], seconds["ours"]),
        "transformers": {"torch": torch.__version__, "calls": calls, "logits_differ_by": agreement},
    }


def _load(config: Any, params: Any, folder: Path) -> Any:
    """transformers' model with our weights."""
    from transformers import LlavaOnevisionForConditionalGeneration

    from mmssr_jax.convert.export_hf import export_vlm
    from mmssr_jax.convert.read_config import LlavaConfig
    from mmssr_jax.images.anyres import AnyresSpec

    spec = AnyresSpec(config.vision.image_size, config.vision.patch_size)
    export_vlm(LlavaConfig(config, spec, IMAGE_TOKEN), params, folder)
    return LlavaOnevisionForConditionalGeneration.from_pretrained(folder).eval()


def shared_prefix(model: Any, tokens: Any, image: dict[str, Any], queries: list[Any]) -> Any:
    """Logits after each query [15, V]: one prefill, its cache repeated, and all queries as one batch."""
    import torch

    P, n = tokens.shape[1], len(queries)
    cache = model(input_ids=tokens, **image, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(n)
    longest = max(q.shape[1] for q in queries)
    suffix = torch.zeros((n, longest), dtype=torch.long)
    for row, query in enumerate(queries):
        suffix[row, : query.shape[1]] = query[0]
    last = torch.tensor([q.shape[1] - 1 for q in queries])
    positions = torch.arange(P, P + longest).expand(n, -1)
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
