"""The stage `pretrain`: from random parameters, or from a model whose training continues."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.parallel.paths import flatten
from mmssr_jax.stages.pretrain import PretrainConfig, _Encoder
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.stage import ChatEncoder
from mmssr_jax.stages.train_scorer import ConversationEncoder, ScorerConfig
from mmssr_jax.training.bundle import export_bundle, load_bundle
from tests.small import bundle, processor, sample


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


def test_a_share_of_the_conversations_is_trained_on_as_a_scorer_reads_them():
    phase = to_dataclass(PhaseConfig, {"steps": 1, "rows": 8, "length": 128, "images": 2, "targets": 64}, "phase")
    encode = _Encoder(phase, 0.5)(processor())
    in_chat = ChatEncoder(phase)(processor())
    as_read = ConversationEncoder(ScorerConfig(max_prefix=128), answer_q=0.0)(processor())
    samples = [sample(f"s{n}", answer=f"A red cat {n % 7}.") for n in range(12)]
    is_read = held_out_mask([s.id for s in samples], share=0.5, seed=0)
    assert 3 <= is_read.sum() <= 9
    for one, read in zip(samples, is_read, strict=True):
        expected = (as_read if read else in_chat)(one)
        assert encode(one).tokens.tolist() == expected.tokens.tolist()
        assert encode(one).loss_target.tolist() == expected.loss_target.tolist()
        assert as_read(one).tokens.tolist() != in_chat(one).tokens.tolist()


def test_the_share_lies_in_0_to_1():
    with pytest.raises(ValueError, match=r"as_scorer is 1\.5"):
        PretrainConfig(to_dataclass(PhaseConfig, {"steps": 1}, "phase"), as_scorer=1.5)
