"""What two equal runs must have in common."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from mmssr_jax.training.bundle import load_bundle

_FOLDERS = (
    "pool", "pools", "judge", "scores", "features", "selections", "predictions", "results", "synthetic", "benchmarks",
    "captions", "exports",
)  # fmt: skip
_TIMED = ("time", "latency_s", "seconds", "peak_mib", "finished", "started")


def contents(workdir: Path) -> dict[str, str]:
    """Path -> digest of every public file: bytes, but for checkpoints their arrays and for logs all but times."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in sorted((workdir / folder).rglob("*")):
            if path.is_file() and path.name != "ledger.jsonl":
                found[str(path.relative_to(workdir))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in [*sorted((workdir / "metrics").glob("*.jsonl")), workdir / "judge" / "ledger.jsonl"]:
        if path.exists() and path.stem != "stages":
            found[str(path.relative_to(workdir))] = _without_times(path)
    for run in sorted(p for p in (workdir / "checkpoints").glob("*") if (p / "manifest.json").exists()):
        found[f"checkpoints/{run.name}"] = _arrays(run)
    return found


def _without_times(path: Path) -> str:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [
        {k: v for k, v in row.items() if k not in _TIMED}
        for row in rows
        if not str(row.get("name", "")).startswith("time/")
    ]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _arrays(run: Path) -> str:
    import jax

    digest = hashlib.sha256((run / "manifest.json").read_bytes())
    for leaf in jax.tree.leaves(load_bundle(run).params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
