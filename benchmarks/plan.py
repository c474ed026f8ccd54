"""What a dry run predicts against what the run takes, stage by stage; prints one JSON line.

    python benchmarks/plan.py                                   (some ten minutes and 2 GiB on two cores)
    python benchmarks/plan.py --samples=200,800 --rows=100000   (three minutes)

The stages of configs/synthetic.py up to the scores run on generated pools of several sizes, each in a process of its
own; the first run is the trial (`config.plan.trial`) of the others. Where a plan assumes a number instead (`ingest`,
`select`), it is compared too, the selection on score tables of `--rows` rows (benchmarks/selection.py).

    load                load average of the machine at the end: other programs make both numbers uncertain
    from_trial          stage -> for each size: work, predicted_s, measured_s, and measured over predicted
    assumed             the same, without a trial
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags

from mmssr_jax.core.workdir import Workdir
from mmssr_jax.planning.estimate import ASSUMED_SECONDS
from mmssr_jax.planning.trial import Measured, read_trial

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("ingest", "judge", "train_scorer", "score")

_SAMPLES = flags.DEFINE_list("samples", ["300", "1000", "4000"], "sizes of the pools; the first is the trial")
_ROWS = flags.DEFINE_list("rows", ["100000", "1000000", "10000000"], "rows of the score tables")


def run(workdir: Path, samples: int) -> dict[str, Measured]:
    """Runs the stages on a pool of so many samples; what each took."""
    flags = {
        "pool.synthetic.size": samples, "judge.count": samples // 4, "train_scorer.phase.steps": samples // 20,
        "train_scorer.phase.log_every": 2,
    }  # fmt: skip
    command = [sys.executable, "-m", "mmssr_jax.main", "--config=configs/synthetic.py", f"--workdir={workdir}"]
    settings = [f"--config.{name}={value}" for name, value in flags.items()]
    subprocess.run([*command, f"--stages={','.join(STAGES)}", *settings], cwd=ROOT, check=True)
    return read_trial(Workdir(workdir))


def selection_seconds(rows: int) -> float:
    """Seconds from a score table's files to those of a selection."""
    command = [sys.executable, "benchmarks/selection.py", f"--rows={rows}"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["from_parquet"])


def row(work: float, predicted: float, measured: float) -> dict[str, float]:
    """One comparison."""
    return {
        "work": round(work), "predicted_s": round(predicted, 2), "measured_s": round(measured, 2),
        "factor": round(measured / predicted, 2),
    }  # fmt: skip


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    sizes = [int(n) for n in _SAMPLES.value]
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(Path(folder) / str(size), size) for size in sizes]
    trial, larger = runs[0], runs[1:]
    assumed = {"ingest": [(r["ingest"].work, r["ingest"].seconds) for r in runs]}
    assumed["select"] = [(int(n), selection_seconds(int(n))) for n in _ROWS.value]
    result: dict[str, Any] = {
        "samples": sizes,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "from_trial": {
            stage: [row(r[stage].work, trial[stage].predicted(r[stage].work), r[stage].seconds) for r in larger]
            for stage in trial
        },
        "assumed": {
            stage: [row(work, ASSUMED_SECONDS[stage] * work, seconds) for work, seconds in found]
            for stage, found in assumed.items()
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
