"""Small things that many tests build on: a tokenizer, samples, a model that compiles in a second."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.shards import ShardedJob
from mmssr_jax.core.tables import part_name
from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.tokenizer import Tokenizer, train_tokenizer
from mmssr_jax.images.views import AnyresViewConfig, View, ViewConfig, views
from mmssr_jax.models.config import DecoderConfig, VisionConfig, VLMConfig
from mmssr_jax.scoring import instructions
from mmssr_jax.training.bundle import ModelBundle, random_bundle

SIZE, PATCH, PATCHES = 8, 4, 4


@functools.cache
def tokenizer() -> Tokenizer:
    """A byte-level BPE that knows the scorer's questions."""
    fixed = [instructions.score_query(c) for c in CAPABILITIES] + [instructions.style_query(), *STYLES]
    return train_tokenizer([*fixed, *"012345", "user\n", "assistant\n", "What is it? A red cat."] * 20, vocab_size=560)


def picture(*colour: int) -> ImageRef:
    """A uniform image of `SIZE` x `SIZE`."""
    buffer = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), colour or (200, 10, 10)).save(buffer, "PNG")
    return ImageRef(data=buffer.getvalue())


def sample(name: str = "a", question: str = "What is it?", answer: str = "A red cat.", images: int = 1) -> Sample:
    """One round; as many images as tags, all of different colours."""
    refs = tuple(picture(40 * k, 10, 200 - 30 * k) for k in range(images))
    return Sample(name, "s", (Turn("user", "<image>\n" * images + question), Turn("assistant", answer)), refs)


@functools.cache
def bundle(seed: int = 0) -> ModelBundle:
    """A model of two narrow layers in tower and decoder, initialised so that both images and text matter."""
    config = VLMConfig(
        vision=VisionConfig(image_size=SIZE, patch_size=PATCH, width=16, depth=2, heads=2, mlp=32),
        decoder=DecoderConfig(
            vocab=tokenizer().vocab_size, width=32, depth=2, heads=4, kv_heads=2, mlp=48, rope_theta=1e4
        ),
    )
    return random_bundle(config, tokenizer(), seed=seed)


PAIR_MARKS = (1, 59)  # what begins and ends a text of `image_text_pair`


def image_text_pair(folder: Path, goldens: Path, name: str) -> Path:
    """A small CLIP or SigLIP as a checkpoint's folder; its tokenizer knows letters (a is 10) and skips the rest."""
    shutil.copytree(goldens / "llava_onevision" / name, folder / name)
    letters = {chr(ord("a") + n): 10 + n for n in range(26)}
    begin, end = PAIR_MARKS
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": begin, "?": 2, **letters, "</s>": end}, "?"))
    core.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Lowercase(), tokenizers.normalizers.Replace(tokenizers.Regex(r"[^a-z]+"), "")]
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    core.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", None, [("<s>", begin), ("</s>", end)])
    core.save(str(folder / name / "tokenizer.json"))
    return folder / name


@contextlib.contextmanager
def one_part(folder: Path) -> Iterator[ShardedJob]:
    """The job of a table of one part."""
    path = folder / part_name(0, 1)
    with ShardedJob(1, lambda n: path.exists(), lock=folder.with_name(f"{folder.name}.lock")) as job:
        yield job


def processor() -> Processor:
    """The processor of `bundle`."""
    return Processor(tokenizer(), image_size=SIZE, tokens_per_image=PATCHES, max_pixels=10_000)


def pixels(one: Sample) -> np.ndarray:
    """uint8 [I, SIZE, SIZE, 3]."""
    return processor().preprocess(one)[1]


def token_count(sizes: Sequence[tuple[int, int]], config: ViewConfig, resolution: int, tokens: int) -> int:
    """Image tokens of a prompt with images of `sizes`, given `tokens` per view, by the documented rules."""
    if isinstance(config, AnyresViewConfig):
        return sum(layout.tokens for layout in config.layouts(sizes))
    count = sum(isinstance(piece, View) for pieces in views(sizes, config, resolution) for piece in pieces)
    return count * (tokens + config.newline)
