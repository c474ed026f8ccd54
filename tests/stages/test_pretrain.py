"""The stage `pretrain`: from random parameters, or from a model whose training continues."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.parallel.paths import flatten
from mmssr_jax.training.bundle import export_bundle, load_bundle
from tests.small import bundle


def _context(workdir: Path, **settings) -> StageContext:
    phase = {"steps": 2, "rows": 8, "length": 256, "images": 2, "targets": 128, "log_every": 1,
             "optimizer": {"learning_rate": 1e-4, "weight_decay": 0.0}}  # fmt: skip
    pool = {"captions": {"size": 24, "seed": 3, "world": "matching"}}
    return StageContext(ConfigDict({"pool": pool, "pretrain": {"phase": phase, **settings}}), Workdir(workdir))


@pytest.mark.slow
def test_training_continues_from_a_model(tmp_path: Path):
    start = tmp_path / "start"
    export_bundle(start, bundle())
    ctx = _context(tmp_path / "run", start=str(start), export=str(tmp_path / "exported"))
    main.run_stages(ctx, ["ingest", "pretrain"])
    before, after = load_bundle(start), load_bundle(ctx.workdir.checkpoints("base"))
    assert after.config == before.config
    assert after.tokenizer.vocab_size == before.tokenizer.vocab_size
    old, new = flatten(before.params), flatten(after.params)
    moved = max(float(np.abs(np.asarray(new[path]) - np.asarray(old[path])).max()) for path in old)
    assert 0 < moved < 2e-3  # two steps of at most 1e-4, and half precision
    assert json.loads((tmp_path / "exported" / "model.json").read_text())["decoder"]["width"] == 32

    export_bundle(start, bundle(seed=1))
    with pytest.raises(UserError, match="base"):  # the run was made from another model
        main.run_stages(ctx, ["pretrain"])


def test_a_model_that_does_not_exist(tmp_path: Path):
    ctx = _context(tmp_path, start="no_such_model")
    main.run_stages(ctx, ["ingest"])
    with pytest.raises(UserError, match="no_such_model"):
        main.run_stages(ctx, ["pretrain"])
