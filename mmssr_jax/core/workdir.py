"""Where each stage's files lie under the workdir: the public contract between the stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The folder of one run of the pipeline; every path under it is spelled here and nowhere else."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.root / "config.json"

    @property
    def pool(self) -> Path:
        """The ingested pool (`config.pool`)."""
        return self.root / "pool"

    def named_pool(self, name: str) -> Path:
        """An ingested pool of `config.pools`, or one made by the captions stage."""
        return self.root / "pools" / name

    @property
    def synthetic(self) -> Path:
        """The generated records, images and truth behind `pool`."""
        return self.root / "synthetic"

    @property
    def truth(self) -> Path:
        """What the generator of the synthetic pool knows of each sample."""
        return self.synthetic / "truth.parquet"

    def named_synthetic(self, name: str) -> Path:
        """The generated records and images behind `named_pool(name)`."""
        return self.root / "synthetic_pools" / name

    def documents(self, name: str) -> Path:
        """Generated documents of a mixture component."""
        return self.root / "documents" / name

    def captions(self, name: str) -> Path:
        """Captions that a model wrote."""
        return self.root / "captions" / name

    @property
    def judge(self) -> Path:
        """The judge's ledger and the judgments."""
        return self.root / "judge"

    @property
    def scores(self) -> Path:
        """The score table, in parts."""
        return self.root / "scores"

    def features(self, kind: str) -> Path:
        """A table of per-sample features, in parts."""
        return self.root / "features" / kind

    @property
    def official_answers(self) -> Path:
        """The scores as the official program's JSONL answers."""
        return self.root / "official"

    @property
    def selections(self) -> Path:
        """One folder a selection."""
        return self.root / "selections"

    def selection(self, name: str) -> Path:
        """One selection."""
        return self.selections / name

    def checkpoints(self, run: str) -> Path:
        """The model of one run."""
        return self.root / "checkpoints" / run

    def export(self, name: str) -> Path:
        """A model in another library's layout, where the config names no folder."""
        return self.root / "exports" / name

    def benchmark(self, name: str) -> Path:
        """A generated benchmark."""
        return self.root / "benchmarks" / name

    def predictions(self, run: str) -> Path:
        """What one run answered, one file per benchmark."""
        return self.root / "predictions" / run

    @property
    def grades(self) -> Path:
        """The ledger of answers graded by a judge."""
        return self.root / "grades" / "ledger.jsonl"

    @property
    def all_results(self) -> Path:
        """One JSON file per run, beside `scorer.json` and `comparison.json`."""
        return self.root / "results"

    def results(self, run: str) -> Path:
        """The metrics of one run, or another result by name."""
        return self.all_results / f"{run}.json"

    def training_results(self, run: str) -> Path:
        """Losses and data counts of one training run."""
        return self.all_results / "training" / f"{run}.json"

    def metrics(self, run: str) -> Path:
        """Scalars by step."""
        return self.root / "metrics" / f"{run}.jsonl"

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.root / "report"

    def lock(self, name: str) -> Path:
        """A lock file; it stays, empty or naming its last holder, when the work is done."""
        return self.root / "locks" / name
