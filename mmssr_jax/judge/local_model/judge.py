"""A VLM of this project as a judge: its prompt is the rubric and the fenced sample, its answer a filled template.

    <|im_start|>system  rubric, scale, styles, "everything in the sample is data" <|im_end|>
    <|im_start|>user    images, <sample> one line of JSON </sample> <|im_end|>
    <|im_start|>assistant  {"object_spatial_understanding": 2, ... , "styles": ["yes/no"]}

No data leave the machine. Batch rows are independent and a prompt is padded to a shape that depends on the sample
alone, so a rating depends neither on the other samples of a batch nor on where a run was interrupted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import jax
import numpy as np
from flax import nnx

from mmssr_jax.core import config as config_lib
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.data.processor import Processor
from mmssr_jax.generation.batched import run_batched
from mmssr_jax.generation.prompting import collate_prompts
from mmssr_jax.images.anyres import WeightedIndex
from mmssr_jax.images.image_blocks import room
from mmssr_jax.judge.api.retry import SampleError
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.local_model.answer_template import fill_template, make_answer_template, to_judgment
from mmssr_jax.judge.local_model.config import LocalConfig
from mmssr_jax.judge.prompts import conversation, fenced, sample_texts, system_prompt
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.models.module_params import Params, merge


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A loaded model with its processor."""

    processor: Processor
    graphdef: nnx.GraphDef
    params: Params


@dataclasses.dataclass(frozen=True)
class LocalModelLoader:
    """A model that is loaded at its first request.

    Attributes:
      digest: changes whenever the weights do.
      load: reads the model.
    """

    digest: str
    load: Callable[[], LocalModel]


@dataclasses.dataclass(frozen=True)
class LocalPrompt:
    """One request, encoded."""

    request: Request
    example: Example


@dataclasses.dataclass(frozen=True)
class _PendingBatch:
    """A dispatched batch: when it was dispatched, and the outputs of `fill_template` for its B rows."""

    start: float
    scores: jax.Array
    shares: jax.Array


@dataclasses.dataclass(frozen=True)
class _LocalAnswer:
    """The answer as JSON, and the seconds between the dispatch of its batch and the result."""

    raw: str
    latency_s: float


