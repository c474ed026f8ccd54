"""The readers that are fuzzed: for each a small valid input, how it is mutated, and the functions that read it.

A target's `make` gives files by their path in an empty folder, `read` reads them as a stage does. What `read` may raise
is in `REFUSALS`: the errors that end in one line, or in an answer of the server.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import yaml
from PIL import Image

from mmssr_jax.convert import import_hf, preprocessor
from mmssr_jax.convert.checkpoint import INDEX, SINGLE, Checkpoint
from mmssr_jax.core import checksums, files, tables
from mmssr_jax.core.artifact import Artifact, read_manifest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
from mmssr_jax.evaluation.benchmark import benchmark_digest, read_benchmark
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.images.decode import ImageError, open_rgb
from mmssr_jax.judge.api.responses import classify_completion, token_usage
from mmssr_jax.judge.backends.recorded import read_recorded
from mmssr_jax.judge.ledger import Ledger, LedgerEntry
from mmssr_jax.judge.parse_answer import read_ratings
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.scoring.supervision import labels_by_id
from mmssr_jax.selection import id_files
from mmssr_jax.selection.formats import official
from mmssr_jax.selection.read_scores import join_features, read_scores
from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.chat_requests import read_request
from mmssr_jax.stages import ingest

from . import mutations

REFUSALS = (UserError, ApiError, ImageError)

Files = Mapping[str, bytes]
_N = 3  # records of a valid input


@dataclasses.dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
      make: a mutated input.
      read: reads it from the folder that it was written to.
    """

    make: Callable[[random.Random], Files]
    read: Callable[[Path], object]


def _image(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (colour, 10, 200)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [_image(50 * n) for n in range(_N)]


def _either(rng: random.Random, first: Callable[[], bytes], second: Callable[[], bytes], share: float = 0.7) -> bytes:
    return first() if rng.random() < share else second()


def _json(rng: random.Random, value: Any) -> bytes:
    """A JSON text, mutated in its structure or in its bytes."""
    return _either(
        rng, lambda: mutations.mutate_json(rng, value), lambda: mutations.mutate_bytes(rng, json.dumps(value).encode())
    )


def _lines(rng: random.Random, rows: list[Any]) -> bytes:
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return _either(rng, lambda: mutations.mutate_lines(rng, rows), lambda: mutations.mutate_bytes(rng, whole))


def _table(rng: random.Random, table: pa.Table) -> bytes:
    def damaged() -> bytes:
        return mutations.mutate_bytes(rng, _parquet(table))

    return _either(rng, lambda: mutations.mutate_table(rng, table), damaged)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


# Pools


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


RECORDS = [_record(n) for n in range(_N)]
MESSAGES = [_message_record(n) for n in range(_N)]
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
            "id": [f"s{n}" for n in range(_N)],
            "image": pa.array([{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(IMAGES)], kind),
            "conversations": [r["conversations"] for r in RECORDS],
            "source": ["a"] * _N,
        }
    )


