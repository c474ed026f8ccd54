"""LLaVA-1.5's template as literals, on a tokenizer built like Llama's."""

from __future__ import annotations

import dataclasses
import functools
import json
import pickle

import numpy as np
import pytest
import tokenizers

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import Tokenizer, load_tokenizer
from mmssr_jax.images.views import ViewConfig
from tests import small

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
VIEWS = ViewConfig(newline=False, fit="pad")


@functools.cache
def core(*, image: bool, vocab_size: int = 700) -> tokenizers.Tokenizer:
    """SentencePiece's BPE as in Llama's tokenizer.json: a space before the text, bytes for the rest."""
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *(["<image>", "<pad>"] if image else [])]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("▁", "merged_with_next")  # no piece spans two words
    made.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False)
    made.train_from_iterator(["USER: What is it? ASSISTANT: A red cat.", SYSTEM] * 20, trainer)
    values = json.loads(made.to_str())
    values["pre_tokenizer"] = None
    values["added_tokens"] = [t for t in values["added_tokens"] if not t["content"].startswith("<0x")]  # ordinary ones
    return tokenizers.Tokenizer.from_str(json.dumps(values))


def tokenizer(tmp_path, *, image: bool = True) -> Tokenizer:
    core(image=image).save(str(tmp_path / "tokenizer.json"))
    return load_tokenizer(tmp_path, add_image=True)


def processor(tmp_path, *, image: bool = True) -> Processor:
    return Processor(
        tokenizer(tmp_path, image=image), image_size=8, tokens_per_image=4, views=VIEWS, template="vicuna"
    )  # fmt: skip


def rendered(made: Processor, tokens, slots) -> str:
    """The tokens as text: special tokens by name, an image token as its slot, each stretch between them decoded."""
    names = {made.tokenizer.bos: "<s>", made.tokenizer.end: "</s>"}
    text, stretch = "", []
    for token, slot in [*zip(tokens.tolist(), slots.tolist(), strict=True), (None, -1)]:
        special = f"[{slot}]" if slot >= 0 else names.get(token, "")
        if token is not None and not special:
            stretch.append(token)
            continue
        text += made.tokenizer.decode(stretch) + special
        stretch = []
    return text


def conversation(*turns: str, images: int = 0, system: str | None = None) -> Sample:
    roles = ("user", "assistant")
    return Sample(
        "a", "s", tuple(Turn(roles[k % 2], text) for k, text in enumerate(turns)),
        tuple(small.picture(k) for k in range(images)), system=system,
    )  # fmt: skip


ROUNDS = [
    (
        conversation("<image>\nWhat is it?", "A red cat.", images=1),
        f"<s>{SYSTEM} USER: [1][2][3][4]\nWhat is it? ASSISTANT: A red cat.</s>",
    ),
    (
        conversation("<image>\nWhat is it?", "A cat.", "Is it red?", "Yes", images=1),
        f"<s>{SYSTEM} USER: [1][2][3][4]\nWhat is it? ASSISTANT: A cat.</s>USER: Is it red? ASSISTANT: Yes</s>",
    ),
    (
        conversation("<image> and <image>?", "A cat.", images=2, system="Be brief."),
        "<s>Be brief. USER: [1][2][3][4] and [5][6][7][8]? ASSISTANT: A cat.</s>",
    ),
]


@pytest.mark.parametrize(("one", "expected"), ROUNDS)
def test_a_training_sequence(one, expected, tmp_path):
    made = processor(tmp_path)
    example = made.encode_chat(one, max_length=400)
    assert rendered(made, example.tokens, example.image_slot) == expected


def test_a_prompt_ends_where_the_answer_begins(tmp_path):
    made = processor(tmp_path)
    one = conversation("<image>\nWhat is it?", "A cat.", "Is it red?", "Yes", images=1)
    example = made.encode_prompt(one)
    assert rendered(made, example.tokens, example.image_slot) == (
        f"<s>{SYSTEM} USER: [1][2][3][4]\nWhat is it? ASSISTANT: A cat.</s>USER: Is it red? ASSISTANT:"
    )
    assert len(example.loss_position) == 0


def test_the_loss_is_on_the_answers_and_their_ends(tmp_path):
    made = processor(tmp_path)
    example = made.encode_chat(ROUNDS[1][0], max_length=400)
    ends = np.flatnonzero(example.loss_target == made.tokenizer.end)
    assert len(ends) == 2
    first, second = example.loss_target[: ends[0]], example.loss_target[ends[0] + 1 : ends[1]]
    assert (made.tokenizer.decode(first), made.tokenizer.decode(second)) == ("A cat.", "Yes")
    np.testing.assert_array_equal(example.tokens[example.loss_position + 1], example.loss_target)


def test_tokens_are_those_of_the_whole_stretch(tmp_path):
    """What the authors' code tokenizes at once is not cut at the answer: no token of its own for the space."""
    made = processor(tmp_path)
    example = made.encode_chat(conversation("What is it?", "A red cat."), max_length=400)
    whole = f"{SYSTEM} USER: What is it? ASSISTANT: A red cat."
    assert example.tokens.tolist() == [made.tokenizer.bos, *made.tokenizer.encode(whole), made.tokenizer.end]


def test_a_tokenizer_without_an_image_token(tmp_path):
    """LLaVA-1.5's authors have no such token; nothing is added, since the model has no embedding for it."""
    with_token, without = tokenizer(tmp_path), tokenizer(tmp_path, image=False)
    assert with_token.image != without.image == 0
    assert without.vocab_size == core(image=False).get_vocab_size()
    again = pickle.loads(pickle.dumps(without))
    assert (again.image, again.end, again.pad, again.bos) == (0, 2, 0, 1)
    assert again.encode("</s><image>") == without.encode("</s><image>")
    assert 2 not in again.encode("</s>"), "text never becomes a special token"
    with pytest.raises(UserError, match=r"no token '<\|im_start\|>'"):
        _ = without.im_start


def test_the_views_decide_about_the_newline(tmp_path):
    made = dataclasses.replace(processor(tmp_path), views=dataclasses.replace(VIEWS, fit="crop"))
    example = made.encode_chat(ROUNDS[0][0], max_length=400)
    assert example.image_slot[example.image_slot >= 0].tolist() == [1, 2, 3, 4]
