"""The readers of pools: each format, ingested as the stage does it, and a pool that is packed already."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages import ingest

from . import mutations
from .images import IMAGES
from .mutated_files import either, json_file, json_lines, mutated_folder, parquet_file
from .target import Files, N, Target


def _record(n: int) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": f"A shape, {n}."}]
    return {"id": f"s{n}", "source": "a", "image": f"{n}.png", "conversations": turns}


def _message_record(n: int) -> dict[str, Any]:
    content = [{"type": "image", "image": f"{n}.png"}, {"type": "text", "text": "What is it?"}]
    answer = {"role": "assistant", "content": [{"type": "text", "text": "A shape."}]}
    return {
        "id": f"s{n}",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": content}, answer],
    }


RECORDS = [_record(n) for n in range(N)]
MESSAGES = [_message_record(n) for n in range(N)]
_BESIDE = {f"{n}.png": data for n, data in enumerate(IMAGES)}


def _ingest(path: str, *, packed: bool = False, **settings: Any) -> Callable[[Path], object]:
    """Ingests the pool as the stage does, and reads every sample of the result."""

    def read(folder: Path) -> object:
        with tempfile.TemporaryDirectory(dir=folder.parent) as workdir:
            pool = {"path": str(folder / path), "packed": packed, **settings}
            ctx = StageContext({"pool": pool}, Workdir(Path(workdir)))
            ingest.run(ctx)
            opened = open_pool(ctx.workdir.pool)
            return [(opened[n], opened.record(n)) for n in range(len(opened))]

    return read


def _images_of(rng: random.Random) -> Files:
    if rng.random() < 0.7:
        return _BESIDE
    return {**_BESIDE, "1.png": mutations.mutate_bytes(rng, IMAGES[1])}


def _parquet_pool() -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table(
        {
            "id": [f"s{n}" for n in range(N)],
            "image": pa.array([{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(IMAGES)], kind),
            "conversations": [r["conversations"] for r in RECORDS],
            "source": ["a"] * N,
        }
    )


def _texts_pool() -> pa.Table:
    return pa.table(
        {
            "images": pa.array([[{"bytes": data}] for data in IMAGES], pa.list_(pa.struct([("bytes", pa.binary())]))),
            "texts": [[{"user": "What?", "assistant": "A shape."}]] * N,
            "messages": [[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]] * N,
        }
    )


def _webdataset(rng: random.Random) -> Files:
    members = {
        "a.png": IMAGES[0],
        "a.json": json.dumps(RECORDS[0]).encode(),
        "b.0.png": IMAGES[1],
        "b.1.png": IMAGES[2],
        "b.json": json.dumps({"id": "b", "conversations": MESSAGES[0]}).encode(),
        "c.png": IMAGES[2],
        "c.txt": b"A caption.",
    }
    made = {
        "json": lambda r: json_file(r, RECORDS[0]),
        "txt": lambda r: mutations.mutate_text(r, "A caption."),
        "png": lambda r: mutations.mutate_bytes(r, IMAGES[0]),
    }
    return {"0.tar": mutations.mutate_tar(rng, members, made)}


@functools.cache
def _packed() -> Mapping[str, bytes]:
    """The files of a packed pool, made once."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path, data in {**_BESIDE, "pool.json": json.dumps(RECORDS).encode()}.items():
            (root / path).write_bytes(data)
        ingest.run(StageContext({"pool": {"path": str(root / "pool.json"), "packed": True}}, Workdir(root / "w")))
        pool = root / "w" / "pool"
        return {p.relative_to(pool).as_posix(): p.read_bytes() for p in pool.rglob("*") if p.is_file()}


def _read_packed(folder: Path) -> object:
    opened = open_pool(folder)
    return [(opened[n], opened.record(n)) for n in range(len(opened))]


def _mixture(rng: random.Random) -> Files:
    value = {
        "datasets": [
            {"json_path": "a.json", "sampling_strategy": "first:2"},
            {"json_path": "b.jsonl", "sampling_strategy": "random:50%"},
        ]
    }
    text = either(
        rng, lambda: mutations.mutate_json(rng, value), lambda: mutations.mutate_text(rng, yaml.safe_dump(value))
    )
    other = "\n".join(json.dumps({**r, "id": "b" + r["id"]}) for r in RECORDS).encode()
    return {**_BESIDE, "m.yaml": text, "a.json": json.dumps(RECORDS).encode(), "b.jsonl": other}


TARGETS: Mapping[str, Target] = {
    "llava_json": Target(
        lambda r: {**_images_of(r), "pool.json": json_file(r, RECORDS)}, _ingest("pool.json", source={"path_parts": 1})
    ),
    "llava_jsonl": Target(
        lambda r: {**_images_of(r), "pool.jsonl": json_lines(r, RECORDS)}, _ingest("pool.jsonl", repair="llava")
    ),
    "messages": Target(
        lambda r: {**_images_of(r), "pool.json": json_file(r, MESSAGES)}, _ingest("pool.json", id="auto")
    ),
    "mixture": Target(_mixture, _ingest("m.yaml")),
    "parquet": Target(
        lambda r: {"p.parquet": parquet_file(r, _parquet_pool()), **_BESIDE}, _ingest("p.parquet", packed=True)
    ),
    "parquet_texts": Target(
        lambda r: {"p.parquet": parquet_file(r, _texts_pool())}, _ingest("p.parquet", packed=True, id="auto")
    ),
    "webdataset": Target(_webdataset, _ingest("0.tar", packed=True)),
    "tfds": Target(lambda r: mutated_folder(r, _packed()), _ingest(".", packed=True)),
    "packed_pool": Target(lambda r: mutated_folder(r, _packed()), _read_packed),
}
