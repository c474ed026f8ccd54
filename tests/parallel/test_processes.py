"""Arrays that are sharded over two processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.process_group import ProcessGroup

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
def test_each_process_holds_its_shard_and_different_batches_are_an_error(tmp_path: Path):
    said = ProcessGroup([sys.executable, "-c", PROGRAM], 2, logs=tmp_path).finish(timeout=120)
    assert ["read different samples" in text for text in said] == [True, True]


LATE = """
import time
import numpy as np
from mmssr_jax.parallel import hosts

hosts.start()
time.sleep(40 if hosts.is_main() else 0)  # the main process alone does the first stage
print("sum", hosts.process_sum(np.int32(1)))
"""


@pytest.mark.slow
def test_the_others_wait_for_a_long_first_stage(tmp_path: Path):
    said = ProcessGroup([sys.executable, "-c", LATE], 2, logs=tmp_path).finish(timeout=300)
    assert [text.splitlines()[-1] for text in said] == ["sum 2", "sum 2"]


FAILING = """
import sys
import numpy as np
from mmssr_jax.core.errors import UserError
from mmssr_jax.parallel import hosts, processes

def work():
    if not hosts.is_main():
        raise OSError("no space left")

hosts.start()
if sys.argv[1] == "shared":
    try:
        processes.run_on_all(work)
    except (UserError, OSError) as e:
        print("stopped:", e)
    sys.exit(2)
def joint():
    work()
    hosts.process_sum(np.int32(1))  # the step of a model, which the other process never comes to

if sys.argv[1] == "joint":
    processes.run_on_all(joint, joint=True)
if not hosts.is_main():
    sys.exit(2)
hosts.process_sum(np.int32(1))
"""


@pytest.mark.slow
def test_a_failure_of_any_kind_reaches_all_processes(tmp_path: Path):
    said = ProcessGroup([sys.executable, "-c", FAILING, "shared"], 2, logs=tmp_path).finish(timeout=60, status=2)
    assert "stopped: another process stopped; its error line gives the cause" in said[0]
    assert "stopped: no space left" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["alone", "joint"])
def test_no_process_waits_long_for_one_that_failed_alone(tmp_path: Path, how: str):
    group = ProcessGroup([sys.executable, "-c", FAILING, how], 2, logs=tmp_path)
    assert group.members[1].wait(timeout=90) != 0
    assert group.members[0].wait(timeout=30) != 0
