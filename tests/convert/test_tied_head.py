"""A head beside tied embeddings, and none where they are not: taken if equal, else a line that says what to set."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mmssr_jax.convert import tied_head
from mmssr_jax.convert.import_hf import load_decoder, load_vlm
from mmssr_jax.core.errors import UserError

OWN = Path(__file__).resolve().parents[1] / "goldens" / "llava_onevision"
EMBEDDING, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"


@pytest.mark.parametrize("case", ["ckpt_tf452", "ckpt_tied_with_head"])
def test_the_shared_cases(case, shared, loaded):
    """Both are the golden's weights under other names."""
    _, (_, params) = load_vlm(shared / "cases" / case)
    jax.tree.map(np.testing.assert_array_equal, params, loaded[1][1])


@pytest.fixture
def changed(golden, tmp_path):
    """change(tensors, **text) -> the golden with other tensors and settings of its text model."""

    def make(change, **text):
        values = json.loads((golden / "config.json").read_text())
        values["text_config"] |= text
        (tmp_path / "config.json").write_text(json.dumps(values))
        tensors = load_file(golden / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return make


def test_an_equal_head_is_left_out(changed, loaded, monkeypatch):
    monkeypatch.setattr(tied_head, "_ROWS", 100)  # several blocks, the last one smaller
    folder = changed(lambda t: t.update({HEAD: t[EMBEDDING].copy()}))
    _, (_, params) = load_vlm(folder)
    jax.tree.map(np.testing.assert_array_equal, params, loaded[1][1])


@pytest.mark.parametrize("row", [0, 287])
def test_a_head_that_differs_is_one_line(row, changed, monkeypatch):
    monkeypatch.setattr(tied_head, "_ROWS", 100)

    def differ(tensors):
        tensors[HEAD] = tensors[EMBEDDING].copy()
        tensors[HEAD][row, 3] += 1e-3

    with pytest.raises(UserError, match=r"lm_head\.weight differs from .*tie_word_embeddings = true; set it to false"):
        load_vlm(changed(differ))


def test_a_head_of_another_shape_is_one_line(changed):
    with pytest.raises(UserError, match=r"differs from .*tie_word_embeddings"):
        load_vlm(changed(lambda t: t.update({HEAD: np.zeros((3, 56), np.float32)})))


def test_a_head_that_is_missing_is_one_line(changed):
    with pytest.raises(UserError, match=r"has no output projection .*tie_word_embeddings = false; set it to true"):
        load_vlm(changed(lambda t: None, tie_word_embeddings=False))


def test_a_decoder_alone(tmp_path):
    values = json.loads((OWN / "qwen2_tied" / "config.json").read_text())
    tensors = load_file(OWN / "qwen2_tied" / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(values))
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, tmp_path / "model.safetensors")
    _, found = load_decoder(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found, load_decoder(OWN / "qwen2_tied")[1])
    (tmp_path / "config.json").write_text(json.dumps(values | {"tie_word_embeddings": False}))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="tie_word_embeddings"):
        load_decoder(tmp_path)
