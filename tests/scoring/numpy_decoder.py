"""A Qwen2-like decoder in numpy, written from its definition: an independent computation for tests of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Layer:
    """What one layer computes for one sequence: its attention [N, L, L], what attention adds, its output [L, D]."""

    attention: np.ndarray
    attention_output: np.ndarray
    output: np.ndarray


def rms_norm(x: np.ndarray, scale: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def rotate(x: np.ndarray, positions: np.ndarray, theta: float) -> np.ndarray:
    """Rotary embedding of [L, heads, H]: the two halves of a head are the real and imaginary parts."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def run(flat: Mapping[str, Any], config: Any, x: np.ndarray, positions: np.ndarray) -> tuple[list[Layer], np.ndarray]:
    """All layers of a decoder, and the final hidden states [L, D].

    Args:
      flat: parameters by dotted name.
      config: a `DecoderConfig`.
      x: float [L, D], embeddings.
      positions: int [L].
    """

    def get(name: str, k: int) -> np.ndarray:
        return np.asarray(flat[f"decoder.layers.{name}"][k], np.float64)

    layers, x, length = [], x.astype(np.float64), len(x)
    for k in range(config.depth):
        y = rms_norm(x, get("norm1.scale", k), config.eps)
        q, key, v = (y @ get(f"attn.{n}.kernel", k) + get(f"attn.{n}.bias", k) for n in "qkv")
        q, key, v = (a.reshape(length, -1, config.head_size) for a in (q, key, v))
        q, key = rotate(q, positions, config.rope_theta), rotate(key, positions, config.rope_theta)
        key, v = (np.repeat(a, config.heads // config.kv_heads, axis=1) for a in (key, v))
        scores = np.einsum("lnh,snh->nls", q, key) / np.sqrt(config.head_size)
        attention = softmax(np.where(np.tri(length, dtype=bool), scores, -np.inf))
        added = np.einsum("nls,snh->lnh", attention, v).reshape(length, -1) @ get("attn.o.kernel", k)
        y = rms_norm(x + added, get("norm2.scale", k), config.eps)
        gate = y @ get("mlp.gate.kernel", k)
        hidden = gate / (1 + np.exp(-gate)) * (y @ get("mlp.up.kernel", k))
        x = x + added + hidden @ get("mlp.down.kernel", k)
        layers.append(Layer(attention, added, x))
    return layers, rms_norm(x, np.asarray(flat["decoder.norm.scale"], np.float64), config.eps)
