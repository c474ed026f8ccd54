"""Documents: parts to tokens and targets, from files and from a pool's captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.documents import Captions, Documents
from mmssr_jax.data.subset import Subset
from tests.small import PATCHES, picture, processor, sample, tokenizer


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(picture(10, 200, 30).read())
    lines = [
        {"id": "d1", "parts": [{"text": "A red cat.\n"}, {"image": "a.png"}, {"text": "What?"}, {"image": "b.png"}]},
        {"text": "user\n"},
        {"id": "d3", "parts": [{"text": "<image>"}]},
        {"id": "d4", "parts": [{"sound": "x.wav"}]},
    ]
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return Documents(path)


def test_parts_become_text_with_tags(documents):
    assert list(documents.ids) == ["d1", "docs.jsonl:2", "d3", "d4"]
    assert documents[0].text == "A red cat.\n<image>What?<image>"
    assert [ref.path.name for ref in documents[0].images] == ["a.png", "b.png"]
    assert documents[1].text == "user\n"


def test_what_has_another_form_is_said(documents):
    with pytest.raises(ValueError, match="holds the tag <image>"):
        documents[2]
    with pytest.raises(ValueError, match="a part is"):
        documents[3]


def test_a_missing_or_empty_file_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="No such file"):
        Documents(tmp_path / "no.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no document"):
        Documents(tmp_path / "empty.jsonl")


def test_text_is_trained_and_images_are_not(documents):
    """tokens   A | red | … \\n | I I I I N | What ? | I I I I N | end      every word but the first is a target"""
    t = tokenizer()
    example = processor().encode_document(documents[0], max_length=99)
    first, second = t.encode("A red cat.\n"), t.encode("What?")
    image_ids = [t.image] * (PATCHES + 1)
    assert example.tokens.tolist() == [*first, *image_ids, *second, *image_ids, t.pad]
    assert example.loss_target.tolist() == [*first[1:], *second, t.pad]
    assert (example.tokens[example.loss_position + 1] == example.loss_target).all()
    assert example.pixels.shape[0] == 2


def test_captions_of_a_pool():
    one = Captions([sample("x", images=2)])[0]
    assert one.text == "<image>\n<image>\nA red cat."
    assert len(one.images) == 2


def test_rows_show_some_of_the_samples(documents):
    view = Subset(documents, np.array([1, 0]))
    assert list(view.ids) == ["docs.jsonl:2", "d1"]
    assert [len(view), view[1].id] == [2, "d1"]
