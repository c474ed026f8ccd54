"""From the config to the rounds of judging: which judges there are, and which samples each of them rates."""

from __future__ import annotations

from collections.abc import Sequence

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.backend import JudgeContext
from mmssr_jax.judge.base import Judge, Request
from mmssr_jax.judge.config import JudgeConfig
from mmssr_jax.judge.draw import cheap_signals, draw_order, repeated
from mmssr_jax.judge.rounds import Round
from mmssr_jax.pool.pool import Pool


def plan_rounds(config: JudgeConfig, context: JudgeContext) -> tuple[Round, ...]:
    """The rounds of a config.

    Raises:
      UserError: a judge cannot be made from the config, or rates no sample of this pool.
    """
    backend, settings = config.load(), config.settings()
    judge = backend.make(settings, context)
    ids = _sampled_ids(config, judge, context.pool)
    rounds = [Round("vote", judge, vote, ids) for vote in range(config.votes)]
    repeated_ids = repeated(ids, config.repeat_share, seed=config.seed)
    if repeated_ids:
        rounds.append(Round("repeat", judge, config.votes, repeated_ids))
    repeat_judge = backend.make_repeat_judge(settings, context)
    if repeat_judge is not None:
        rounds.append(Round("repeat", repeat_judge, 0, _ratable(repeat_judge, ids)))
    for other in config.others.values():
        other_judge = other.load().make(other.settings(), context)
        share = repeated(ids, other.share, seed=config.seed)
        rounds.append(Round("other", other_judge, 0, _ratable(other_judge, share), combine=config.combine == "mean"))
    _check_distinct(rounds)
    return tuple(r for r in rounds if r.ids)


def _ratable(judge: Judge, ids: Sequence[str]) -> tuple[str, ...]:
    """Those of `ids` that the judge can rate, in the same order."""
    return tuple(ids) if judge.rated_ids is None else tuple(i for i in ids if i in judge.rated_ids)


def _check_distinct(rounds: Sequence[Round]) -> None:
    """Two judges of one name and prompt would read each other's answers in the ledger."""
    keys = set()
    for round_ in rounds:
        key = (round_.judge.name, round_.judge.prompt_hash, round_.repeat)
        if key in keys:
            raise UserError(
                f"judge: two judges are called {round_.judge.name!r} and have the same prompt; "
                "set the name of one of them"
            )
        keys.add(key)


def _sampled_ids(config: JudgeConfig, judge: Judge, pool: Pool) -> tuple[str, ...]:
    """The ids to judge, in sampling order."""
    strata = cheap_signals(pool.n_images, pool.n_turns)
    order = draw_order(pool.ids, pool.sources, strata, seed=config.seed, settings=config.sampling)
    ids = _ratable(judge, list(pool.ids[order]))
    if config.count is not None:
        wanted = config.count
    elif config.share is not None:
        wanted = round(config.share * len(ids))
    elif config.budget_usd is not None:
        wanted = _affordable(config, config.budget_usd, judge, ids)
    elif judge.rated_ids is not None:
        wanted = len(ids)
    else:
        raise UserError("judge: set count, share or budget_usd, the number of samples to judge")
    if wanted > len(ids):
        logging.warning("judge: %d samples are wanted, the pool has %d", wanted, len(ids))
    return ids[:wanted]


def _affordable(config: JudgeConfig, budget_usd: float, judge: Judge, ids: Sequence[str]) -> int:
    """The number of samples that the budget is expected to pay for.

    Raises:
      UserError: the price is not known, or the budget is less than one sample costs.
    """
    estimate = judge.estimate([Request(i) for i in ids])
    if estimate.usd is None or not estimate.prices_date:
        raise UserError("judge: budget_usd needs an API judge whose model has a price (api.prices)")
    usd_per_sample = estimate.usd / max(1, len(ids)) * (config.votes + config.repeat_share)
    count = min(len(ids), int(budget_usd / usd_per_sample)) if usd_per_sample else len(ids)
    if not count:
        raise UserError(f"judge: budget_usd is {budget_usd}, and one sample costs about ${usd_per_sample:.4f}")
    return count
