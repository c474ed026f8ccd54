r"""Runs the cells of configs/evidence.py that the committed results do not hold, and adds them there.

    python benchmarks/evidence.py --workdir=runs/evidence --seeds=5-9
    python benchmarks/evidence.py --workdir=runs/evidence --seeds=5-9 --family=ablations
    python benchmarks/evidence.py --workdir=runs/evidence --seeds=5-9 --family=ablations --only=placebo
    python benchmarks/evidence.py --workdir=runs/evidence --seeds=5-9 --list
    python benchmarks/evidence.py --workdir=runs/again --seeds=0 --only=ours/mmssr-p10 --again
    python docs/make_evidence.py

A cell is one training run of one replicate; FAMILY/REPLICATE.json below --results is the cache. A cell whose inputs,
the fingerprint of all settings that it depends on, are there is not run again. A changed setting runs what depends on
it, in another --workdir or with --flags=--overwrite=STAGE. Interrupted, the same command resumes. Processes may share
the work if each has replicates of its own. --again trains a cell anew and compares its predictions' digest.

--flags are given to every run of the program, such as "--config.pool.path=POOL.json --config.base=CHECKPOINT", and
belong to the fingerprints; those that begin with --overwrite do not.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl import app, flags, logging

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.evidence_run import (  # noqa: E402
    Replicate,
    compare_again,
    complete,
    config_hash,
    missing_arms,
    planned,
    replicates,
)
from configs.evidence import FAMILIES, SEEDS  # noqa: E402
from mmssr_jax.evaluation.evidence_cells import read_cells, result_file  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", "runs/evidence", "folder of the replicates")
_SEEDS = flags.DEFINE_string("seeds", SEEDS, "replicates: numbers and ranges, such as 0-2,7")
_FAMILY = flags.DEFINE_enum("family", "main", list(FAMILIES), "which cells")
_ONLY = flags.DEFINE_list("only", [], "only these: METHOD, ARM or VARIANT/ARM")
_RESULTS = flags.DEFINE_string("results", None, "folder of the results; docs/evidence, at a scale WORKDIR/results")
_SCALE = flags.DEFINE_string("scale", "", "size of the replicates: a key of SCALES")
_LIST = flags.DEFINE_bool("list", False, "only say which cells are there and which would be run")
_AGAIN = flags.DEFINE_bool("again", False, "run cells that are there, and compare instead of writing")
_FLAGS = flags.DEFINE_string("flags", "", "further flags of the program")


def main(argv: list[str]) -> int:
    """Runs the replicates one after the other."""
    del argv
    logging.set_verbosity(logging.INFO)
    plan, further = planned(_FAMILY.value, _ONLY.value), shlex.split(_FLAGS.value)
    hashed, same = config_hash(_FAMILY.value, _SCALE.value), True
    usual = Path(_WORKDIR.value) / "results" if _SCALE.value else REPO / "docs" / "evidence"
    folder = Path(_RESULTS.value) if _RESULTS.value else usual
    for seed in replicates(_SEEDS.value):
        replicate = Replicate(seed, _SCALE.value, Path(_WORKDIR.value).absolute(), further)
        path = result_file(folder, _FAMILY.value, seed)
        if _LIST.value:
            content, cells = read_cells(path)
            for variant, arms in plan.items():
                left = missing_arms(replicate, variant, arms, content.get("scorers", {}), cells)
                print(f"replicate {seed}, {variant}: {len(arms) - len(left)} there, to run: {' '.join(left) or '-'}")
        elif _AGAIN.value:
            same &= compare_again(replicate, plan, read_cells(path)[1])
        else:
            complete(replicate, seed, plan, path, hashed)
    return 0 if same else 1


if __name__ == "__main__":
    app.run(main)
