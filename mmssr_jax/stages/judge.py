"""The judge stage: draws samples from the pool, has them rated, keeps every answer in the ledger.

`judge/ledger.jsonl` outlives --overwrite=judge: a remade stage asks only for ratings that the ledger does not hold.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import CLAIM, MANIFEST, Artifact, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.judge.api.retry import TRANSIENT
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.config import JudgeConfig
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.parse_answer import JudgeRatings, judgment_table
from mmssr_jax.judge.plan import plan_rounds
from mmssr_jax.judge.rounds import Round, read_results, run_rounds, summary
from mmssr_jax.judge.rubric import rubric_of
from mmssr_jax.pool.pool import open_pool

if TYPE_CHECKING:  # model code is loaded for local judges only
    from mmssr_jax.judge.backends.local import LocalSource

LEDGER = "ledger.jsonl"
JUDGMENTS = "judgments.parquet"
SKIPPED = "rejects.jsonl"
RESULTS = "judge"


def run(ctx: StageContext) -> None:
    """Judges; see the module."""
    config = ctx.section("judge", JudgeConfig)
    if ctx.dry_run and not (ctx.workdir.pool / MANIFEST).exists():
        logging.info("judge: there is no pool yet; run the ingest stage to see what would be asked")
        return
    rubric = rubric_of(config.capabilities, config.styles)
    pool = open_pool(ctx.workdir.pool)
    truth = ctx.workdir.truth
    rounds = plan_rounds(config, rubric, pool, truth, lambda name: _model_of(ctx, name))
    if ctx.dry_run:
        _describe(rounds, ctx.workdir.judge / LEDGER, config)
        _say_what_would_leave(rounds, ctx.workdir.judge / LEDGER)
        return
    for one in rounds if config.ask else ():
        one.judge.check()
    artifact = _claim(ctx, config, rounds)
    if artifact.done:
        return
    estimates = _describe(rounds, artifact.path / LEDGER, config)
    if config.ask:
        with Ledger(artifact.path / LEDGER, ask_again=(*TRANSIENT, *config.ask_again)) as ledger:
            run_rounds(rounds, ledger)
    sources = dict(zip(pool.ids, pool.sources, strict=True))
    outcome = read_results(artifact.path / LEDGER, rounds, rubric, sources=sources)
    if not outcome.rows:
        raise UserError(f"judge: none of the {len(outcome.skipped)} samples was rated; see {artifact.path / LEDGER}")
    files.write_parquet(artifact.path / JUDGMENTS, judgment_table(outcome.rows, rubric))
    files.write_jsonl(
        artifact.path / SKIPPED,
        [{"id": i, "source": sources[i], "reason": r, "detail": ""} for i, r in outcome.skipped],
    )
    _compare(estimates, outcome.ratings)
    result = summary(rounds, outcome, rubric, estimates=estimates, pool_sizes=dict(collections.Counter(pool.sources)))
    files.write_json(ctx.workdir.results(RESULTS), result)
    artifact.seal(
        {"judged": len(outcome.rows), "skipped": len(outcome.skipped), "ratings": len(outcome.ratings.judgments)}
    )


def _model_of(ctx: StageContext, name: str) -> LocalSource:
    """The local judge's model: "base", a run of this workdir or a folder; read at its first request."""
    from mmssr_jax.judge.backends.local import LocalModel, LocalSource

    folder = model_folder(ctx, name)

    def load() -> LocalModel:
        from mmssr_jax.training.bundle import load_bundle

        bundle = load_bundle(folder, compute="model")
        return LocalModel(bundle.config, bundle.tokenizer, bundle.graphdef, bundle.params)

    return LocalSource(model_digest(folder), load)


