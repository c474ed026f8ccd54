"""Compiles scoring or training ahead of time for a TPU slice, on any machine, and reports whether it fits.

    pip install -e .[tpu]
    python benchmarks/tpu_aot.py --topology=v5e:2x4 --preset=llava_ov_7b --job=score

Training is the step that the trainer runs. Parameters are float32 for training, and in the compute dtype for scoring.
`--rows=max` searches for the largest batch that fits, in a few compilations. Prints one JSON line:

    rows            sequences over all devices
    hbm_gib         per device: arguments, results and temporaries of the compiled program (aliased results once)
    hbm_limit_gib   HBM of a chip of this kind
    fits            hbm_gib is at most hbm_limit_gib
    flops_model     per device: matrix products of one step, from the model's dimensions (backward = 2 forward, no
                    recomputation)
    flops           per device: matrix products of the traced program, loop bodies times their length, including
                    recomputation and all blocks of the attention kernel; experts are counted for even routing
    flops_xla       per device: the compiler's count, in which the body of the loop over layers counts once
    collectives     number of each kind in the program; those in the loop over layers count once
    compile_s       seconds of tracing and compiling, of all sizes with --rows=max
    compile_cpu_s   CPU seconds of the same, over all cores
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import os
import re
import time
from typing import Any

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault(
    "ALLOW_MULTIPLE_LIBTPU_LOAD", "1"
)  # nothing is executed, so several processes may compile at once
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
from absl import app, flags
from flax import nnx
from flops import forward_flops
from jax.experimental import topologies
from jax.sharding import Mesh
from most_rows import most_rows

from mmssr_jax.data.batch import Batch
from mmssr_jax.images.image_blocks import ImageBlocks, Pixels, block_room
from mmssr_jax.models import module_params, presets
from mmssr_jax.models.config import DecoderConfig, VLMConfig
from mmssr_jax.models.vlm import VLM
from mmssr_jax.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from mmssr_jax.parallel.rules import with_shardings
from mmssr_jax.training.bundle import inference_dtypes
from mmssr_jax.training.compiled_step import CompiledStep
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.losses import read_logits
from mmssr_jax.training.optimizer import OptimizerConfig

HBM_GIB = {"v5e": 16.0, "v6e": 32.0, "v5p": 95.0}

_TOPOLOGY = flags.DEFINE_string("topology", "v5e:2x4", "kind:shape of the slice")
_PRESET = flags.DEFINE_enum("preset", "llava_ov_0_5b", presets.NAMES, "model size")
_JOB = flags.DEFINE_enum("job", "score", ("score", "train"), "the program to compile")
_ROWS = flags.DEFINE_string("rows", "1", "sequences per device, or max")
_LENGTH = flags.DEFINE_integer(
    "length", 1280, "tokens of a sequence; the default has room for 730 image tokens", lower_bound=1
)
_TARGETS = flags.DEFINE_integer("targets", 64, "positions per sequence whose logits are computed", lower_bound=1)
_TENSOR = flags.DEFINE_integer("tensor", 1, "devices along the tensor axis", lower_bound=1)
_EXPERT = flags.DEFINE_integer("expert", 1, "devices along the expert axis", lower_bound=1)
_OPTIMIZER = flags.DEFINE_enum("optimizer", "adamw", ("adamw", "adafactor", "muon"), "for training")
_EFFORT = flags.DEFINE_float(
    "effort",
    -1.0,
    "compiler effort; 0 is that of jit, less compiles several times faster to a slower program",
    lower_bound=-1.0,
    upper_bound=1.0,
)
flags.register_validator(
    "rows", lambda rows: rows == "max" or (rows.isdigit() and rows != "0"), "must be a number, or max"
)


def abstract_batch(config: VLMConfig, *, rows: int, length: int, targets: int, mesh: Mesh) -> Batch:
    """ShapeDtypeStructs of a batch with one image per row."""

    def array(dtype: jnp.dtype, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))

    S, ints, native = config.vision.image_size, jnp.dtype("int32"), config.vision.native
    pixels: Pixels = array(jnp.dtype("uint8"), rows, S, S, 3)
    if native is not None:  # an image of 864 x 864 pixels
        blocks = rows * block_room(729)
        pixels = ImageBlocks(array(jnp.dtype("uint8"), blocks, native.frames, S, S, 3), array(ints, blocks, 5))
    tokens = [array(ints, rows, length) for _ in range(4)]
    at = array(ints, rows, targets)
    return Batch(*tokens, pixels, at, at, array(jnp.dtype("float32"), rows, targets))


def count_collectives(text: str) -> dict[str, int]:
    """The number of collective operations of each kind in a compiled program."""
    kinds = re.findall(r" (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(", text)
    return dict(sorted(collections.Counter(kinds).items()))


def traced_flops(jaxpr: Any) -> float:
    """FLOPs of the matrix products of a traced program, over all devices."""
    return sum(_equation_flops(e) for e in jaxpr.eqns)


def _equation_flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    if name == "while":
        return 0.0  # the loop over blocks of the experts, whose length depends on the routing: see `routed_flops`
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        return 2.0 * equation.outvars[0].aval.size * kernel.size / kernel.shape[params["dimension_numbers"].rhs_spec[0]]
    inner = [traced_flops(getattr(j, "jaxpr", j)) for p in params.values() for j in _jaxprs(p)]
    if name == "cond":
        return max(inner, default=0.0)
    times = {"scan": lambda: params["length"], "shard_map": lambda: params["mesh"].size}
    if name == "pallas_call":
        return sum(inner) * math.prod(params["grid_mapping"].grid)
    return sum(inner) * times.get(name, lambda: 1)()


def _jaxprs(value: Any) -> list[Any]:
    values = value if isinstance(value, (tuple, list)) else [value]
    return [v for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]


def routed_flops(decoder: DecoderConfig, *, tokens: int, job: str) -> float:
    """FLOPs of the matrix products in `models.moe.grouped` over all devices, without the padding of blocks.

    An expert has three products; the backward pass recomputes two of them and has six more.
    """
    if decoder.moe is None:
        return 0.0
    products = {"score": 3, "train": 3 + 8}[job] * decoder.depth // decoder.moe.every
    return 2.0 * products * decoder.width * decoder.mlp * tokens * decoder.moe.top_k


def trace_job(config: VLMConfig, mesh: Mesh, *, job: str, rows: int, length: int, targets: int, optimizer: str):
    """The traced program and the abstract parameters; call and lower inside `jax.set_mesh(mesh)`."""
    graphdef, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    batch = abstract_batch(config, rows=rows, length=length, targets=targets, mesh=mesh)
    if job == "train":
        update = OptimizerConfig(optimizer, learning_rate=1e-5, weight_decay=0.1)
        return CompiledStep(graphdef, params, OptimisationConfig(1000, optimizer=update), mesh).trace(batch), params
    params = with_shardings(inference_dtypes(params, config), mesh)
    run = jax.jit(lambda p, b: jax.nn.softmax(read_logits(module_params.merge(graphdef, p), b)))
    return run.trace(params, batch), params


def hbm_gib(compiled: jax.stages.Compiled) -> float:
    """Memory of a device while the program runs, in GiB."""
    memory = compiled.memory_analysis()
    used = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return (used + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes) / 2**30


def main(_: list[str]) -> None:
    jax.config.update("jax_exec_time_optimization_effort", _EFFORT.value)
    limit = HBM_GIB[_TOPOLOGY.value.split(":")[0]]
    devices = topologies.get_topology_desc(platform="tpu", topology_name=_TOPOLOGY.value).devices
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1, tensor=_TENSOR.value, expert=_EXPERT.value), devices=devices)
    vocab = 4096 if "tiny" in _PRESET.value else None  # these presets have no vocabulary
    config = dataclasses.replace(presets.preset(_PRESET.value, vocab=vocab), attention="splash", remat="full")
    sizes = {"length": _LENGTH.value, "targets": _TARGETS.value}

    @functools.cache
    def program(rows: int) -> tuple[Any, Any, Any]:
        with jax.set_mesh(mesh):
            traced, params = trace_job(
                config, mesh, job=_JOB.value, optimizer=_OPTIMIZER.value, rows=rows * len(devices), **sizes
            )
            return traced, params, traced.lower().compile()

    def hbm(rows: int) -> float:
        try:
            return hbm_gib(program(rows)[-1])
        except jax.errors.JaxRuntimeError as e:
            if "RESOURCE_EXHAUSTED" not in str(e):
                raise
            return math.inf

    start, cpu = time.monotonic(), time.process_time()
    rows = most_rows(hbm, limit) if _ROWS.value == "max" else int(_ROWS.value)
    traced, params, compiled = program(rows)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    sizes["rows"] = rows * len(devices)
    flops = forward_flops(config, params, **sizes) * (3 if _JOB.value == "train" else 1)
    done = traced_flops(traced.jaxpr.jaxpr)
    done += routed_flops(config.decoder, tokens=sizes["rows"] * sizes["length"], job=_JOB.value)
    result = {
        "topology": _TOPOLOGY.value, "preset": _PRESET.value, "job": _JOB.value, "mesh": dict(mesh.shape), **sizes,
        "hbm_gib": round(hbm(rows), 3), "hbm_limit_gib": limit, "fits": hbm(rows) <= limit,
        "temp_gib": round(compiled.memory_analysis().temp_size_in_bytes / 2**30, 3),
        "flops": done / len(devices), "flops_model": flops / len(devices),
        "flops_xla": compiled.cost_analysis()["flops"],
        "collectives": count_collectives(compiled.as_text()), "compile_s": round(seconds, 1),
        "compile_cpu_s": round(cpu, 1), "effort": _EFFORT.value,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
