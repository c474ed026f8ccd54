"""Mistakes in a phase's section are one line with the key and its rule, before any work."""

from __future__ import annotations

import re

import pytest

from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.stages.pretrain import PretrainConfig
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train_scorer import ScorerConfig


@pytest.mark.parametrize(("section", "line"), [
    ({"checkpoint_every": 0}, "a: checkpoint_every is 0; it must be at least 1"),
    ({"log_every": 0}, "a: log_every is 0; it must be at least 1"),
    ({"accumulate": 0}, "a: accumulate is 0; it must be at least 1"),
    ({"accumulate": -1}, "a: accumulate is -1; it must be at least 1"),
    ({"seed": -1}, "a: seed is -1; it must be at least 0 and below 2^32"),
    ({"seed": 2**32}, "a: seed is 4294967296; it must be at least 0 and below 2^32"),
    ({"optimizer": {"freeze": ("vision", "(")}}, "a.optimizer: freeze: '(' is not a regular expression (missing ), "),
    ({"optimizer": {"rates": {"(": 0.5}}}, "a.optimizer: rates: '(' is not a regular expression (missing ), "),
    ({"optimizer": {"rates": {"x": -1.0}}}, "a.optimizer: rates: the factor of 'x' is -1.0; it must not be negative"),
    ({"optimizer": {"learning_rate": -1}}, "a.optimizer: learning_rate is -1.0; it must be above 0"),
    ({"optimizer": {"learning_rate": 0.0}}, "a.optimizer: learning_rate is 0.0; it must be above 0"),
    ({"optimizer": {"warmup": 1.0}}, "a.optimizer: warmup is 1.0; it must be at least 0 and below 1"),
    ({"optimizer": {"warmup": -0.1}}, "a.optimizer: warmup is -0.1; it must be at least 0 and below 1"),
    ({"optimizer": {"final": 1.5}}, "a.optimizer: final is 1.5; it must lie in 0..1"),
    ({"optimizer": {"clip": -1.0}}, "a.optimizer: clip is -1.0; it must not be negative"),
    ({"optimizer": {"weight_decay": -0.1}}, "a.optimizer: weight_decay is -0.1; it must not be negative"),
    ({"lora": {"patterns": ("*",)}}, "a.lora: patterns: '*' is not a regular expression (nothing to repeat at "),
    ({"mixture": {"b": {"weight": 0.0}}}, "a.mixture.b: weight is 0.0; it must be above 0"),
    ({"mixture": {"b": {"weight": -1}}}, "a.mixture.b: weight is -1.0; it must be above 0"),
    ({"groups": {"text": -0.1}}, "a: groups: the share of 'text' is -0.1; it must not be negative"),
    ({"mixture": {"b": {"limit": 0}}}, "a.mixture.b: limit is 0; it must be at least 1"),
    ({"mixture": {"b": {"generated": {"kind": "text", "seed": -1}}}},
     "a.mixture.b.generated: size is 1000 and seed -1; they must be at least 1 and 0"),
    ({"holdout": {"limit": -1}}, "a.holdout: limit is -1; it must not be negative"),
    ({"max_tokens": 0}, "a: max_tokens is 0; it must be at least 1"),
    ({"max_pixels": 0}, "a: max_pixels is 0; expected 1 to 178956970"),
])  # fmt: skip
def test_a_mistake_is_one_line(section, line):
    to_dataclass(PhaseConfig, {"steps": 1}, "a")
    with pytest.raises(UserError, match=f"^{re.escape(line)}"):
        to_dataclass(PhaseConfig, {"steps": 1, **section}, "a")


@pytest.mark.parametrize(("kind", "section", "line"), [
    (PretrainConfig, {"seed": -1}, "a: seed is -1; it must be at least 0 and below 2^32"),
    (PretrainConfig, {"vocab_size": -1}, "a: vocab_size is -1; it must be at least 1"),
    (ScorerConfig, {"max_prefix": 0}, "a: max_prefix is 0; it must be at least 1"),
    (ScorerConfig, {"holdout": 1.5}, "a: holdout is 1.5; it must lie in 0..1"),
])  # fmt: skip
def test_a_mistake_in_the_sections_around_a_phase_is_one_line(kind, section, line):
    given = {"phase": {"steps": 1}, **section} if kind is PretrainConfig else section
    with pytest.raises(UserError, match=f"^{re.escape(line)}"):
        to_dataclass(kind, given, "a")
