"""What the selections of the comparison consist of: flaws, skills, and how alike the samples of a skill are.

    python benchmarks/composition.py --workdir=runs/evidence --seeds=5-9 --out=docs/evidence/composition.json

Reads the workdirs that benchmarks/evidence.py leaves (WORKDIR/REPLICATE/ours), trains nothing, and writes, of each
replicate and selection at a tenth:

| key | meaning |
| --- | --- |
| flawed | share of the picks |
| empty | capabilities that chose no sample; None for methods without capabilities |
| answers | of the picks without a flaw: answers a skill, the exponential of their entropy; mean over skills |
| level | of the same: mean difficulty, 1 to 3 |
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from absl import app, flags

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.composition_run import composition  # noqa: E402
from benchmarks.evidence_run import replicates  # noqa: E402
from configs.evidence import SEEDS  # noqa: E402
from mmssr_jax.core import files  # noqa: E402
from mmssr_jax.core.workdir import Workdir  # noqa: E402
from mmssr_jax.pool.pool import open_pool  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", "runs/evidence", "folder of the replicates")
_SEEDS = flags.DEFINE_string("seeds", SEEDS, "replicates: numbers and ranges, such as 0-2,7")
_OUT = flags.DEFINE_string(
    "out", None, "JSON file; replicates that it has and that are not asked for stay", required=True
)


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
