"""Faults in small runs of every stage; one JSON line.

    python benchmarks/chaos.py --faults=300 --seed=0

Each stage runs once undisturbed; the folder before and after it is kept. A fault is then put in the way of one stage,
the same command is run again, and the result is compared with the undisturbed one by the rules of the end-to-end tests
(`tests/e2e/contents.py`: equal bytes; of checkpoints equal arrays; of logs all but times).

    kill        SIGKILL or SIGTERM at a random moment, or SIGKILL at the n-th rename, fsync, open or unlink
    damage      a file that the stage wrote is flipped in one bit, truncated, emptied or nulled; the stage and the next
                one that reads it are run: the same result, or exactly one error line with exit status 2
    full        the disk is full during the stage (a small tmpfs; an injected ENOSPC where none can be mounted)
    read_only   the folder cannot be written
    twice       the same command at the same time

The line holds what came of them; the last three fail the run:

    identical     the same result
    clear_error   damage that is reported in one line; `mended` of them gave the same result with the --overwrite that
                  the line names
    traceback     a run that nobody ended ended otherwise than with its result or with one line
    lost          the second run did not give the same result
    hang          a run took longer than --timeout seconds
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fault_injection import faults, program  # noqa: E402
from fault_injection.small_config import STAGES  # noqa: E402

from tests.e2e.contents import contents  # noqa: E402

CONFIG = Path(__file__).with_name("fault_injection") / "small_config.py"
# How often a fault or a stage is drawn; stages that take long are drawn less often.
KINDS = {"kill": 45, "damage": 32, "twice": 8, "full": 9, "read_only": 6}
WEIGHTS = {"ingest": 6, "judge": 6, "score": 2, "select": 6, "evaluate": 2, "captions": 2, "convert": 3, "export": 3,
           "report": 4, "train_scorer": 1, "train": 2}  # fmt: skip
_READERS = {
    "ingest": ("ingest", "judge"), "judge": ("judge", "train_scorer"), "train_scorer": ("train_scorer", "score"),
    "score": ("score", "select"), "select": ("select", "train"), "train": ("train", "evaluate"),
    "evaluate": ("evaluate", "report"), "captions": ("captions", "report"), "convert": ("convert", "report"),
    "export": ("export", "report"), "report": ("report",),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one fault: the class of the line, and what is printed of it."""

    kind: str
    detail: str = ""
    mended: bool = False


