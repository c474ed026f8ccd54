"""What the selections of the comparison consist of: flaws, skills, and how alike the samples of a skill are.

    python benchmarks/composition.py --workdir=runs/evidence --seeds=5-9 --out=docs/evidence/composition.json

Reads the workdirs that benchmarks/evidence.py leaves (WORKDIR/REPLICATE/ours), trains nothing, and writes, of each
replicate and selection at a tenth:

| key | meaning |
| --- | --- |
| flawed | share of the picks |
| empty | capabilities that chose no sample; None for methods without capabilities |
| answers | of the picks without a flaw: effective number of different answers a skill (the exponential of the entropy), mean over skills |
| level | of the same: mean difficulty, 1 to 3 |
"""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.evidence_run import replicates  # noqa: E402
from configs.evidence import SEEDS  # noqa: E402
from mmssr_jax.core import files  # noqa: E402
from mmssr_jax.core.vocabulary import SLUGS  # noqa: E402
from mmssr_jax.core.workdir import Workdir  # noqa: E402
from mmssr_jax.pool.pool import open_pool  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", "runs/evidence", "folder of the replicates")
_SEEDS = flags.DEFINE_string("seeds", SEEDS, "replicates: numbers and ranges, such as 0-2,7")
_OUT = flags.DEFINE_string(
    "out", None, "JSON file; replicates that it has and that are not asked for stay", required=True
)


def effective(values: Iterable[Any]) -> float:
    """The exponential of the entropy of values, 0 without any."""
    counts = np.array(list(collections.Counter(values).values()), float)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(counts) else 0.0


def composition(
    picks: list[dict[str, Any]], truth: Mapping[str, dict[str, Any]], answers: Mapping[str, str]
) -> dict[str, Any]:
    """The numbers of one selection; see the module."""
    sound = [truth[p["id"]] for p in picks if not truth[p["id"]]["flaw"]]
    by_skill = [[answers[row["id"]] for row in sound if row["kind"] == skill] for skill in SLUGS]
    chose = {p["capability"] for p in picks} - {None, ""}
    return {
        "flawed": round(1 - len(sound) / len(picks), 4),
        "empty": len(set(SLUGS) - chose) if chose else None,
        "answers": round(float(np.mean([effective(found) for found in by_skill])), 2),
        "level": round(float(np.mean([row["difficulty"] for row in sound])), 3),
    }  # fmt: skip


def main(argv: list[str]) -> None:
    """Adds the replicates to the file."""
    del argv
    out = Path(_OUT.value)
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for seed in replicates(_SEEDS.value):
        workdir = Workdir(Path(_WORKDIR.value) / str(seed) / "ours")
        truth = {row["id"]: row for row in files.read_parquet(workdir.truth).to_pylist()}
        answers = {sample.id: sample.turns[-1].text for sample in open_pool(workdir.pool)}
        found[str(seed)] = {}
        for folder in sorted(workdir.root.glob("selections/*-p10")):
            picks = files.read_parquet(folder / "selection.parquet", ["id", "capability"]).to_pylist()
            found[str(seed)][folder.name] = composition(picks, truth, answers)
    files.write_json(out, found)


if __name__ == "__main__":
    app.run(main)