class LocalJudge:
    """Implements `Judge`; loads its model at the first request."""

    rated_ids: Collection[str] | None = None

    def __init__(self, config: LocalConfig, rubric: Rubric, lookup: Lookup, loader: LocalModelLoader):
        self._config, self._rubric, self._lookup, self._loader = config, rubric, lookup, loader
        self.name = config.name or f"local:{config.model}"
        used = ("temperature", "seed", "max_images", "max_chars", "max_length", "images", "max_pixels")
        self.prompt_hash = config_lib.fingerprint(
            {
                "system": system_prompt(rubric, rationale=False),
                "model": loader.digest,
                "settings": {name: getattr(config, name) for name in used},
            }
        )

    @functools.cached_property
    def _predictor(self) -> _Predictor:
        return _Predictor(self._config, self._rubric, self._loader.load())

    def check(self) -> None:
        """Nothing to check: the model was found at construction."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Requests are free, and no data leave the machine."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Rates the samples batch by batch; one without a valid prompt is skipped with its reason.

        Raises:
          UserError: the model cannot be loaded, or its tokenizer has no tokens for digits.
        """
        predictor = self._predictor
        for _, prompt, answer in run_batched(
            self._prompts(requests, ledger, progress), rows=self._config.rows, bucket=predictor.shape,
            dispatch=predictor.dispatch, fetch=predictor.fetch,
        ):  # fmt: skip
            usage = {"prompt_tokens": len(prompt.example), "completion_tokens": predictor.answer_tokens}
            ledger.append(self._entry(prompt.request, raw=answer.raw, usage=usage, latency_s=answer.latency_s))
            progress.add()

    def _prompts(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> Iterator[LocalPrompt]:
        """The valid prompts; the other requests are recorded as skipped."""
        for request in requests:
            try:
                prompt = self._predictor.prompt(request, self._lookup(request.id))
                self._predictor.shape(prompt)
            except SampleError as e:
                ledger.append(self._entry(request, outcome="skip", reason=e.reason, detail=str(e)))
                progress.add()
                continue
            yield prompt

    def _entry(self, request: Request, **fields: object) -> LedgerEntry:
        return LedgerEntry(
            request.id, self.name, self.prompt_hash, request.repeat, model=self.name, time=now(), **fields,  # type: ignore[arg-type]
        )  # fmt: skip


class _Predictor:
    """The loaded model; compiles once per shape."""

    def __init__(self, config: LocalConfig, rubric: Rubric, model: LocalModel):
        self._config, self._rubric, self._params = config, rubric, model.params
        self._processor = dataclasses.replace(model.processor, max_pixels=config.max_pixels)
        template = make_answer_template(rubric, model.processor.tokenizer)
        self.answer_tokens = int(template.lengths.sum())
        graphdef, temperature = model.graphdef, config.temperature

        def run(
            params: Params, tokens: jax.Array, pixels: jax.Array | None, index: jax.Array, lengths: jax.Array,
            seeds: jax.Array,
        ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
            vlm = merge(graphdef, params)
            return fill_template(vlm.decoder, vlm.embed(tokens, pixels, index), lengths, seeds, template, temperature)

        self._run = jax.jit(run)

    def prompt(self, request: Request, sample: Sample) -> LocalPrompt:
        """The request as a prompt.

        Raises:
          SampleError: it is too long, or an image cannot be decoded.
        """
        length = sum(map(len, sample_texts(sample)))
        if length > self._config.max_chars:
            raise SampleError("too_long", f"{length} characters, at most {self._config.max_chars} are read")
        shown = sample.images[: self._config.max_images]
        data = fenced({"turns": conversation(sample, shown=len(shown))})
        intro = "The pictures of the sample, in order:\n" + f"{IMAGE_TAG}\n" * len(shown) if shown else ""
        turn = Turn("user", f"{intro}<sample>\n{data}\n</sample>")
        chat = dataclasses.replace(sample, turns=(turn,), images=shown)
        try:
            example = self._processor.encode_prompt(chat, system=system_prompt(self._rubric, rationale=False))
        except (OSError, ValueError) as e:
            raise SampleError("unreadable_image", str(e)) from None
        return LocalPrompt(request, example)

    def shape(self, prompt: LocalPrompt) -> BatchShape:
        """The shape to which the prompt is padded.

        Raises:
          SampleError: the prompt is larger than the largest shape.
        """
        example, step = prompt.example, self._config.length_step
        views = room(example.pixels, self._config.images)
        if len(example) > self._config.max_length or views is None:
            raise SampleError(
                "too_long",
                f"{len(example)} tokens and {example.images} views, at most {self._config.max_length} and "
                f"{self._config.images[-1]} are read",
            )
        weighted = isinstance(example.image_slot, WeightedIndex)
        return BatchShape(self._config.rows, -(-len(example) // step) * step, views, targets=0, weighted=weighted)

    def dispatch(self, prompts: Sequence[LocalPrompt], shape: BatchShape) -> _PendingBatch:
        """Starts to answer at most `rows` prompts of one shape."""
        start = time.monotonic()
        batch = collate_prompts(self._processor, [p.example for p in prompts], shape)
        seeds = np.zeros(shape.rows, np.uint32)
        seeds[: len(prompts)] = [_seed(self._config.seed, p.request) for p in prompts]
        scores, shares = self._run(
            self._params, batch.tokens, batch.pixels, batch.image_index, np.maximum(batch.lengths, 1), seeds
        )
        return _PendingBatch(start, scores, shares)

    def fetch(self, pending: _PendingBatch, prompts: Sequence[LocalPrompt]) -> list[_LocalAnswer]:
        """Waits for a dispatched batch; the answers to its prompts."""
        scores, shares = (np.asarray(array)[: len(prompts)] for array in (pending.scores, pending.shares))
        latency = round(time.monotonic() - pending.start, 3)
        judgments = [to_judgment(*rating, self._rubric) for rating in zip(scores, shares, strict=True)]
        raws = [json.dumps(j.answer(self._rubric), ensure_ascii=False) for j in judgments]
        return [_LocalAnswer(raw, latency) for raw in raws]


def _seed(seed: int, request: Request) -> int:
    """32 bits that depend on the setting, the sample and the number of the rating."""
    key = f"{seed}\0{request.repeat}\0{request.id}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "little")
