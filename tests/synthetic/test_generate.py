"""The pool: its files, its truth, and what text alone gives away."""

from __future__ import annotations

import collections
import functools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.generate import (
    POOL,
    TRUTH,
    GeneratedSample,
    SyntheticConfig,
    make,
    plan,
    truth_schema,
    write_pool,
)

_CONFIG = SyntheticConfig(size=1500)


@functools.cache
def _made() -> tuple[GeneratedSample, ...]:
    return tuple(make(_CONFIG, i) for i in range(_CONFIG.size))


def _texts() -> list[str]:
    return ["\n".join(t["value"] for t in m.record["conversations"]) for m in _made()]


def _truth() -> np.ndarray:
    return np.array([[m.truth[s] for s in SLUGS] for m in _made()], np.float64)


def test_files_and_their_agreement(tmp_path: Path) -> None:
    config = SyntheticConfig(size=40, seed=3)
    write_pool(tmp_path, config)
    records = json.loads((tmp_path / POOL).read_text())
    truth = files.read_parquet(tmp_path / TRUTH)
    assert truth.schema.equals(truth_schema())
    assert [r["id"] for r in records] == truth["id"].to_pylist()
    assert [r["source"] for r in records] == truth["source"].to_pylist()
    for record in records:
        assert set(record) <= {"id", "source", "image", "conversations"}  # nothing of the truth
        names = record.get("image", [])
        names = [names] if isinstance(names, str) else names
        assert all((tmp_path / n).stat().st_size > 0 for n in names)
        opening, *others = [t["value"] for t in record["conversations"]]
        assert opening.count("<image>") == len(names)
        assert not any("<image>" in t for t in others)
        assert [t["from"] for t in record["conversations"]] == ["human", "gpt"] * (len(record["conversations"]) // 2)


def test_same_config_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pool(tmp_path / name, SyntheticConfig(size=12, seed=5))
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*") if p.is_file()} for n in ("a", "b"))
    assert a == b


def test_a_sample_does_not_depend_on_the_size_of_the_pool() -> None:
    one, other = make(SyntheticConfig(size=50), 41), make(SyntheticConfig(size=500), 41)
    assert (one.record, one.truth) == (other.record, other.truth)
    assert make(SyntheticConfig(size=50, seed=1), 41).record != one.record


def test_corruptions_have_their_share_and_their_truth() -> None:
    counts = collections.Counter(m.truth["flaw"] for m in _made())
    assert set(counts) == {"", *corruptions.CORRUPTIONS}
    assert sum(counts.values()) - counts[""] == pytest.approx(0.25 * _CONFIG.size, rel=0.15)
    assert all(counts[f] >= 0.025 * _CONFIG.size for f in corruptions.CORRUPTIONS)
    seeing = [c.slug for c in CAPABILITIES if c.seeing]
    for made in _made():
        scores = [made.truth[s] for s in SLUGS]
        assert max(scores) <= 1 if made.truth["flaw"] else max(scores) >= 3
        if not made.images or made.truth["flaw"] in (corruptions.BLANK, corruptions.BLURRED, corruptions.MISMATCHED):
            assert not any(made.truth[s] for s in seeing)


def test_the_pool_is_skewed_but_nothing_is_missing() -> None:
    shares = (_truth() >= 3).mean(axis=0)
    assert shares.min() >= 0.025
    assert shares.max() >= 2.5 * shares.min()
    styles = collections.Counter(m.truth["styles"][0] for m in _made())
    assert set(styles) == set(STYLES)
    assert min(styles.values()) >= 0.015 * _CONFIG.size
    sources = collections.Counter(m.truth["source"] for m in _made())
    assert 8 <= len(sources) <= 15
    assert max(sources.values()) >= 3 * min(sources.values())
    assert sum(len(m.images) > 1 for m in _made()) >= 0.015 * _CONFIG.size


def test_near_repeats_show_the_same_as_an_easy_earlier_sample() -> None:
    repeats = [m for m in _made() if m.truth["near_repeat_of"]]
    assert len(repeats) >= 0.15 * _CONFIG.size
    for made in repeats:
        index, root = int(made.truth["id"][1:]), int(made.truth["near_repeat_of"][1:])
        assert root < index
        assert plan(_CONFIG, index) == plan(_CONFIG, root)
        assert made.truth["difficulty"] == 1


def test_conversations_are_short() -> None:
    lengths = [len(t) for t in _texts()]
    assert np.percentile(lengths, 90) < 350
    assert max(lengths) < 700


def test_wrong_answers_differ_from_the_right_ones() -> None:
    checked = 0
    for index, made in enumerate(_made()):
        if made.truth["flaw"] == corruptions.WRONG:
            right = make(_CONFIG, index, corruption="").record["conversations"]
            wrong = made.record["conversations"]
            assert right != wrong
            if right[0] == wrong[0]:
                assert right[1] != wrong[1]
                checked += 1
    assert checked > 15


def test_a_corrupted_image_leaves_the_text_as_it_is() -> None:
    index = next(i for i, m in enumerate(_made()) if not m.truth["flaw"] and len(m.images) == 1)
    for corruption in (corruptions.BLANK, corruptions.BLURRED, corruptions.MISMATCHED):
        changed = make(_CONFIG, index, corruption=corruption)
        assert changed.record == _made()[index].record
        assert changed.truth["flaw"] == corruption
        assert [i.tobytes() for i in changed.images.values()] != [i.tobytes() for i in _made()[index].images.values()]


def _grams(texts: list[str], size: int = 2048) -> np.ndarray:
    """Hashed character 2- to 4-grams, log counts, rows of length 1."""
    counts = np.zeros((len(texts), size))
    for row, text in zip(counts, texts, strict=True):
        data = f" {text.lower()} ".encode()
        for n in (2, 3, 4):
            for i in range(len(data) - n + 1):
                row[zlib.crc32(data[i : i + n]) % size] += 1
    counts = np.log1p(counts)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def _concordance(features: np.ndarray, truth: np.ndarray) -> float:
    """Macro-averaged P(s_i > s_j | t_i > t_j) of a ridge fitted to one half, on the other."""
    roots = np.array([plan(_CONFIG, i).root for i in range(len(truth))])
    test = roots % 2 == 0  # near-repeats stay on one side
    x, y, mean = features[~test], truth[~test], truth[~test].mean(axis=0)
    weights = x.T @ np.linalg.solve(x @ x.T + 0.3 * np.eye(len(x)), y - mean)
    scores, values = features[test] @ weights, truth[test]
    each = []
    for s, t in zip(scores.T, values.T, strict=True):
        ordered = t[:, None] > t[None, :]
        each.append(((np.sign(s[:, None] - s[None, :])[ordered] + 1) / 2).mean())
    return float(np.mean(each))


def _one_hot(names: list[str]) -> np.ndarray:
    known = sorted(set(names))
    return np.array([[float(n == k) for k in known] for n in names])


def test_text_alone_does_not_give_the_answer_away() -> None:
    text = np.concatenate([_grams(_texts()), 0.3 * _one_hot([m.truth["styles"][0] for m in _made()])], axis=1)
    seen = _one_hot([m.truth["kind"] for m in _made()]), _one_hot([m.truth["flaw"] for m in _made()])
    blind = _concordance(text, _truth())
    sighted = _concordance(np.concatenate([text, *seen], axis=1), _truth())
    assert blind < 0.86
    assert sighted > 0.93
    assert sighted - blind > 0.1


@pytest.mark.parametrize("wrong", [{"size": 0}, {"flaw_share": 1.5}, {"repeat_share": -0.1}])
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SyntheticConfig(**wrong)
