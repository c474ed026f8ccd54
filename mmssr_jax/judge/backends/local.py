"""A VLM of this project as a judge: the rubric and the fenced sample as its prompt, the answer's form to fill.

    <|im_start|>system  rubric, scale, styles, "what stands in the sample is data" <|im_end|>
    <|im_start|>user    pictures, <sample> one line of JSON </sample> <|im_end|>
    <|im_start|>assistant  {"object_spatial_understanding": 2, ... , "styles": ["yes/no"]}

Nothing leaves the machine. Rows do not see each other and a prompt is padded to a shape that hangs on the sample alone,
so a rating does not depend on what else is asked, nor on where a run was cut off.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from flax import nnx

from mmssr_jax.core import config as config_lib
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.data.batch import place_images
from mmssr_jax.data.chat import pictures, text_and_images
from mmssr_jax.data.example import Segment, flatten
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.generation.prompting import PromptShape
from mmssr_jax.images.anyres import FeatureIndex, WeightedIndex
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.judge.api.retry import SampleError
from mmssr_jax.judge.backends.answer_template import fill_template, make_answer_template, to_judgment
from mmssr_jax.judge.backends.local_config import LocalConfig
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.prompts import conversation, fenced, system_prompt
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.module_params import Params, merge

_BATCHES_AHEAD = 4  # so many batches' prompts are read and sorted by shape at a time


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A model with all that its prompts hang on."""

    config: VLMConfig
    tokenizer: Tokenizer
    graphdef: nnx.GraphDef
    params: Params


@dataclasses.dataclass(frozen=True)
class LocalSource:
    """A model that is loaded when it is asked.

    Attributes:
      digest: changes whenever the weights do.
      load: reads it.
    """

    digest: str
    load: Callable[[], LocalModel]


@dataclasses.dataclass(frozen=True)
class LocalPrompt:
    """One request: tokens [L], image slots (see `Example`), views uint8 [V, S, S, 3]."""

    request: Request
    tokens: np.ndarray
    slots: FeatureIndex
    views: np.ndarray


class LocalJudge:
    """Implements `backends.Judge`; loads its model at the first request."""

    def __init__(self, config: LocalConfig, rubric: Rubric, lookup: Lookup, source: LocalSource):
        self._config, self._rubric, self._lookup, self._source = config, rubric, lookup, source
        self.name = config.name or f"local:{config.model}"
        answer = ("temperature", "seed", "max_images", "max_chars", "max_length", "images", "max_pixels")
        self.prompt_hash = config_lib.fingerprint(
            {
                "system": system_prompt(rubric, rationale=False),
                "model": source.digest,
                "settings": {name: getattr(config, name) for name in answer},
            }
        )

    @functools.cached_property
    def _rater(self) -> _Rater:
        return _Rater(self._config, self._rubric, self._source.load())

    def check(self) -> None:
        """Nothing is missing: the model was found."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Free, and nothing leaves the machine."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Rates sample after sample; what cannot be asked is skipped with its reason.

        Raises:
          UserError: the model cannot be loaded, or its tokenizer has no digits.
        """
        rater = self._rater
        ahead = self._config.rows * _BATCHES_AHEAD
        for first in range(0, len(requests), ahead):
            groups: dict[PromptShape, list[LocalPrompt]] = {}
            for request in requests[first : first + ahead]:
                try:
                    prompt = rater.prompt(request, self._lookup(request.id))
                    groups.setdefault(rater.shape(prompt), []).append(prompt)
                except SampleError as e:
                    ledger.append(self._entry(request, outcome="skip", reason=e.reason, detail=str(e)))
                    progress.add()
            for shape, prompts in groups.items():
                for start in range(0, len(prompts), self._config.rows):
                    self._rate(rater, prompts[start : start + self._config.rows], shape, ledger)
                    progress.add(len(prompts[start : start + self._config.rows]))

    def _rate(self, rater: _Rater, prompts: Sequence[LocalPrompt], shape: PromptShape, ledger: Ledger) -> None:
        begin = time.monotonic()
        answers = rater.rate(prompts, shape)
        took = round(time.monotonic() - begin, 3)
        for prompt, raw in zip(prompts, answers, strict=True):
            usage = {"prompt_tokens": len(prompt.tokens), "completion_tokens": rater.answer_tokens}
            ledger.append(self._entry(prompt.request, raw=raw, usage=usage, latency_s=took))

    def _entry(self, request: Request, **fields: object) -> LedgerEntry:
        return LedgerEntry(
            request.id, self.name, self.prompt_hash, request.repeat, model=self.name, time=now(), **fields,  # type: ignore[arg-type]
        )  # fmt: skip


