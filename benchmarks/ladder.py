r"""Runs replicates of configs/ladder.py and prints the rungs: paired differences, 95 % intervals, power.

    python benchmarks/ladder.py --workdir=runs/ladder --seeds=0,1,2,3,4,5,6,7,8,9

Every replicate is one run of the program in a folder of its own: what is finished is kept, what was interrupted
resumes, and results of other settings are refused. `ladder.json` holds the numbers and the hash of the config, whose
equality shows that development and fresh seeds were run alike.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from absl import app, flags

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.replicate import run_config  # noqa: E402
from configs.ladder import get_config  # noqa: E402
from mmssr_jax.core.config import fingerprint, to_plain  # noqa: E402
from mmssr_jax.core.workdir import Workdir  # noqa: E402
from mmssr_jax.evaluation.ladder import climb, table  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", "runs/ladder", "folder of the replicates")
_SEEDS = flags.DEFINE_list("seeds", [str(seed) for seed in range(10)], "the replicates")
_MEASURE = flags.DEFINE_enum("measure", "acc_norm", ["acc", "acc_norm", "acc_mutual_info"], "the measure of the arms")


def replicate(seed: str) -> dict[str, float]:
    """Runs one replicate, or what is missing of it: arm -> its measure, the mean over skills in percent."""
    folder = Path(_WORKDIR.value) / seed
    run_config("ladder", seed, folder)
    arms = get_config(seed).evaluate.runs
    results = {arm: json.loads(Workdir(folder).results(arm).read_text()) for arm in arms}
    # The benchmark has equally many questions a skill, so that the mean over questions is the mean over skills.
    return {arm: result["benchmarks"]["tiles"]["ranked"][_MEASURE.value]["value"] for arm, result in results.items()}


def main(argv: list[str]) -> None:
    """Runs the replicates one after the other."""
    del argv
    config_hash = fingerprint(to_plain(get_config("0")))
    values: dict[str, list[float]] = {}
    for count, seed in enumerate(_SEEDS.value, 1):
        for arm, value in replicate(seed).items():
            values.setdefault(arm, []).append(value)
        print(f"config {config_hash}, {_MEASURE.value}, seeds {', '.join(_SEEDS.value[:count])}")
        for arm, numbers in values.items():
            print(f"  {arm:<9} mean {sum(numbers) / count:5.1f}   {' '.join(f'{n:5.1f}' for n in numbers)}")
        results = climb(values)
        print(table(results), flush=True)
        written = {"config": config_hash, "seeds": _SEEDS.value[:count], "measure": _MEASURE.value, "values": values,
                   "rungs": [dataclasses.asdict(one) for one in results]}  # fmt: skip
        Path(_WORKDIR.value, "ladder.json").write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    app.run(main)
