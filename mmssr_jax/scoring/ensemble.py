"""One or two models that score a pool together: one scorer, or a scorer and a model for the styles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import Capability
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.generation.batched import run_batched
from mmssr_jax.scoring.scorer import SampleOutput, Scorer, ScorerOutput, TokenCounts


class DoesNotFitError(Exception):
    """A sample is larger than the largest bucket."""


@dataclasses.dataclass(frozen=True)
class ScorerEnsemble:
    """`scorer` answers the capability questions; `styler`, if any, the style question instead of `scorer`.

    With `blind`, `scorer` also reads the conversations without their images, for `ScorerOutput.nll_blind`.
    """

    scorer: Scorer
    styler: Scorer | None = None
    blind: bool = False

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        return (self.scorer,) if self.styler is None else (self.scorer, self.styler)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """The capabilities of the scores' columns, in order."""
        return self.scorer.encoder.capabilities

    @property
    def counts(self) -> TokenCounts:
        """Tokens computed by all models so far; each sample counts once."""
        counts = [s.counts for s in self.scorers]
        return TokenCounts(counts[0].samples, sum(c.tokens for c in counts), sum(c.computed for c in counts))

    def prompts(self, sample: Sample) -> tuple[Example, ...]:
        """Encodes a sample for each model, and with `blind` once more without images.

        Images are decoded once if both models use the same views.

        Raises:
          OSError, ValueError: an image cannot be read.
          DoesNotFitError: the sample is larger than the largest bucket.
        """
        examples: list[Example] = []
        preprocessed_for: Any = None
        for scorer in self.scorers:
            processor = scorer.encoder.processor
            spec = (processor.views, processor.image_size, processor.max_pixels)
            if spec != preprocessed_for:
                preprocessed, pixels = processor.preprocess(sample)
                preprocessed_for = spec
            try:
                example = scorer.encoder.prompt(preprocessed, pixels)
                scorer.shape(example)
            except ValueError as e:
                raise DoesNotFitError(str(e)) from None
            examples.append(example)
            if scorer is self.scorer and self.blind:
                blind = scorer.encoder.blind_prompt(preprocessed, pixels)
        return (*examples, blind) if self.blind else tuple(examples)

    def score(self, prompts: Iterable[tuple[Example, ...]]) -> ScorerOutput:
        """Scores samples given as their `prompts`; the output is in their order.

        Args:
          prompts: consumed as batches are needed, so that encoding overlaps with the devices' work.

        Raises:
          ValueError: a prompt is larger than the largest bucket.
        """
        scorers = self.scorers
        passes = len(scorers) + self.blind  # forward passes of a sample

        def items() -> Iterator[tuple[int, Example]]:
            for examples in prompts:
                yield from enumerate(examples)

        def bucket(item: tuple[int, Example]) -> tuple[int, BatchShape]:
            k, example = item
            return k, scorers[k].shape(example) if k < len(scorers) else self.scorer.blind_shape(example)

        def dispatch(batch: list[tuple[int, Example]], key: tuple[int, BatchShape]) -> Any:
            (k, shape), examples = key, [example for _, example in batch]
            if k < len(scorers):
                return scorers[k].dispatch(examples, shape)
            return self.scorer.dispatch_blind(examples, shape)

        def fetch(pending: Any, batch: list[tuple[int, Example]]) -> Sequence[Any]:
            k = batch[0][0]
            if k < len(scorers):
                return scorers[k].fetch(pending, [example for _, example in batch])
            return list(np.asarray(pending)[: len(batch)])

        outputs: list[dict[int, Any]] = [{} for _ in range(passes)]
        for index, (k, _), output in run_batched(
            items(), rows=self.scorer.buckets.rows, bucket=bucket, dispatch=dispatch, fetch=fetch, in_flight=1 + passes
        ):
            outputs[k][index // passes] = output
        result, *rest = [_stack(by_index, s) for by_index, s in zip(outputs, scorers, strict=False)]
        if rest:
            result = dataclasses.replace(result, style_share=rest[0].style_share, styles=rest[0].styles)
        if self.blind:
            blind = np.array([outputs[-1][n] for n in range(len(outputs[-1]))], np.float32)
            result = dataclasses.replace(result, nll_blind=blind)
        return result


def _stack(by_index: dict[int, SampleOutput], scorer: Scorer) -> ScorerOutput:
    rows = [by_index[n] for n in range(len(by_index))]
    C, styles = len(scorer.encoder.capabilities), len(scorer.encoder.style_steps)

    def column(name: str, width: int, dtype: type) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows], dtype).reshape(len(rows), width)

    return ScorerOutput(
        column("scores", C, np.float32), column("digit_mass", C, np.float32), column("best", C, np.int32),
        column("style_share", styles, np.float32), [row.styles for row in rows], column("nll", 1, np.float32)[:, 0],
    )  # fmt: skip
