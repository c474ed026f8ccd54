"""Arrays that are sharded over two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from mmssr_jax.core.errors import UserError
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh, replicated

hosts.start()
mesh, me = make_mesh(MeshConfig(data=1, fsdp=2)), hosts.index()
whole = np.arange(8.0).reshape(4, 2)
split = NamedSharding(mesh, P(None, "fsdp"))
placed = hosts.shard_pytree({"a": whole}, {"a": split})["a"]
assert placed.addressable_data(0).tolist() == whole[:, [me]].tolist()
assert hosts.shard_pytree(placed, split) is placed or hosts.shard_pytree(placed, split).sharding == split
rows = hosts.shard_batch({"x": whole, "none": None}, mesh)["x"]
assert rows.addressable_data(0).tolist() == whole[2 * me : 2 * me + 2].tolist()
total = jax.jit(lambda a, b: (a + b).sum(), out_shardings=replicated(mesh))(placed, rows)
assert float(total) == 56.0
assert hosts.broadcast_from_main(np.array([me == 0, me == 1])).tolist() == [True, False]
try:
    hosts.shard_batch(whole + me, mesh)
except UserError as e:
    print(e)
"""


@pytest.mark.slow
def test_each_process_holds_its_shard_and_different_batches_are_an_error(repo: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM]
    running = [
        subprocess.Popen(command, cwd=repo, env={**env, "JAX_PROCESS_ID": str(n)}, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert all("read different samples" in text for text in outputs), outputs
