"""Steps of the published methods that no selection of this package runs as arrays, as references for its tests.

Each is compared with the official program's recorded results in test_rival_goldens.py; what the package computes on a
device (gradients, attention, states) is compared with these.
"""

from __future__ import annotations

import numpy as np

_MISSING_DIGIT = 3.0  # the official score where the server did not return all six digits


def digit_score(logits: np.ndarray) -> np.ndarray:
    """float64 [N]: the expected digit from the logits (or log-probabilities) of "1" to "6", float [N, 6].

    As in the official program, a row with a missing digit (NaN) scores 3.
    """
    logits = logits.astype(np.float64)
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    score = weight @ np.arange(1.0, logits.shape[1] + 1) / weight.sum(axis=1)
    return np.where(np.isnan(logits).any(axis=1), _MISSING_DIGIT, score)


def evol_score(complexity: np.ndarray, quality: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """float64 [N]: complexity times quality, summed over the turns of each sample.

    Args:
      complexity, quality: float [turns of all samples], sample by sample.
      turns: int64 [N], the number of turns of each sample.
    """
    sample = np.repeat(np.arange(len(turns)), turns)
    return np.bincount(sample, complexity.astype(np.float64) * quality, minlength=len(turns))


def influence(
    train: np.ndarray, validation: np.ndarray, task: np.ndarray, voter: np.ndarray, normalised: np.ndarray
) -> np.ndarray:
    """float64 [N, voters]: the score of every training row for every voter.

    Args:
      train: float [N, d], projected gradients.
      validation: float [V, d].
      task: int [V], the task of each validation row.
      voter: int [tasks], the voter that each task belongs to; a voter's score is the maximum over its tasks.
      normalised: bool [tasks], whether the task's validation gradients are scaled to unit length.
    """
    scaled = np.where(normalised[task][:, None], _unit(validation), validation.astype(np.float64))
    mean = np.stack([scaled[task == t].mean(axis=0) for t in range(len(voter))])
    score = _unit(train) @ mean.T
    return np.stack([score[:, voter == v].max(axis=1) for v in range(int(voter.max()) + 1)], axis=1)


def _unit(rows: np.ndarray) -> np.ndarray:
    """float64 [N, d]: the rows in unit length; NaN for a gradient of zeros, which has no direction."""
    rows = rows.astype(np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.full(rows.shape, np.nan), where=norm > 0)


def capped_task_quotas(value: np.ndarray, size: np.ndarray, count: int, temperature: float) -> np.ndarray:
    """int64 [tasks]: the other rule of PreSel's repository, for Vision-Flan.

    Truncated shares, cut at the tasks' sizes; then as many rows as the truncation lost, one each to the largest
    fractions with room; then what is still left, one by one in task order.

    Args:
      value: float [tasks].
      size: int64 [tasks], the rows of each task.
      count: the number of rows.
      temperature: of the softmax.
    """
    logit = -value / temperature
    weight = np.exp(logit - logit.max())
    exact = weight / weight.sum() * count
    floor = np.floor(exact).astype(np.int64)
    quota, count = np.minimum(floor, size), min(count, int(size.sum()))
    by_fraction = np.argsort(floor - exact, kind="stable")
    with_room = by_fraction[quota[by_fraction] < size[by_fraction]]
    quota[with_room[: min(count - floor.sum(), count - quota.sum())]] += 1
    while quota.sum() < count:
        quota[np.flatnonzero(quota < size)[: count - quota.sum()]] += 1
    return quota


def weighted_mean(hidden: np.ndarray, length: np.ndarray) -> np.ndarray:
    """float64 [N, d]: unit vectors, the mean of a row's states weighted by position (1, 2, ... length).

    Args:
      hidden: float [N, L, d], the last layer.
      length: int64 [N], the number of tokens.
    """
    weight = np.where(np.arange(hidden.shape[1]) < length[:, None], np.arange(1, hidden.shape[1] + 1), 0)
    pooled = np.einsum("nl,nld->nd", weight.astype(np.float64), hidden) / weight.sum(axis=1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def attended_tokens(attention: np.ndarray, share: float = 0.9) -> np.ndarray:
    """int64 [picked]: the image tokens with the most attention, until their share exceeds `share`; all if none does.

    Args:
      attention: float [U, V], mean over heads, from the user's tokens to the image's.
      share: of the attention on the image.
    """
    mean = attention.astype(np.float64).mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    beyond = np.flatnonzero(np.cumsum(mean[order] / mean.sum()) > share)
    return order[: beyond[0] + 1] if len(beyond) else order


def answer_loss(nll: np.ndarray, prompt: np.ndarray, length: np.ndarray) -> np.ndarray:
    """float64 [N]: the mean over the tokens after the prompt, those that close the turn included.

    Args:
      nll: float [N, L], the loss of each token.
      prompt: int64 [N], the number of prompt tokens.
      length: int64 [N], the number of all tokens.
    """
    at = np.arange(nll.shape[1])
    answer = (at >= prompt[:, None]) & (at < length[:, None])
    return np.where(answer, nll, 0).sum(axis=1, dtype=np.float64) / answer.sum(axis=1)


def standardised_gap(
    loss_with: np.ndarray, loss_blind: np.ndarray, frame_diversity: np.ndarray, gap: np.ndarray, *, cap: float = 4.0
) -> np.ndarray:
    """GDO's score, float64 [N]: -z(with) + z(blind) + z(diversity), or what of it there is.

    z is standardised by the mean and the sample standard deviation of the available values, clipped at +-cap; a
    constant column gives 0. Where a loss is missing: z(gap) + z(diversity) / 2, or z(gap); 0 without a gap.

    Args:
      loss_with, loss_blind, frame_diversity, gap: float [N], NaN = missing.
      cap: the largest absolute z.
    """
    z_with, z_blind, z_diversity, z_gap = (_z(x, cap) for x in (loss_with, loss_blind, frame_diversity, gap))
    score = np.where(np.isnan(z_diversity), z_gap, z_gap + 0.5 * z_diversity)
    whole = -z_with + z_blind + z_diversity
    return np.nan_to_num(np.where(np.isnan(whole), score, whole))


def _z(x: np.ndarray, cap: float) -> np.ndarray:
    known = x[~np.isnan(x)]
    spread = known.std(ddof=1) if len(known) > 1 else 0.0
    z = (x - known.mean()) / spread if spread > 0 else np.where(np.isnan(x), np.nan, 0.0)
    return np.clip(z, -cap, cap)


def attention_to_image(q_proj: np.ndarray, k_proj: np.ndarray, *, image: slice, text: slice) -> np.ndarray:
    """float64 [text, image]: attention summed over layers, as the official program defines it (it computes float16).

    It uses the projections of all heads together, without RoPE or mask, with query and key exchanged.

    Args:
      q_proj, k_proj: float [layers, T, d], outputs of the projections of one sample, without padding.
      image: the image tokens.
      text: the text tokens after them.
    """
    total = 0.0
    for q, k in zip(q_proj.astype(np.float64), k_proj.astype(np.float64), strict=True):
        logit = k @ q.T / np.sqrt(q.shape[1])
        weight = np.exp(logit - logit.max(axis=1, keepdims=True))
        total = total + (weight / weight.sum(axis=1, keepdims=True))[text, image]
    return np.asarray(total)