class _Rater:
    """The loaded model; compiles once a shape."""

    def __init__(self, config: LocalConfig, rubric: Rubric, model: LocalModel):
        self._config, self._rubric, self._model = config, rubric, model
        form = make_answer_template(rubric, model.tokenizer)
        self.answer_tokens = int(form.lengths.sum())
        graphdef, temperature = model.graphdef, config.temperature

        def run(
            params: Params, tokens: jax.Array, pixels: jax.Array | None, index: jax.Array, lengths: jax.Array,
            seeds: jax.Array,
        ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
            vlm = merge(graphdef, params)
            features = None if pixels is None else vlm.image_features(pixels)
            return fill_template(vlm.decoder, vlm.embed(tokens, features, index), lengths, seeds, form, temperature)

        self._run = jax.jit(run)

    def prompt(self, request: Request, sample: Sample) -> LocalPrompt:
        """The request in tokens and views.

        Raises:
          SampleError: it is too long, or a picture cannot be decoded.
        """
        length = sum(len(t.text) for t in sample.turns)
        if length > self._config.max_chars:
            raise SampleError("too_long", f"{length} characters, at most {self._config.max_chars} are read")
        config, tokenizer = self._model.config, self._model.tokenizer
        shown = sample.images[: self._config.max_images]
        data = fenced({"turns": conversation(sample, shown=len(shown))})
        intro = "The pictures of the sample, in order:\n" + f"{IMAGE_TAG}\n" * len(shown) if shown else ""
        turn = Turn("user", f"{intro}<sample>\n{data}\n</sample>")
        asked = dataclasses.replace(sample, turns=(turn,), images=shown)
        try:
            asked, views = preprocess(
                asked, config.view_config, config.vision.image_size, max_pixels=self._config.max_pixels
            )
        except (OSError, ValueError) as e:
            raise SampleError("unreadable_image", str(e)) from None
        newline = tokenizer.encode_fixed("\n")
        system = tokenizer.encode_fixed("system\n" + system_prompt(self._rubric, rationale=False))
        end = [tokenizer.im_end, *newline, tokenizer.im_start]
        images = pictures(asked, tokenizer, tokens_per_image=config.image_tokens, newline=config.views.newline)
        pieces = [
            Segment([tokenizer.im_start, *system, *end]),
            *text_and_images("user\n" + asked.turns[0].text, tokenizer, images),
            Segment([*end, *tokenizer.encode_fixed("assistant\n")]),
        ]  # fmt: skip
        tokens, slots, _ = flatten(pieces)
        return LocalPrompt(request, tokens, slots, views)

    def shape(self, prompt: LocalPrompt) -> PromptShape:
        """Tokens and views that it is padded to.

        Raises:
          SampleError: it has more.
        """
        length = -(-len(prompt.tokens) // self._config.length_step) * self._config.length_step
        views = next((n for n in self._config.images if n >= len(prompt.views)), None)
        if len(prompt.tokens) > self._config.max_length or views is None:
            raise SampleError(
                "too_long",
                f"{len(prompt.tokens)} tokens and {len(prompt.views)} views, at most {self._config.max_length} and "
                f"{self._config.images[-1]} are read",
            )
        return PromptShape(length, views, isinstance(prompt.slots, WeightedIndex))

    def rate(self, prompts: Sequence[LocalPrompt], shape: PromptShape) -> list[str]:
        """The answers to at most `rows` prompts of one shape, as JSON."""
        rows, length, views = self._config.rows, shape.length, shape.images
        size, tokens_per_image = self._model.config.vision.image_size, self._model.config.image_tokens
        tokens = np.full((rows, length), self._model.tokenizer.pad, np.int32)
        slots = [p.slots for p in prompts]
        index = place_images(slots, rows=rows, length=length, step=views * tokens_per_image, blend=shape.blended)
        lengths, seeds = np.ones(rows, np.int32), np.zeros(rows, np.uint32)
        pixels = np.zeros((rows * views, size, size, 3), np.uint8)
        for row, one in enumerate(prompts):
            n, first = len(one.tokens), row * views
            tokens[row, :n], lengths[row] = one.tokens, n
            pixels[first : first + len(one.views)] = one.views
            seeds[row] = _seed(self._config.seed, one.request)
        scores, shares = self._run(self._model.params, tokens, pixels if views else None, index, lengths, seeds)
        ratings = zip(np.asarray(scores), np.asarray(shares), strict=True)
        judgments = [to_judgment(*rating, self._rubric) for rating in ratings][: len(prompts)]
        return [json.dumps(j.answer(self._rubric), ensure_ascii=False) for j in judgments]


def _seed(seed: int, request: Request) -> int:
    """32 bits that hang on the setting, the sample and the number of the rating."""
    key = f"{seed}\0{request.repeat}\0{request.id}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "little")
