"""The readers of a model's folder: weights, settings and tokenizer."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from mmssr_jax.convert import import_hf, preprocessor
from mmssr_jax.convert.checkpoint import INDEX, SINGLE, Checkpoint
from mmssr_jax.core import files
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
from mmssr_jax.models.config import VLMConfig

from . import mutations
from .mutated_files import json_file, mutated_folder
from .target import Files, Target

_HF_CONFIG = {
    "model_type": "llava_onevision",
    "image_token_index": 7,
    "tie_word_embeddings": False,
    "vision_aspect_ratio": "anyres_max_9",
    "image_grid_pinpoints": [[8, 8], [8, 16]],
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full",
    "vision_config": {
        "model_type": "siglip_vision_model",
        "image_size": 8,
        "patch_size": 4,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vision_use_head": False,
    },
    "text_config": {
        "model_type": "qwen2",
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "rope_theta": 10000.0,
    },
}
_PROCESSOR = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "size": {"height": 8, "width": 8},
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def _safetensors(rng: random.Random) -> Files:
    tensors = {"a.weight": np.ones((2, 3), np.float32), "b.weight": np.zeros(4, np.float16)}
    if rng.random() < 0.5:
        return {SINGLE: _mutated_safetensors(rng, safetensors.numpy.save(tensors))}
    parts = {
        f"m-{n}.safetensors": safetensors.numpy.save({key: value}) for n, (key, value) in enumerate(tensors.items())
    }
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {"a.weight": "m-0.safetensors", "b.weight": "m-1.safetensors"},
    }
    return {**parts, INDEX: json_file(rng, index)}


def _mutated_safetensors(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.4:
        return mutations.mutate_bytes(rng, data)
    size = int.from_bytes(data[:8], "little")
    header = mutations.mutate_json(rng, json.loads(data[8 : 8 + size]))
    declared = len(header) if rng.random() < 0.8 else rng.choice((0, 1, 2**31, 2**63, len(header) + 9))
    return declared.to_bytes(8, "little") + header + data[8 + size :]


def _read_safetensors(folder: Path) -> object:
    checkpoint = Checkpoint(folder)
    return [(checkpoint.shape(key), checkpoint.dtype(key), checkpoint.read(key)) for key in checkpoint.keys()]  # noqa: SIM118


def _model_config(rng: random.Random) -> Files:
    model = {
        "vision": {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
        "decoder": {"vocab": 64, "width": 16, "depth": 1, "heads": 2, "kv_heads": 2, "mlp": 32, "rope_theta": 1e4},
    }
    found = {"config.json": _HF_CONFIG, "preprocessor_config.json": _PROCESSOR, "model.json": model}
    chosen = rng.choice(sorted(found))
    return {name: json_file(rng, v) if name == chosen else json.dumps(v).encode() for name, v in found.items()}


def _read_model_config(folder: Path) -> object:
    where = str(folder / "config.json")
    config = preprocessor.with_preprocessor(import_hf.llava_config(folder), folder)
    return config, to_dataclass(VLMConfig, files.read_json(folder / "model.json"), where)


@functools.cache
def _tokenizer() -> Mapping[str, bytes]:
    """The files of a small tokenizer, made once."""
    with tempfile.TemporaryDirectory() as name:
        train_tokenizer(["What is it? A red cat."] * 3, vocab_size=280).save(Path(name))
        return {p.name: p.read_bytes() for p in Path(name).iterdir()}


def _read_tokenizer(folder: Path) -> object:
    tokenizer = load_tokenizer(folder)
    return tokenizer.decode(tokenizer.encode("What is it? <|im_end|>"))


TARGETS: Mapping[str, Target] = {
    "safetensors": Target(_safetensors, _read_safetensors),
    "model_config": Target(_model_config, _read_model_config),
    "tokenizer": Target(lambda r: mutated_folder(r, _tokenizer()), _read_tokenizer),
}
