"""Towers and decoders alone: hidden states of every layer, pooled output, logits, greedy tokens."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from mmssr_jax.convert.import_hf import load_clip, load_decoder, load_vision
from mmssr_jax.generation.sampler import GenerationConfig, generate
from mmssr_jax.models import module_params

ATOL = 2e-4


def load_case(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "case.npz") as data:
        return dict(data)


def test_vision_tower(tower):
    graphdef, params = load_vision(tower)
    case = load_case(tower)
    pixels = case["pixel_values"].transpose(0, 2, 3, 1)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        hidden = model.hidden_states(pixels)
        clip = model.config.class_token  # its last_hidden_state is not normed, SigLIP's is
        return hidden, model(pixels), hidden[-1] if clip else model.norm(hidden[-1])

    hidden, patches, last = run(params)
    np.testing.assert_allclose(hidden, case["hidden_states"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(patches, case["hidden_states"][-1][:, -patches.shape[1] :], atol=ATOL, rtol=0)
    np.testing.assert_allclose(last, case["last_hidden_state"], atol=ATOL, rtol=0)
    if "pooler_output" in case:
        pooled = jax.jit(lambda p: module_params.merge(graphdef, p).pooled(pixels))(params)
        np.testing.assert_allclose(pooled, case["pooler_output"], atol=ATOL, rtol=0)


def test_clip_pair(pair):
    config, (graphdef, params) = load_clip(pair)
    assert config.siglip == (pair.name == "siglip_pair")
    case = load_case(pair)
    pixels, tokens = case["pixel_values"].transpose(0, 2, 3, 1), case["input_ids"].astype(np.int32)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        return model.embed_images(pixels), model.embed_texts(tokens)

    images, texts = run(params)
    np.testing.assert_allclose(images, case["image_embeds"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(texts, case["text_embeds"], atol=ATOL, rtol=0)


def test_decoder(decoder):
    graphdef, params = load_decoder(decoder)
    case = load_case(decoder)
    ids, mask = case["input_ids"].astype(np.int32), case["attention_mask"].astype(bool)
    L = ids.shape[1]
    # Padding on either side attends only to itself, and positions count the real tokens.
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0).astype(np.int32)
    visible_until = np.where(mask, L, np.arange(1, L + 1)).astype(np.int32)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        x = model.embed(ids)
        return model.hidden_states(x, positions, visible_until), model.logits(model(x, positions, visible_until))

    hidden, logits = run(params)
    np.testing.assert_allclose(hidden[:, mask], case["hidden_states"][:, mask], atol=ATOL, rtol=0)
    np.testing.assert_allclose(logits[mask], case["logits"][mask], atol=ATOL, rtol=0)


def test_decoder_generates(decoder):
    graphdef, params = load_decoder(decoder)
    case = load_case(decoder)
    if "generated_row0" not in case:
        pytest.skip("this case has no generated tokens")
    ids = case["input_ids"][:1].astype(np.int32)

    @jax.jit
    def run(params):
        model = module_params.merge(graphdef, params)
        lengths = np.array([ids.shape[1]], np.int32)
        return generate(model, model.embed(ids), lengths, lengths, GenerationConfig(max_tokens=16))

    np.testing.assert_array_equal(run(params), case["generated_row0"])
