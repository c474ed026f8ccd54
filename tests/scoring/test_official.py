"""The prompts of the released scorer and styler, token by token (arXiv 2503.13383, llava/eval/model_ss.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import transformers

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import load_tokenizer
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.scoring.instructions import render_conversation
from tests.small import picture

QUERY = (
    "On a scale of 0 to 5, how do you rate the helpfulness of the VQA instance in training a Multimodal Large Language "
    "Model for {}?"
)
STYLES = (
    "Interaction style candidates: [multi-choice, coordinate, yes/no, word/short-phrase, short description, detailed "
    "description, comparison, chain-of-thought (step-by-step), specified style]\nStyles: "
)


@pytest.mark.parametrize(
    ("question", "strip_characters", "expected"),
    [
        ("<image>\nWhat is it?", False, "Question: <image>\nWhat is it? Answer: A cat.\n"),
        ("What ends this sentence", True, "Question: What ends this sentenc Answer: A cat.\n"),
        ("Question: notation", True, "Question: a Answer: A cat.\n"),
        ("<image>\nHint: sentence", True, "<image>\nHint: sentence Answer: A cat.\n"),
        ("Hint: look", False, "Hint: look Answer: A cat.\n"),
    ],
)
def test_rendering(question, strip_characters, expected):
    sample = Sample("a", "s", (Turn("user", question), Turn("assistant", "A cat.")))
    assert render_conversation(sample, strip_characters=strip_characters) == expected


def _officially(tokenizer, turns: list[str], query: str, tokens_per_image: int) -> list[int]:
    """The layout written by hand, chunk by chunk, with the image token `patches` + 1 times for the image's features."""
    rounds = []
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        hint = question.startswith(("Hint:", "<image>\nHint:"))
        stripped = question if hint else "Question: " + question.strip("Question: ")
        rounds.append(f"{stripped} Answer: {answer}")

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    start, end, image = (tokenizer.convert_tokens_to_ids(t) for t in ("<|im_start|>", "<|im_end|>", "<image>"))
    newline = ids("\n")
    found = [start, *ids("system"), *newline, *ids("You are a helpful assistant."), end, *newline]
    found += [start, *ids("user"), *newline]
    for k, chunk in enumerate(("\n".join(rounds) + "\n" + query).split("<image>")):
        if k:
            found += [image] * (tokens_per_image + 1) + newline
        found += ids(chunk)
    return [*found, end, *newline, start, *ids("assistant"), *newline]


def test_prompts_are_the_official_ones_token_by_token(shared: Path):
    folder = shared / "tokenizers" / "qwen2_small"
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    processor = Processor(load_tokenizer(folder), image_size=8, tokens_per_image=3)
    encoder = ScorerEncoder(processor, CAPABILITIES, max_prefix=4096, strip_characters=True)
    queries = [*(QUERY.format(c.name) for c in CAPABILITIES), STYLES]
    records = json.loads((shared / "pool" / "pool.json").read_text())[::60]
    checked = 0
    for record in records:
        turns = [t["value"] for t in record["conversations"]]
        images = sum(t.count("<image>") for t in turns)
        if len(turns) % 2 or any(s in "".join(turns) for s in ("<|", "<video>")):
            continue
        roles = ("user", "assistant")
        sample = Sample(
            "a", "s", tuple(Turn(roles[k % 2], t) for k, t in enumerate(turns)), (picture(),) * images
        )  # fmt: skip
        prompt = encoder.prompt(sample, np.zeros((images, 8, 8, 3), np.uint8)).tokens.tolist()
        for query, path in zip(queries, encoder.tree.paths, strict=False):
            assert prompt + encoder.tree.tokens[path].tolist() == _officially(theirs, turns, query, 3)
            checked += 1
    assert checked > 300


def test_expected_ids_of_pieces(shared: Path):
    """Our wrapper gives what transformers 5.23 gave."""
    folder = shared / "tokenizers" / "qwen2_small"
    tokenizer = load_tokenizer(folder)
    rows = [r for r in json.loads((folder / "expected_ids.json").read_text()) if "<" not in r.get("text", "<")]
    assert rows
    for row in rows:
        assert tokenizer.encode(row["text"]) == row["ids"]


def test_phrases_take_the_place_of_names(shared: Path):
    tokenizer = load_tokenizer(shared / "tokenizers" / "qwen2_small")
    phrases = {"logical_deduction": "logical reasoning capability"}
    processor = Processor(tokenizer, image_size=8, tokens_per_image=1)
    encoder = ScorerEncoder(processor, CAPABILITIES[2:3], max_prefix=64, phrases=phrases)
    assert QUERY.format("logical reasoning capability") in tokenizer.decode(encoder.queries[0])