def _describe(rounds: Sequence[Round], ledger: Path, config: JudgeConfig) -> list[Estimate]:
    """Logs what all rounds take, what that is expected to cost, and how much of it was asked before."""
    held = {e.key for e in read_ledger(ledger) if e.settled}
    estimates = [one.judge.estimate(one.missing(set())) for one in rounds]
    for one, estimate in zip(rounds, estimates, strict=True):
        logging.info(
            "judge: %s round, %d ratings by %s, %d of them in the ledger; tokens of all: %d text, %d image, %d answer; "
            "cost: %s",
            one.kind, len(one.ids), one.judge.name, len(one.ids) - len(one.missing(held)), estimate.text_tokens,
            estimate.image_tokens, estimate.output_tokens, _price(estimate),
        )  # fmt: skip
    cap = config.api.limits.max_usd if config.api is not None else None
    expected = sum(e.usd or 0.0 for e in estimates)
    if cap is not None and expected > cap:
        logging.warning(
            "judge: about $%.2f in all is expected and config.judge.api.limits.max_usd is %s: the run will stop there, "
            "keep what is paid for, and go on where the cap is raised", expected, cap,
        )  # fmt: skip
    return estimates


def _say_what_would_leave(rounds: Sequence[Round], ledger: Path) -> None:
    """Logs, once for each receiver, the warning that a run gives before its first request."""
    held = {e.key for e in read_ledger(ledger) if e.settled}
    missing: dict[int, tuple[Round, list[Request]]] = {}
    for one in rounds:
        missing.setdefault(id(one.judge), (one, []))[1].extend(one.missing(held))
    for one, requests in missing.values():
        notice = one.judge.estimate(list({r.id: r for r in requests}.values())).notice
        if requests and notice:
            logging.warning("a run would begin with this warning: %s", notice)


def _price(estimate: Estimate) -> str:
    if estimate.usd is None:
        return "unknown, the model has no price (api.prices)"
    looked_up = f" (prices of {estimate.prices_date})" if estimate.prices_date else ""
    return f"about ${estimate.usd:.2f}{looked_up}"


def _compare(estimates: Sequence[Estimate], ratings: JudgeRatings) -> None:
    """Logs what was expected beside what the ledger holds."""
    prompt = sum(e.text_tokens + e.image_tokens for e in estimates)
    answer = sum(e.output_tokens for e in estimates)
    used = ratings.usage.get("prompt_tokens", 0)
    answered = ratings.usage.get("completion_tokens", 0)
    if not prompt or not used:
        return
    logging.info(
        "judge: prompt tokens: %d estimated, %d in the ledger (x %.2f); answer tokens: %d, %d (x %.2f); $%.2f, $%.2f",
        prompt, used, used / prompt, answer, answered, answered / answer,
        sum(e.usd or 0.0 for e in estimates), ratings.cost,
    )  # fmt: skip


def _claim(ctx: StageContext, config: JudgeConfig, rounds: Sequence[Round]) -> Artifact:
    """Claims the folder; --overwrite=judge drops what was made, but never the ledger."""
    folder = ctx.workdir.judge
    if "judge" in ctx.overwrite:
        for name in (MANIFEST, CLAIM, JUDGMENTS, SKIPPED):
            (folder / name).unlink(missing_ok=True)
    inputs = {"pool": input_digest(ctx.workdir.pool)}
    for name in ("recorded", "recorded_repeat"):
        if getattr(config, name) is not None:
            inputs[name] = input_digest(Path(getattr(config, name)))
    kept = dataclasses.replace(ctx, overwrite=ctx.overwrite - {"judge"})
    return kept.claim(
        folder, stage="judge", settings=_content(config, rounds), inputs=inputs, keeps=("*.jsonl", JUDGMENTS)
    )


def _content(config: JudgeConfig, rounds: Sequence[Round]) -> dict[str, Any]:
    """The settings that the judgments depend on; paths are left out, the content of the files counts."""
    return {
        "backend": config.backend,
        "count": config.count,
        "share": config.share,
        "budget_usd": config.budget_usd,
        "seed": config.seed,
        "sampling": config.sampling,
        "repeat_share": config.repeat_share,
        "votes": config.votes,
        "combine": config.combine,
        "ask_again": config.ask_again,
        "capabilities": config.capabilities,
        "styles": config.styles,
        "judges": {
            f"{i} {r.kind}": {"name": r.judge.name, "prompt_hash": r.judge.prompt_hash} for i, r in enumerate(rounds)
        },
    }
