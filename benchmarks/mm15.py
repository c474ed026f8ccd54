r"""Runs configs/mm15_tiny.py over seeds: every skill beside what needs no skill, and the paper's ablations.

    python benchmarks/mm15.py --workdir=runs/mm15 --seeds=0-2 --family=skills
    python benchmarks/mm15.py --workdir=runs/mm15 --seeds=0-2 --family=ablations
    python docs/make_mm15.py

A seed is one run of the program in a folder of its own: what is finished is kept, what was interrupted resumes. Its
numbers go to FAMILY/SEED.json below --results, docs/mm15 by default, and a seed whose config is there is not run again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags, logging

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.evidence_run import replicates  # noqa: E402
from benchmarks.mm15_run import FAMILIES, argument_of, config_hash, run_seed  # noqa: E402
from configs import mm15_tiny  # noqa: E402
from mmssr_jax.core import files  # noqa: E402

FLAGS = flags.FLAGS
_WORKDIR = flags.DEFINE_string("workdir", "runs/mm15", "folder of the runs")
_SEEDS = flags.DEFINE_string("seeds", "0-2", "numbers and ranges, such as 0-2,7")
_FAMILY = flags.DEFINE_enum("family", "skills", list(FAMILIES), "which arms, at which scale")
_SCALE = flags.DEFINE_enum("scale", None, list(mm15_tiny.STEPS), "another scale than the family's")
_RESULTS = flags.DEFINE_string("results", str(REPO / "docs" / "mm15"), "folder of the results")


def main(argv: list[str]) -> None:
    """Runs the seeds one after the other."""
    del argv
    logging.set_verbosity(logging.INFO)
    scale, arms = FAMILIES[_FAMILY.value]
    if _SCALE.value is not None:
        if not FLAGS["results"].present:
            raise app.UsageError("--scale: give --results too; docs/mm15 has the family's own scale only")
        scale = _SCALE.value
    for seed in replicates(_SEEDS.value):
        path = Path(_RESULTS.value) / _FAMILY.value / f"{seed}.json"
        known = files.read_json_object(path).get("config") if path.exists() else None
        if known == config_hash(argument_of(seed, scale, arms)):
            logging.info("seed %d of %s is there", seed, _FAMILY.value)
            continue
        folder = Path(_WORKDIR.value).absolute() / _FAMILY.value / str(seed)
        files.write_text(path, files.dump_json(run_seed(seed, scale, arms, folder)) + "\n")


if __name__ == "__main__":
    app.run(main)