def _texts_pool() -> pa.Table:
    return pa.table(
        {
            "images": pa.array([[{"bytes": data}] for data in IMAGES], pa.list_(pa.struct([("bytes", pa.binary())]))),
            "texts": [[{"user": "What?", "assistant": "A shape."}]] * _N,
            "messages": [[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]] * _N,
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
        "json": lambda r: _json(r, RECORDS[0]),
        "txt": lambda r: mutations.mutate_text(r, "A caption."),
        "png": lambda r: mutations.mutate_bytes(r, IMAGES[0]),
    }
    return {"0.tar": mutations.mutate_tar(rng, members, made)}


class _Packed:
    """The files of a packed pool, made once."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def __call__(self) -> dict[str, bytes]:
        if not self._files:
            with tempfile.TemporaryDirectory() as name:
                root = Path(name)
                for path, data in {**_BESIDE, "pool.json": json.dumps(RECORDS).encode()}.items():
                    (root / path).write_bytes(data)
                ingest.run(
                    StageContext({"pool": {"path": str(root / "pool.json"), "packed": True}}, Workdir(root / "w"))
                )
                pool = root / "w" / "pool"
                self._files = {p.relative_to(pool).as_posix(): p.read_bytes() for p in pool.rglob("*") if p.is_file()}
        return dict(self._files)


_packed = _Packed()


def _mutated_folder(rng: random.Random, found: dict[str, bytes]) -> Files:
    """A folder in which one file is mutated, by its kind, or is gone."""
    name = rng.choice(sorted(found))
    kind = name.rpartition(".")[2]
    if rng.random() < 0.05:
        del found[name]
    elif kind == "json":
        found[name] = _json(rng, json.loads(found[name]))
    elif kind == "parquet":
        found[name] = _table(rng, pq.read_table(io.BytesIO(found[name])))
    elif kind in ("jsonl", "txt"):
        found[name] = mutations.mutate_text(rng, found[name].decode())
    else:
        found[name] = mutations.mutate_bytes(rng, found[name])
    return found


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
    text = _either(
        rng, lambda: mutations.mutate_json(rng, value), lambda: mutations.mutate_text(rng, yaml.safe_dump(value))
    )
    other = "\n".join(json.dumps({**r, "id": "b" + r["id"]}) for r in RECORDS).encode()
    return {**_BESIDE, "m.yaml": text, "a.json": json.dumps(RECORDS).encode(), "b.jsonl": other}


# Benchmarks


_CELLS = ("index", "image", "question", "A", "B", "answer", "category", "l2-category", "split", "hint")
_KINDS = (
    "multiple_choice",
    "mmbench",
    "mmvet",
    "yes_no",
    "short_answer",
    "mme",
    "mmmu",
    "mathvista",
    "grounding",
    "caption",
    "mixed",
    "ocrbench",
)


def _tsv(rng: random.Random) -> Files:
    images = [base64.b64encode(data).decode() for data in IMAGES]
    rows = [[str(n), images[n], "Is it red?", "Yes", "No", "A", "colour", "c", "val", ""] for n in range(_N)]
    if rng.random() < 0.3:
        rows[2][1] = rng.choice(
            ("1", "['1', '0']", images[2][:-3], "0", "[]", "[" * 3000, f"['{images[0]}', '{images[1]}']")
        )
    header = list(_CELLS)
    if rng.random() < 0.3:
        rows[rng.randrange(_N)][rng.randrange(len(header))] = rng.choice(
            ("", "\x00", "Z", "[1, 2", "9" * 5000, "nan", "é")
        )
        header[rng.randrange(len(header))] = rng.choice((*_CELLS, "image_path", "video_path", ""))
        return {"b.tsv": "\n".join("\t".join(line) for line in [header, *rows]).encode()}
    text = "\n".join("\t".join(line) for line in [header, *rows]) + "\n"
    return {
        "b.tsv": _either(
            rng, lambda: mutations.mutate_text(rng, text), lambda: mutations.mutate_bytes(rng, text.encode())
        )
    }


def _read_tsv(folder: Path) -> object:
    rows = read_benchmark(folder / "b.tsv", required=("index", "question"))
    benchmark_digest(folder / "b.tsv")
    read = []
    for kind in _KINDS:
        benchmark = get_benchmark(kind)
        try:
            kept = benchmark.load(list(rows))
            read += [benchmark.ask(row, None) for row in kept]
            fields = [{**row.fields, "prediction": "A", "grade": "1"} for row in kept]
            read += [benchmark.score(fields)] if fields else []
        except UserError:
            continue
    return read


# Ratings, scores, ids


_RUBRIC = Rubric()
_RATINGS = [{"id": f"s{n}", "scores": [n % 6] * len(SLUGS), "styles": [STYLES[n]]} for n in range(_N)]


def _answer(n: int) -> dict[str, Any]:
    return {**dict.fromkeys(SLUGS, n), "styles": [STYLES[0]], "rationale": "because"}


def _entry(n: int) -> dict[str, Any]:
    return dataclasses.asdict(
        LedgerEntry(f"s{n}", "oracle", "h", raw=json.dumps(_answer(n)), usage={"prompt_tokens": 3}, time="t")
    )


def _read_ledger(folder: Path) -> object:
    path = folder / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(LedgerEntry("new", "oracle", "h"))
    return read_ratings(path, {("oracle", "h", f"s{n}", 0) for n in range(_N)}, _RUBRIC)


def _score_table() -> pa.Table:
    columns = {"id": [f"s{n}" for n in range(_N)], "source": ["a"] * _N}
    columns |= {slug: np.array([0.5, 2.0, 5.0], np.float32) for slug in SLUGS[:3]}  # type: ignore[dict-item]
    return pa.table(
        {**columns, "styles": [[STYLES[0]], [STYLES[1], STYLES[0]], []], "n_tokens": np.array([3, 4, 5], np.int32)}
    )


def _read_scores(folder: Path) -> object:
    table = read_scores(folder / "scores")
    return join_features(table, folder / "features", ("vector",)), tables.read_parts(folder / "scores")


def _judgment_table() -> pa.Table:
    columns = {slug: np.array([0, 3, 5], np.int8) for slug in SLUGS}
    ids = {"id": [f"s{n}" for n in range(_N)], "source": ["a"] * _N}
    more = {
        "styles": [[STYLES[0]], [STYLES[1], STYLES[0]], [STYLES[2]]],
        "judge": ["j"] * _N,
        "prompt_hash": ["h"] * _N,
    }
    return pa.table({**ids, **columns, **more})


def _scores(rng: random.Random) -> Files:
    features = pa.table({"id": [f"s{n}" for n in range(_N)], "loss": [0.5, 1.0, 2.0], "vector": [[1.0, 2.0]] * _N})
    whole = {f"scores/{tables.part_name(n, 2)}": _score_table().slice(2 * n, 2) for n in range(2)} | {
        f"features/{tables.part_name(0, 1)}": features
    }
    chosen = rng.choice(sorted(whole))
    return {name: _table(rng, table) if name == chosen else _parquet(table) for name, table in whole.items()}


def _official(rng: random.Random) -> Files:
    rows = [{"idx": n, "pred_response": str(n)} for n in range(_N)]
    styles = [{"idx": n, "pred_response": "yes/no, word/short-phrase"} for n in range(_N)]
    names = [c.name for c in CAPABILITIES[:2]]
    csv = "idx," + ",".join(names) + ",sty_1,sty_2\n" + "".join(f"{n},{n}.0,4,yes/no+a,\n" for n in range(_N))
    found = {f"{name}.jsonl": _plain(rows) for name in names} | {
        "style.jsonl": _plain(styles),
        "t/parsed.csv": csv.encode(),
    }
    chosen = rng.choice(sorted(found))
    if chosen == "t/parsed.csv":
        return {**found, chosen: mutations.mutate_text(rng, csv)}
    return {**found, chosen: _lines(rng, styles if chosen == "style.jsonl" else rows)}


def _plain(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _read_official(folder: Path) -> object:
    sources = {str(n): "a" for n in range(_N)}
    found: list[object] = []
    for read in (
        lambda: official.read_jsonl(folder, sources),
        lambda: official.read_csv(folder / "t" / "parsed.csv", sources),
    ):
        try:
            found.append(read())
        except UserError:
            continue
    return found


# Models


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
    return {**parts, INDEX: _json(rng, index)}


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


def _model_config(rng: random.Random) -> Files:
    model = {
        "vision": {"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
        "decoder": {"vocab": 64, "width": 16, "depth": 1, "heads": 2, "kv_heads": 2, "mlp": 32, "rope_theta": 1e4},
    }
    found = {"config.json": _HF_CONFIG, "preprocessor_config.json": _PROCESSOR, "model.json": model}
    chosen = rng.choice(sorted(found))
    return {name: _json(rng, v) if name == chosen else json.dumps(v).encode() for name, v in found.items()}


def _read_model_config(folder: Path) -> object:
    where = str(folder / "config.json")
    config = preprocessor.with_preprocessor(import_hf.llava_config(folder), folder)
    return config, to_dataclass(VLMConfig, files.read_json(folder / "model.json"), where)


class _Tokenizer:
    """The files of a small tokenizer, made once."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def __call__(self) -> dict[str, bytes]:
        if not self._files:
            with tempfile.TemporaryDirectory() as name:
                train_tokenizer(["What is it? A red cat."] * 3, vocab_size=280).save(Path(name))
                self._files = {p.name: p.read_bytes() for p in Path(name).iterdir()}
        return dict(self._files)


_tokenizer = _Tokenizer()


def _read_tokenizer(folder: Path) -> object:
    tokenizer = load_tokenizer(folder)
    return tokenizer.decode(tokenizer.encode("What is it? <|im_end|>"))


# What the program wrote itself


def _manifest(rng: random.Random) -> Files:
    manifest = {
        "stage": "judge",
        "config": {"a": 1},
        "config_fingerprint": "x",
        "inputs": {"pool": "y"},
        "counts": {"n": 3},
        "libraries": {},
    }
    found = {
        "done/manifest.json": manifest,
        "begun/claim.json": manifest,
        "results.json": {"degenerate": [], "cost_usd": 0.5, "samples": {}},
        "done/checksums.json": {"ids.txt": "0" * 64},
    }
    chosen = rng.choice([*sorted(found), "ids.txt"])
    made = {name: _json(rng, v) if name == chosen else json.dumps(v).encode() for name, v in found.items()}
    ids = "s0\ns1\n"
    return {
        **made,
        "done/ids.txt": mutations.mutate_text(rng, ids) if chosen == "ids.txt" else ids.encode(),
        "begun/part": b"x",
    }


def _read_manifest(folder: Path) -> object:
    found: list[object] = []
    for read in (
        lambda: read_manifest(folder / "done"),
        lambda: Artifact(folder / "done", stage="judge", settings={"a": 1}, inputs={"pool": "y"}).done,
        lambda: Artifact(folder / "begun", stage="judge", settings={"a": 1}, inputs={"pool": "y"}).resumed,
        lambda: read_saved(folder / "results.json", {"degenerate": list, "cost_usd": (int, float), "samples": dict}),
        lambda: id_files.read(folder / "done"),
        lambda: checksums.verify_checksums(folder / "done", repair="x"),
    ):
        try:
            found.append(read())
        except UserError:
            continue
    return found


# The server and its clients


def _request(rng: random.Random) -> Files:
    url = "data:image/png;base64," + base64.b64encode(IMAGES[0]).decode()
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    value = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": content}],
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
    }
    return {"body.json": _json(rng, value)}


