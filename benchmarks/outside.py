r"""The default recipe on pictures that no base model has seen: makes a set, runs it, measures; prints one JSON line.

    python benchmarks/outside.py --set=instruments --workdir=runs/outside
    python benchmarks/outside.py --set=toys --workdir=runs/outside --seed=1 -- --config.score.shards=4
    python benchmarks/outside.py --set=village --workdir=runs/outside --train

`configs/llava.py` is given the pool and the ratings of 1,000 of its 4,000 samples, and what follows `--`; with --train
also the benchmark, and the stages that train and evaluate. Measured is against the truth of the samples that no judge
rated, for the expected scores (`raw`) and the calibrated ones, if there are any:

| key | meaning |
| --- | --- |
| concordance, interval | macro concordance, 95 % |
| over_ngram_ridge, over_raw | lead over a text-only ridge fitted on all the ratings, and over the expected scores |
| style_f1 | macro F1 of the styles |
| unflawed_above, by_flaw | P(an unflawed sample above a flawed one), among samples of one question form |
| held_out | the run's own report on the ratings it held out, and the concordance that the truth itself has with them |
| flawed_share | of the pool and of each selection |
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.outside_sets import writing  # noqa: E402
from benchmarks.outside_sets.measuring import SETS, measure  # noqa: E402
from mmssr_jax.core import files  # noqa: E402
from mmssr_jax.core.workdir import Workdir  # noqa: E402

_STAGES = "ingest,judge,train_scorer,score,select,train,evaluate,report"

_SET = flags.DEFINE_enum("set", None, list(SETS), "which set", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the set and its run", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "of the set")
_TRAIN = flags.DEFINE_bool("train", False, "also train on the selections and evaluate on the set's benchmark")


def run(data: Path, workdir: Path, more: Sequence[str]) -> float:
    """Runs the config on the set: seconds. What is finished is kept."""
    given = [f"--config.pool.path={data / writing.POOL}", f"--config.judge.recorded={data / writing.RATINGS}"]
    if _TRAIN.value:
        given += [f"--stages={_STAGES}", f"--config.evaluate.benchmarks.mine.path={data / writing.BENCHMARK}"]
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={REPO}/configs/llava.py", f"--workdir={workdir}"]
    start = time.monotonic()
    subprocess.run([*command, *given, *more], check=True, cwd=REPO, stdout=sys.stderr)
    return time.monotonic() - start


def main(argv: list[str]) -> None:
    """Makes the set, runs and measures."""
    folder = Path(_WORKDIR.value).resolve() / f"{_SET.value}-{_SEED.value}"
    data = folder / "set"
    if not (data / writing.POOL).exists():  # written last
        writing.write_set(data, SETS[_SET.value], writing.Sizes(), _SEED.value)
    seconds = run(data, folder / "run", argv[1:])
    measured = {"set": _SET.value, "seed": _SEED.value, "seconds": round(seconds)}
    measured |= measure(data, Workdir(folder / "run"))
    if _TRAIN.value:
        measured["comparison"] = files.read_json(Workdir(folder / "run").results("comparison"))["groups"]
    print(json.dumps(measured))


if __name__ == "__main__":
    app.run(main)
