"""The readers of a judge's ratings and of what a model scored."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files, tables
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES
from mmssr_jax.judge.backends.recorded import read_recorded
from mmssr_jax.judge.ledger import Ledger, LedgerEntry
from mmssr_jax.judge.parse_answer import read_ratings
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.scoring.supervision import labels_by_id
from mmssr_jax.selection.formats import official
from mmssr_jax.selection.read_scores import join_features, read_scores

from . import mutations
from .mutated_files import encode_lines, encode_parquet, json_lines, parquet_file
from .target import Files, N, Target, read_each

RUBRIC = Rubric()
_RATINGS = [{"id": f"s{n}", "scores": [n % 6] * len(SLUGS), "styles": [STYLES[n]]} for n in range(N)]


def answer(n: int) -> dict[str, Any]:
    return {**dict.fromkeys(SLUGS, n), "styles": [STYLES[0]], "rationale": "because"}


def _entry(n: int) -> dict[str, Any]:
    return dataclasses.asdict(
        LedgerEntry(f"s{n}", "oracle", "h", raw=json.dumps(answer(n)), usage={"prompt_tokens": 3}, time="t")
    )


def _read_ledger(folder: Path) -> object:
    path = folder / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(LedgerEntry("new", "oracle", "h"))
    return read_ratings(path, {("oracle", "h", f"s{n}", 0) for n in range(N)}, RUBRIC)


def _score_table() -> pa.Table:
    columns = {"id": [f"s{n}" for n in range(N)], "source": ["a"] * N}
    columns |= {slug: np.array([0.5, 2.0, 5.0], np.float32) for slug in SLUGS[:3]}  # type: ignore[dict-item]
    return pa.table(
        {**columns, "styles": [[STYLES[0]], [STYLES[1], STYLES[0]], []], "n_tokens": np.array([3, 4, 5], np.int32)}
    )


def _read_scores(folder: Path) -> object:
    table = read_scores(folder / "scores")
    return join_features(table, folder / "features", ("vector",)), tables.read_parts(folder / "scores")


def _judgment_table() -> pa.Table:
    columns = {slug: np.array([0, 3, 5], np.int8) for slug in SLUGS}
    ids = {"id": [f"s{n}" for n in range(N)], "source": ["a"] * N}
    more = {
        "styles": [[STYLES[0]], [STYLES[1], STYLES[0]], [STYLES[2]]],
        "judge": ["j"] * N,
        "prompt_hash": ["h"] * N,
    }
    return pa.table({**ids, **columns, **more})


def _scores(rng: random.Random) -> Files:
    features = pa.table({"id": [f"s{n}" for n in range(N)], "loss": [0.5, 1.0, 2.0], "vector": [[1.0, 2.0]] * N})
    whole = {f"scores/{tables.part_name(n, 2)}": _score_table().slice(2 * n, 2) for n in range(2)} | {
        f"features/{tables.part_name(0, 1)}": features
    }
    chosen = rng.choice(sorted(whole))
    return {
        name: parquet_file(rng, table) if name == chosen else encode_parquet(table) for name, table in whole.items()
    }


def _official(rng: random.Random) -> Files:
    rows = [{"idx": n, "pred_response": str(n)} for n in range(N)]
    styles = [{"idx": n, "pred_response": "yes/no, word/short-phrase"} for n in range(N)]
    names = [c.name for c in CAPABILITIES[:2]]
    csv = "idx," + ",".join(names) + ",sty_1,sty_2\n" + "".join(f"{n},{n}.0,4,yes/no+a,\n" for n in range(N))
    found = {f"{name}.jsonl": encode_lines(rows) for name in names} | {
        "style.jsonl": encode_lines(styles),
        "t/parsed.csv": csv.encode(),
    }
    chosen = rng.choice(sorted(found))
    if chosen == "t/parsed.csv":
        return {**found, chosen: mutations.mutate_text(rng, csv)}
    return {**found, chosen: json_lines(rng, styles if chosen == "style.jsonl" else rows)}


def _read_official(folder: Path) -> object:
    sources = {str(n): "a" for n in range(N)}
    return read_each(
        lambda: official.read_jsonl(folder, sources),
        lambda: official.read_csv(folder / "t" / "parsed.csv", sources),
    )


TARGETS: Mapping[str, Target] = {
    "judgments": Target(lambda r: {"r.jsonl": json_lines(r, _RATINGS)}, lambda f: read_recorded(f / "r.jsonl", RUBRIC)),
    "judgment_table": Target(
        lambda r: {"j.parquet": parquet_file(r, _judgment_table())},
        lambda f: labels_by_id(files.read_parquet(f / "j.parquet"), SLUGS),
    ),
    "ledger": Target(lambda r: {"ledger.jsonl": json_lines(r, [_entry(n) for n in range(N)])}, _read_ledger),
    "scores": Target(_scores, _read_scores),
    "official": Target(_official, _read_official),
}
