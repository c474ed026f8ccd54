"""The devices of a model for inference in a group of processes."""

from __future__ import annotations

import jax
import pytest

from mmssr_jax.parallel.inference_mesh import inference_mesh, spans_processes
from mmssr_jax.parallel.mesh import MeshConfig


@pytest.mark.parametrize(
    ("config", "spans"),
    [
        (MeshConfig(), False),
        (MeshConfig(fsdp=2, tensor=4), False),
        (MeshConfig(data=2, fsdp=8), False),
        (MeshConfig(fsdp=16), True),
        (MeshConfig(tensor=3), True),
        (MeshConfig(data=1, fsdp=-1), True),
    ],
)
def test_each_process_has_a_copy_if_it_fits(monkeypatch, config, spans):
    assert not spans_processes(config)  # a single process has all devices
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert jax.local_device_count() == 8
    assert spans_processes(config) is spans


def test_copies_use_all_devices_of_the_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert dict(inference_mesh(MeshConfig(data=8, fsdp=2)).shape) == {"data": 4, "fsdp": 2, "tensor": 1, "expert": 1}
