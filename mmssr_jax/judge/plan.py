"""From the config to the rounds of judging: which judges there are, and which samples each of them rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.backends.local_config import LocalConfig
from mmssr_jax.judge.backends.oracle import OracleJudge
from mmssr_jax.judge.backends.recorded import RecordedJudge
from mmssr_jax.judge.base import Judge, Lookup, Request
from mmssr_jax.judge.config import Backend, JudgeConfig, OtherJudge
from mmssr_jax.judge.draw import cheap_signals, draw_order, repeated
from mmssr_jax.judge.rounds import Round
from mmssr_jax.judge.rubric import Rubric
from mmssr_jax.pool.pool import Pool

if TYPE_CHECKING:  # model code is loaded for local judges only
    from mmssr_jax.judge.backends.local import LocalSource

# What a name in the config means: "base", a run of the workdir, a folder.
FindModel = Callable[[str], "LocalSource"]


def plan_rounds(
    config: JudgeConfig, rubric: Rubric, pool: Pool, truth: Path, find_model: FindModel
) -> tuple[Round, ...]:
    """Who rates what.

    Args:
      truth: the synthetic pool's, for the oracle.
      find_model: for local judges.

    Raises:
      UserError: the judge cannot be built from the config, or rated nothing of this pool.
    """
    judge = _first_judge(config, rubric, pool, truth, find_model)
    ids = _drawn(config, judge, pool)
    rounds = [Round("vote", judge, vote, ids) for vote in range(config.votes)]
    again = repeated(ids, config.repeat_share, seed=config.seed)
    if again:
        rounds.append(Round("repeat", judge, config.votes, again))
    if config.recorded_repeat is not None:
        second = _recorded(Path(config.recorded_repeat), rubric, pool)
        rounds.append(Round("repeat", second, 0, tuple(i for i in ids if i in second.ratings)))
    for other in config.others.values():
        some = repeated(ids, other.share, seed=config.seed)
        judge = _model_judge(other, rubric, pool, find_model)
        rounds.append(Round("other", judge, 0, some, combine=config.combine == "mean"))
    _check_distinct(rounds)
    return tuple(r for r in rounds if r.ids)


def _check_distinct(rounds: Sequence[Round]) -> None:
    """Two judges of one name and prompt would take each other's answers for their own."""
    seen = set()
    for one in rounds:
        key = (one.judge.name, one.judge.prompt_hash, one.repeat)
        if key in seen:
            raise UserError(
                f"config.judge: two judges are called {one.judge.name!r} and ask the same; set the name of one of them"
            )
        seen.add(key)


def _first_judge(config: JudgeConfig, rubric: Rubric, pool: Pool, truth: Path, find_model: FindModel) -> Judge:
    if config.backend == "oracle":
        if not truth.exists():
            raise UserError(
                f"{truth}: no such file; the oracle judges the synthetic pool only, set config.judge.backend"
            )
        return OracleJudge(truth, rubric, config.oracle)
    if config.backend == "recorded":
        assert config.recorded is not None
        return _recorded(Path(config.recorded), rubric, pool)
    return _model_judge(config, rubric, pool, find_model)


def _model_judge(config: JudgeConfig | OtherJudge, rubric: Rubric, pool: Pool, find_model: FindModel) -> Judge:
    rows = {sample_id: row for row, sample_id in enumerate(pool.ids)}

    def lookup(sample_id: str) -> Sample:
        return pool[rows[sample_id]]

    if config.backend == "local":
        from mmssr_jax.judge.backends.local import LocalJudge

        local = config.local or LocalConfig()
        return LocalJudge(local, rubric, lookup, find_model(local.model))
    assert config.api is not None
    return _api_judge(config.backend, config.api, rubric, pool, lookup)


def _api_judge(backend: Backend, api: ApiConfig, rubric: Rubric, pool: Pool, lookup: Lookup) -> Judge:
    from mmssr_jax.judge.api.batch_judge import BatchJudge
    from mmssr_jax.judge.api.live import LiveJudge

    names = sorted(set(pool.sources))
    origin = f"{pool.folder} (sources: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"
    kind = LiveJudge if backend == "openai" else BatchJudge
    return kind(api, rubric, lookup, origin=origin)


def _recorded(path: Path, rubric: Rubric, pool: Pool) -> RecordedJudge:
    judge = RecordedJudge(path, rubric, pool.ids, pool.index["orig_id"].to_pylist())
    if judge.recorded > len(judge.ratings):
        unknown = judge.recorded - len(judge.ratings)
        logging.warning(
            "%s: %d of its %d ratings are of samples that are not in the pool", path, unknown, judge.recorded
        )
    return judge


def _drawn(config: JudgeConfig, judge: Judge, pool: Pool) -> tuple[str, ...]:
    """The ids to judge, in the draw's order."""
    strata = cheap_signals(pool.n_images, pool.n_turns)
    order = draw_order(pool.ids, pool.sources, strata, seed=config.seed, settings=config.sampling)
    ids = list(pool.ids[order])
    if isinstance(judge, RecordedJudge):
        ids = [i for i in ids if i in judge.ratings]
    elif config.count is None and config.share is None and config.budget_usd is None:
        raise UserError("config.judge: set count, share or budget_usd to say how many samples are to be judged")
    wanted = len(ids)
    if config.count is not None:
        wanted = config.count
    elif config.share is not None:
        wanted = round(config.share * len(ids))
    elif config.budget_usd is not None:
        wanted = _affordable(config, judge, ids)
    if wanted > len(ids):
        logging.warning("judge: %d samples are wanted, there are %d", wanted, len(ids))
    return tuple(ids[:wanted])


def _affordable(config: JudgeConfig, judge: Judge, ids: Sequence[str]) -> int:
    """How many samples the budget is expected to pay for.

    Raises:
      UserError: not one.
    """
    assert config.budget_usd is not None
    estimate = judge.estimate([Request(i) for i in ids])
    assert estimate.usd is not None
    each = estimate.usd / max(1, len(ids)) * (config.votes + config.repeat_share)
    count = min(len(ids), int(config.budget_usd / each)) if each else len(ids)
    if not count:
        raise UserError(f"config.judge.budget_usd is {config.budget_usd}, and one sample costs about ${each:.4f}")
    return count
