"""The readers of what the program wrote itself: manifests, results, ids and checksums."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.core import checksums
from mmssr_jax.core.artifact import Artifact, read_manifest
from mmssr_jax.core.saved import read_saved
from mmssr_jax.selection import id_files

from . import mutations
from .mutated_files import json_file
from .target import Files, Target, read_each


def _manifest(rng: random.Random) -> Files:
    manifest = {
        "stage": "judge",
        "config": {"a": 1},
        "config_fingerprint": "x",
        "inputs": {"pool": "y"},
        "counts": {"n": 3},
        "libraries": {},
    }
    found = {
        "done/manifest.json": manifest,
        "begun/claim.json": manifest,
        "results.json": {"degenerate": [], "cost_usd": 0.5, "samples": {}},
        "done/checksums.json": {"ids.txt": "0" * 64},
    }
    chosen = rng.choice([*sorted(found), "ids.txt"])
    made = {name: json_file(rng, v) if name == chosen else json.dumps(v).encode() for name, v in found.items()}
    ids = "s0\ns1\n"
    return {
        **made,
        "done/ids.txt": mutations.mutate_text(rng, ids) if chosen == "ids.txt" else ids.encode(),
        "begun/part": b"x",
    }


def _read_manifest(folder: Path) -> object:
    return read_each(
        lambda: read_manifest(folder / "done"),
        lambda: Artifact(folder / "done", stage="judge", settings={"a": 1}, inputs={"pool": "y"}).done,
        lambda: Artifact(folder / "begun", stage="judge", settings={"a": 1}, inputs={"pool": "y"}).resumed,
        lambda: read_saved(folder / "results.json", {"degenerate": list, "cost_usd": (int, float), "samples": dict}),
        lambda: id_files.read(folder / "done"),
        lambda: checksums.verify_checksums(folder / "done", repair="x"),
    )


TARGETS: Mapping[str, Target] = {
    "manifest": Target(_manifest, _read_manifest),
}
