"""Where each stage's files lie under the workdir: the public contract between the stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The folder of one run of the pipeline."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def pool(self) -> Path:
        return self.root / "pool"

    @property
    def judge(self) -> Path:
        return self.root / "judge"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def selection(self, name: str) -> Path:
        return self.root / "selections" / name

    def checkpoints(self, run: str) -> Path:
        return self.root / "checkpoints" / run

    def predictions(self, run: str) -> Path:
        return self.root / "predictions" / run

    def results(self, run: str) -> Path:
        return self.root / "results" / f"{run}.json"

    def metrics(self, run: str) -> Path:
        return self.root / "metrics" / f"{run}.jsonl"