def _read_request(folder: Path) -> object:
    body = (folder / "body.json").read_bytes()
    limits = {"max_tokens": 16, "max_chars": 20_000, "max_images": 4, "max_pixels": 10_000, "max_choices": 2}
    return read_request(body, model="m", **limits)


def _completion(rng: random.Random) -> Files:
    text = rng.choice(
        (json.dumps(_answer(3)), "<think>{</think>" + json.dumps(_answer(2)), '{"' * 2000, '{"a":' * 2000, "x" * 90_000)
    )
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}}
    return {"answer.json": _json(rng, {"id": "c", "model": "m", "choices": [choice], "usage": usage})}


def _read_completion(folder: Path) -> object:
    outcome, payload = classify_completion((folder / "answer.json").read_bytes(), _RUBRIC)
    return outcome, token_usage(payload)


def _encoded_image(rng: random.Random) -> Files:
    buffer = io.BytesIO()
    kind = rng.choice(("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"))
    Image.new(rng.choice(("RGB", "L")) if kind != "AVIF" else "RGB", (9, 7), 80).save(buffer, kind)
    return {"image": mutations.mutate_bytes(rng, buffer.getvalue())}


TARGETS: Mapping[str, Target] = {
    "llava_json": Target(
        lambda r: {**_images_of(r), "pool.json": _json(r, RECORDS)}, _ingest("pool.json", source={"path_parts": 1})
    ),
    "llava_jsonl": Target(
        lambda r: {**_images_of(r), "pool.jsonl": _lines(r, RECORDS)}, _ingest("pool.jsonl", repair="llava")
    ),
    "messages": Target(lambda r: {**_images_of(r), "pool.json": _json(r, MESSAGES)}, _ingest("pool.json", id="auto")),
    "mixture": Target(_mixture, _ingest("m.yaml")),
    "parquet": Target(
        lambda r: {"p.parquet": _table(r, _parquet_pool()), **_BESIDE}, _ingest("p.parquet", packed=True)
    ),
    "parquet_texts": Target(
        lambda r: {"p.parquet": _table(r, _texts_pool())}, _ingest("p.parquet", packed=True, id="auto")
    ),
    "webdataset": Target(_webdataset, _ingest("0.tar", packed=True)),
    "tfds": Target(lambda r: _mutated_folder(r, _packed()), _ingest(".", packed=True)),
    "packed_pool": Target(lambda r: _mutated_folder(r, _packed()), _read_packed),
    "tsv": Target(_tsv, _read_tsv),
    "judgments": Target(lambda r: {"r.jsonl": _lines(r, _RATINGS)}, lambda f: read_recorded(f / "r.jsonl", _RUBRIC)),
    "judgment_table": Target(
        lambda r: {"j.parquet": _table(r, _judgment_table())},
        lambda f: labels_by_id(files.read_parquet(f / "j.parquet"), SLUGS),
    ),
    "ledger": Target(lambda r: {"ledger.jsonl": _lines(r, [_entry(n) for n in range(_N)])}, _read_ledger),
    "scores": Target(_scores, _read_scores),
    "official": Target(_official, _read_official),
    "safetensors": Target(_safetensors, _read_safetensors),
    "model_config": Target(_model_config, _read_model_config),
    "tokenizer": Target(lambda r: _mutated_folder(r, _tokenizer()), _read_tokenizer),
    "manifest": Target(_manifest, _read_manifest),
    "serve_request": Target(_request, _read_request),
    "judge_answer": Target(_completion, _read_completion),
    "image": Target(_encoded_image, lambda f: open_rgb((f / "image").read_bytes(), max_pixels=10_000)),
}