class Chaos:
    """The undisturbed runs, and the faults.

    Args:
      scratch: a folder for all files.
      disk: the file system of the workdir.
      timeout_s: of one run.
      stages: the first of all stages; the others are left out.
    """

    def __init__(self, scratch: Path, disk: faults.Disk, timeout_s: float, stages: Sequence[str] = STAGES):
        self._stages = stages
        self._scratch, self._disk, self._timeout_s = scratch, disk, timeout_s
        self.workdir = disk.folder / "workdir"
        self._log = scratch / "run.log"
        self._flags = [
            f"--config={CONFIG}", f"--workdir={self.workdir}", f"--config.base={scratch / 'base'}",
            f"--config.convert.source={scratch / 'hf'}",
        ]  # fmt: skip
        self.seconds: dict[str, float] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._after: dict[str, dict[str, str]] = {}

    def prepare(self) -> None:
        """Makes the models and runs every stage undisturbed, unless the scratch folder was prepared before."""
        prepared = self._scratch / "undisturbed.json"
        if prepared.exists():
            self.seconds, self._counts, self._after = json.loads(prepared.read_text())
            return
        program.call(functools.partial(_make_models, self._scratch), self._log)
        self.workdir.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.workdir, self._snapshot(STAGES[0]))
        for before in self._stages:
            stage = _next(before)
            for _ in range(2):  # the first run compiles, so that the second shows how long the stage takes
                faults.replace_folder(self._snapshot(before), self.workdir)
                counts = self._scratch / f"{before}.counts"
                ended = self._run([before], before=faults.count_operations(self.workdir, counts))
                if ended.status != 0:
                    raise SystemExit(f"{before} does not run: {ended.output[-3000:]}")
            self.seconds[before], self._counts[before] = ended.seconds, faults.read_counts(counts)
            shutil.copytree(self.workdir, self._snapshot(stage), symlinks=True)
            self._after[before] = self._contents(self.workdir)
            print(f"{before}: {ended.seconds:.1f} s, {self._counts[before]}", file=sys.stderr, flush=True)
        prepared.write_text(json.dumps([self.seconds, self._counts, self._after]))

    def fault(self, rng: random.Random) -> tuple[str, Result]:
        """Draws a fault; returns its name and what came of it."""
        stage = rng.choices(self._stages, [WEIGHTS[s] for s in self._stages])[0]
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        faults.replace_folder(self._snapshot(stage), self.workdir)
        self._disk.resize(4 << 30) if self._disk.real else None
        if kind == "damage":
            return self._damage(rng, stage)
        if kind == "twice":
            return f"{stage}: twice", self._twice(rng, stage)
        if kind == "kill":
            return self._kill(rng, stage)
        name, run = self._refused(rng, stage, kind)
        if not run.clear_error and run.status != 0:
            return name, self._bad(run)
        return name, self._again(stage)

    def _kill(self, rng: random.Random, stage: str) -> tuple[str, Result]:
        operation = rng.choice((*faults.OPERATIONS, "moment", "moment", "SIGTERM"))
        counted = self._counts[stage].get(operation, 0)
        if counted:
            number = rng.randrange(counted)
            name, before = f"{stage}: kill at {operation} {number}", faults.kill_at(self.workdir, operation, number)
            ended = self._run([stage], before=before)
        else:
            moment = rng.uniform(0, self.seconds[stage])
            number = signal.SIGTERM if operation == "SIGTERM" else signal.SIGKILL
            name = f"{stage}: {number.name} after {moment:.2f} s"
            run = self._start([stage])
            run.ends_within(moment)
            run.kill(number)
            ended = run.wait(self._timeout_s)
        if ended.hung or "Traceback" in ended.output:
            return name, self._bad(ended)
        return name, self._again(stage)

    def _refused(self, rng: random.Random, stage: str, kind: str) -> tuple[str, program.Ended]:
        """A run on a disk that is full, or cannot be written."""
        before = lambda: None  # noqa: E731
        writing = self._counts[stage].get("writing", 1)
        if kind == "full" and self._disk.real:
            grown = _size(self._snapshot(_next(stage))) - _size(self._snapshot(stage))
            self._disk.resize(self._disk.used() + int(rng.uniform(0, 1) * max(grown, 1 << 16)))
        elif kind == "read_only" and self._disk.real:
            self._disk.read_only()
        elif kind == "full":
            before = faults.refuse_from(self.workdir, rng.randrange(writing), faults.FULL)
        else:
            before = faults.refuse_from(self.workdir, 0, faults.READ_ONLY)
        ended = self._run([stage], before=before)
        if self._disk.real:
            self._disk.resize(4 << 30)
        return f"{stage}: {kind}", ended

    def _twice(self, rng: random.Random, stage: str) -> Result:
        first = self._start([stage])
        first.ends_within(rng.uniform(0, 0.5) * self.seconds[stage])
        second = self._start([stage], log=self._log.with_suffix(".second"))
        ended = [second.wait(2 * self._timeout_s), first.wait(2 * self._timeout_s)]
        for run in ended:
            if run.hung or (run.status != 0 and not run.clear_error):
                return self._bad(run)
        return self._again(stage)

    def _damage(self, rng: random.Random, stage: str) -> tuple[str, Result]:
        after = self._snapshot(_next(stage))
        faults.replace_folder(after, self.workdir)
        kinds = collections.defaultdict(list)
        for written in _written(self._snapshot(stage), after):
            kinds[written.parent, written.suffix].append(written)
        path = rng.choice(kinds[rng.choice(sorted(kinds))])  # an image of hundreds is as likely as the one manifest
        kind = rng.choice(faults.DAMAGES)
        whole = (self.workdir / path).read_bytes()
        faults.damage(rng, self.workdir / path, kind)
        damaged = (self.workdir / path).read_bytes()
        name = f"{stage}: {kind} {path}"
        stages = tuple(s for s in _READERS[stage] if s in self._stages)
        expected = self._chain(stages)
        ended = self._run(stages)
        if ended.hung or (ended.status != 0 and not ended.clear_error):
            return name, self._bad(ended)
        if ended.status == 0:
            if (self.workdir / path).read_bytes() == damaged:  # nothing read it: is all else the same?
                (self.workdir / path).write_bytes(whole)
            return name, self._compared(self._contents(self.workdir), expected)
        repair = re.search(r"--overwrite=(\w+)", ended.errors[0])
        if repair is None:
            return name, Result("clear_error", f"not mended: {ended.errors[0]}")
        mended = self._run(stages, f"--overwrite={repair[1]}")
        same = mended.status == 0 and self._compared(self._contents(self.workdir), expected).kind == "identical"
        detail = ended.errors[0] if same else f"not mended: {ended.errors[0]} | {' '.join(mended.errors)}"
        return name, Result("clear_error", detail, mended=same)

    @functools.cache  # noqa: B019 - one instance
    def _chain(self, stages: tuple[str, ...]) -> dict[str, str]:
        """The contents after these stages, on top of the first one's snapshot."""
        if len(stages) == 1 or _next(stages[0]) == stages[1]:
            return self._after[stages[-1]]
        return self._after[stages[0]]  # the second stage writes nothing that is compared

    def _again(self, stage: str) -> Result:
        """The same command once more, undisturbed."""
        ended = self._run([stage])
        if ended.hung or ended.status != 0:
            return self._bad(ended, status="lost")
        return self._compared(self._contents(self.workdir), self._after[stage])

    def _compared(self, found: dict[str, str], expected: dict[str, str]) -> Result:
        wrong = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
        return Result("lost", f"differ: {', '.join(wrong[:5])}") if wrong else Result("identical")

    def _bad(self, ended: program.Ended, status: str = "traceback") -> Result:
        kind = "hang" if ended.hung else "traceback" if ended.traceback else status
        return Result(kind, f"status {ended.status}: {ended.output[-1500:]}")

    def _contents(self, folder: Path) -> dict[str, str]:
        return program.call(functools.partial(contents, folder), self._log)

    def _start(self, stages, *more: str, log: Path | None = None, before=lambda: None) -> program.Run:  # type: ignore[no-untyped-def]
        return program.start([*self._flags, f"--stages={','.join(stages)}", *more], log or self._log, before)

    def _run(self, stages, *more: str, before=lambda: None) -> program.Ended:  # type: ignore[no-untyped-def]
        return self._start(stages, *more, before=before).wait(self._timeout_s)

    def _snapshot(self, stage: str) -> Path:
        return self._scratch / "snapshots" / stage


