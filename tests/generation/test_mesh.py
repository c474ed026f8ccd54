"""Answers on a mesh are those of one device, token for token."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mmssr_jax.generation.sampler import GenerationConfig, Generator
from mmssr_jax.models import module_params
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from tests.generation.test_sampler import INDEX, LENGTHS, PIXELS, STEPS, TOKENS


def padded(x: np.ndarray) -> np.ndarray:
    """Three rows and one of padding; 2 images a row."""
    return np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])


@pytest.mark.parametrize("mesh", [MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(data=4, tensor=2)])
def test_sharded_generation_equals_one_device(model, mesh):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    graphdef, params = module_params.split(model)
    pixels = np.concatenate([PIXELS, np.zeros((2, 8, 8, 3), np.uint8)])
    index = padded(INDEX)
    index[3] = -1
    rows = padded(TOKENS), pixels, index, padded(LENGTHS)
    alone = Generator(graphdef, params, GenerationConfig(STEPS))(*rows)
    sharded = Generator(graphdef, params, GenerationConfig(STEPS), make_mesh(mesh))(*rows)
    assert sharded[:3] == alone[:3]
    assert len({tuple(a) for a in alone[:3]}) == 3
