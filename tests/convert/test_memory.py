"""Loading needs the memory of the parameters and of one tensor."""

from __future__ import annotations

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

PROGRAM = """
import json, re, sys, threading, time
from pathlib import Path
import jax
from mmssr_jax.convert.import_hf import load_decoder

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

jax.block_until_ready(jax.numpy.zeros(8) + 1)
base, peak, done = anonymous(), [0], threading.Event()
def watch():
    while not done.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
_, params = load_decoder(Path(sys.argv[1]), dtype="stored")
jax.block_until_ready(params)
done.set(); thread.join()
print(json.dumps({"over": peak[0] - base, "parameters": sum(x.nbytes for x in jax.tree.leaves(params))}))
"""


def synthetic(folder, *, width: int, mlp: int, depth: int, vocab: int, dtype) -> int:
    """A Qwen2 checkpoint of noise; returns the size of its largest tensor."""
    config = {
        "model_type": "qwen2", "hidden_act": "silu", "hidden_size": width, "intermediate_size": mlp,
        "num_attention_heads": 8, "num_key_value_heads": 2, "num_hidden_layers": depth, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "tie_word_embeddings": True, "vocab_size": vocab,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (vocab, width), "model.norm.weight": (width,)}
    for i in range(depth):
        p = f"model.layers.{i}"
        shapes |= {f"{p}.{n}_layernorm.weight": (width,) for n in ("input", "post_attention")}
        shapes |= {f"{p}.mlp.{n}_proj.weight": (mlp, width) for n in ("gate", "up")}
        shapes[f"{p}.mlp.down_proj.weight"] = (width, mlp)
        for name, size in (("q", width), ("k", width // 4), ("v", width // 4)):
            shapes |= {f"{p}.self_attn.{name}_proj.weight": (size, width), f"{p}.self_attn.{name}_proj.bias": (size,)}
        shapes[f"{p}.self_attn.o_proj.weight"] = (width, width)
    save_file({k: np.ones(s, dtype) for k, s in shapes.items()}, folder / "model.safetensors")
    return max(int(np.prod(s)) for s in shapes.values()) * np.dtype(dtype).itemsize


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 512, "mlp": 2048, "depth": 6, "vocab": 16384, "dtype": np.float32},  # 0.13 GB
        {"width": 512, "mlp": 2048, "depth": 6, "vocab": 16384, "dtype": ml_dtypes.bfloat16},  # half of it
        pytest.param(
            {"width": 1024, "mlp": 4096, "depth": 12, "vocab": 65536, "dtype": np.float32},  # 1.0 GB
            marks=pytest.mark.slow,
        ),
    ],
    ids=["small", "16 bits", "gigabyte"],
)
def test_peak_memory(sizes, tmp_path):
    largest = synthetic(tmp_path, **sizes)
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(out.stdout.splitlines()[-1])
    assert found["parameters"] == pytest.approx((tmp_path / "model.safetensors").stat().st_size, rel=1e-3)
    assert found["over"] <= found["parameters"] + 1.2 * largest, found
