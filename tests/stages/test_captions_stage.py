"""Synthetic captions: generated, filtered, written back as a pool that a mixture can name; resumable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.documents import Captions
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages import captions, ingest
from mmssr_jax.stages.captions import FilterConfig, repetition, why_not
from mmssr_jax.training.bundle import export_bundle
from tests.small import bundle, picture

GOOD = "A red square stands on the left."


class _Model:
    """Answers by the number of the picture; dies when told to."""

    def __init__(self, dies_after: int | None = None):
        self.asked: list[str] = []
        self._left = dies_after

    def predict(self, questions, *, max_new_tokens):
        if self._left is not None:
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        for q in questions:
            self.asked.append(q.index)
            assert q.prompt == "<image>\nWhat is it?"
            yield "Short." if q.index == "s3" else f"{GOOD} It is number {q.index}."


def _context(root: Path, *, packed: bool = False) -> StageContext:
    (root / "data" / "images").mkdir(parents=True)
    records = []
    for n in range(7):
        (root / "data" / "images" / f"{n}.png").write_bytes(picture(30 * n, 1, 2).read())
        turns = [{"from": "human", "value": "<image>\nHow many?"}, {"from": "gpt", "value": "1"}]
        records.append({"id": f"s{n}", "source": "x", "image": f"images/{n}.png", "conversations": turns})
    text = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi."}]
    records.append({"id": "text", "source": "x", "conversations": text})
    (root / "data" / "pool.json").write_text(json.dumps(records))
    export_bundle(root / "model", bundle())
    config = {
        "base": str(root / "model"),
        "pool": {"path": str(root / "data" / "pool.json"), "packed": packed},
        "captions": {"prompt": "What is it?", "save_every": 2},
    }
    context = StageContext(config=config, workdir=Workdir(root / "work"))
    ingest.run(context)
    return context


@pytest.mark.parametrize("packed", [False, True])
def test_what_passes_the_filter_is_a_pool(tmp_path: Path, packed: bool):
    context = _context(tmp_path, packed=packed)
    captions.run(context, make_predictor=lambda folder, config: _Model())
    pool = open_pool(context.workdir.root / "pools" / "captioned")
    assert list(pool.ids) == [f"s{n}" for n in (0, 1, 2, 4, 5, 6)]
    assert pool[3].images[0].read() == picture(120, 1, 2).read()
    assert Captions(pool)[0].text == f"<image>\n{GOOD} It is number s0."
    rejects = files.read_jsonl(context.workdir.root / "captions" / "captioned" / "rejects.jsonl")
    assert rejects == [{"id": "s3", "source": "captions", "reason": "too_short", "detail": "Short."}]


def test_it_goes_on_where_it_was_cut_off(tmp_path: Path):
    context = _context(tmp_path)
    first, second = _Model(dies_after=2), _Model()
    with pytest.raises(KeyboardInterrupt):
        captions.run(context, make_predictor=lambda folder, config: first)
    captions.run(context, make_predictor=lambda folder, config: second)
    assert first.asked == ["s0", "s1", "s2", "s3"]
    assert second.asked == ["s4", "s5", "s6"]
    captions.run(context, make_predictor=lambda folder, config: pytest.fail("it is done"))


def test_a_filter_that_leaves_nothing_says_why(tmp_path: Path):
    context = _context(tmp_path)
    context.config["captions"]["filter"] = {"min_words": 50}
    with pytest.raises(UserError, match=r"rejects all 7 captions \(7 too_short\)"):
        captions.run(context, make_predictor=lambda folder, config: _Model())


def test_the_filter_on_small_cases():
    config = FilterConfig(min_words=3, max_words=6, max_repetition=0.3, max_copies=1)
    texts = ["a b", "a b c", "a b c", "a b c d e f g", "x x x x x x", "see <image> now"]
    reasons = ["too_short", None, "too_many_copies", "too_long", "repetitive", "image_tag"]
    assert why_not(texts, config) == reasons
    assert repetition(["a", "b", "c", "a", "b", "c"]) == pytest.approx(1 / 4)
    assert repetition(["a"]) == 0