def _next(stage: str) -> str:
    return (*STAGES, "end")[STAGES.index(stage) + 1]


def _written(before: Path, after: Path) -> list[Path]:
    """The files that a stage wrote."""
    found = sorted(p.relative_to(after) for p in after.rglob("*") if p.is_file() and p.stat().st_size)
    changed = [p for p in found if not (before / p).exists() or (before / p).read_bytes() != (after / p).read_bytes()]
    return [p for p in changed if p.parts[0] not in ("locks", "metrics", "config.json")]


def _size(folder: Path) -> int:
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


def _make_models(scratch: Path) -> None:
    """The initial model of the small runs, and one to convert."""
    from mmssr_jax.stages.export import ExportConfig, write
    from mmssr_jax.training.bundle import export_bundle, random_bundle
    from tests.small import bundle

    small = bundle()
    vision = dataclasses.replace(small.config.vision, final_norm=True)  # as SigLIP, so that it can be exported
    model = random_bundle(dataclasses.replace(small.config, vision=vision), small.tokenizer, seed=0)
    export_bundle(scratch / "base", model)
    (scratch / "hf").mkdir()
    write(model, scratch / "hf", ExportConfig(model="small"))


def run(arguments: argparse.Namespace, scratch: Path, disk: faults.Disk) -> dict[str, object]:
    """The line."""
    began = time.monotonic()
    chaos = Chaos(scratch, disk, arguments.timeout, STAGES[: STAGES.index(arguments.last) + 1])
    chaos.prepare()
    counts: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    for number in range(arguments.first, arguments.first + arguments.faults):
        name, result = chaos.fault(random.Random(f"{arguments.seed}:{number}"))
        counts[result.kind] += 1
        counts["mended"] += result.mended
        kinds[name.split(": ")[1].split()[0]] += 1
        shown = "" if result.kind == "identical" else f": {result.detail}"
        print(f"{number} {time.monotonic() - began:.0f} s {result.kind}: {name}{shown}", file=sys.stderr, flush=True)
    return {
        "faults": arguments.faults, "seed": arguments.seed, "seconds": round(time.monotonic() - began),
        **{kind: counts[kind] for kind in ("identical", "clear_error", "mended", "traceback", "lost", "hang")},
        "kinds": dict(sorted(kinds.items())),
    }  # fmt: skip


def main() -> int:
    """Parses the flags and prints the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first fault, to repeat one alone")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that one run may take")
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="leave out the stages after this one")
    parser.add_argument("--scratch", help="a folder for all files; by default a temporary one")
    arguments = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with tempfile.TemporaryDirectory(prefix="mmssr-chaos-") as temporary:
        scratch = Path(arguments.scratch or temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(scratch / "compiled"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        program.load(STAGES)
        with faults.disk(scratch / "disk") as disk:
            line = run(arguments, scratch, disk)
    print(json.dumps(line))
    return 1 if line["traceback"] or line["lost"] or line["hang"] else 0


if __name__ == "__main__":
    sys.exit(main())
