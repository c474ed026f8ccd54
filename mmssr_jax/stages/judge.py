"""The judge stage: chooses samples from the pool, gets their ratings, keeps every answer in the ledger.

`judge/ledger.jsonl` survives --overwrite=judge: the stage then requests only ratings that the ledger does not hold.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, Artifact, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.judge.api.retry import ASKED_AGAIN
from mmssr_jax.judge.backend import JudgeContext
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.config import JudgeConfig, judge_config_class
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.parse_answer import JudgeRatings, judgment_table
from mmssr_jax.judge.plan import plan_rounds
from mmssr_jax.judge.rounds import Round, read_results, run_rounds, summary
from mmssr_jax.judge.rubric import rubric_of
from mmssr_jax.pool.pool import open_pool

if TYPE_CHECKING:  # model code is imported for local judges only
    from mmssr_jax.judge.local_model.judge import LocalModelLoader

LEDGER = "ledger.jsonl"
JUDGMENTS = "judgments.parquet"
SKIPPED = "rejects.jsonl"
RESULTS = "judge"


def run(ctx: StageContext) -> None:
    """Judges; see the module.

    Raises:
      UserError: the config or the pool is invalid, a judge cannot continue, or no sample was rated.
    """
    config = ctx.section("judge", judge_config_class())
    ctx.would("judge: would rate %s with the backend %s", _amount(config), config.backend)
    if ctx.dry_run and not (ctx.workdir.pool / MANIFEST).exists():
        logging.info("judge: there is no pool yet; run the ingest stage to see what would be requested")
        return
    rubric = rubric_of(config.capabilities, config.styles)
    pool = open_pool(ctx.workdir.pool)
    context = JudgeContext(rubric, pool, ctx.workdir.truth, lambda name: _find_model(ctx, name))
    rounds = plan_rounds(config, context)
    if ctx.dry_run:
        _log_estimates(rounds, ctx.workdir.judge / LEDGER)
        _log_egress_notices(rounds, ctx.workdir.judge / LEDGER)
        return
    if config.ask:
        for round_ in rounds:
            round_.judge.check()
    artifact = _claim(ctx, config, rounds)
    if artifact.done:
        return
    estimates = _log_estimates(rounds, artifact.path / LEDGER)
    if config.ask:
        with Ledger(artifact.path / LEDGER, ask_again=(*ASKED_AGAIN, *config.ask_again)) as ledger:
            run_rounds(rounds, ledger)
    sources = dict(zip(pool.ids, pool.sources, strict=True))
    results = read_results(artifact.path / LEDGER, rounds, rubric, sources=sources)
    if not results.rows:
        raise UserError(f"judge: none of the {len(results.skipped)} samples was rated; see {artifact.path / LEDGER}")
    files.write_parquet(artifact.path / JUDGMENTS, judgment_table(results.rows, rubric))
    files.write_jsonl(
        artifact.path / SKIPPED,
        [{"id": i, "source": sources[i], "reason": r, "detail": ""} for i, r in results.skipped],
    )
    _log_usage(estimates, results.ratings)
    result = summary(rounds, results, rubric, estimates=estimates, pool_sizes=dict(collections.Counter(pool.sources)))
    files.write_json(ctx.workdir.results(RESULTS), result)
    artifact.seal(
        {"judged": len(results.rows), "skipped": len(results.skipped), "ratings": len(results.ratings.judgments)}
    )


def _amount(config: JudgeConfig) -> str:
    """How many samples are rated, for the log."""
    if config.count is not None:
        return f"{config.count} samples"
    if config.share is not None:
        return f"{100 * config.share:g} % of the pool"
    return f"as many samples as ${config.budget_usd:g} pay for" if config.budget_usd is not None else "all samples"


def _find_model(ctx: StageContext, name: str) -> LocalModelLoader:
    """A local judge's model: "base", a run of this workdir or a folder; loaded at its first request."""
    from mmssr_jax.judge.local_model.judge import LocalModel, LocalModelLoader

    folder = model_folder(ctx, name)

    def load() -> LocalModel:
        from mmssr_jax.training.bundle import load_bundle

        bundle = load_bundle(folder, compute="model")
        return LocalModel(bundle.processor(), bundle.graphdef, bundle.params)

    return LocalModelLoader(model_digest(folder), load)


def _log_estimates(rounds: Sequence[Round], ledger: Path) -> list[Estimate]:
    """Logs size and expected cost of all rounds, and how much of them is in the ledger already."""
    settled = {e.key for e in read_ledger(ledger) if e.settled}
    estimates = [round_.judge.estimate(round_.missing(set())) for round_ in rounds]
    for round_, estimate in zip(rounds, estimates, strict=True):
        logging.info(
            "judge: %s round, %d ratings by %s, %d of them in the ledger; tokens of all: %d text, %d image, %d answer; "
            "cost: %s",
            round_.kind, len(round_.ids), round_.judge.name, len(round_.ids) - len(round_.missing(settled)),
            estimate.text_tokens, estimate.image_tokens, estimate.output_tokens, _price(estimate),
        )  # fmt: skip
    cap = next((e.max_usd for e in estimates if e.max_usd is not None), None)
    expected = sum(e.usd or 0.0 for e in estimates)
    if cap is not None and expected > cap:
        logging.warning(
            "judge: the expected cost is $%.2f and config.judge.api.limits.max_usd is %s: the run will stop at the "
            "cap; its answers are kept, and it continues when the cap is raised", expected, cap,
        )  # fmt: skip
    return estimates


def _log_egress_notices(rounds: Sequence[Round], ledger: Path) -> None:
    """Logs the notice that a run gives before its first request, once per judge."""
    settled = {e.key for e in read_ledger(ledger) if e.settled}
    missing: dict[int, tuple[Round, list[Request]]] = {}
    for round_ in rounds:
        missing.setdefault(id(round_.judge), (round_, []))[1].extend(round_.missing(settled))
    for round_, requests in missing.values():
        notice = round_.judge.estimate(list({r.id: r for r in requests}.values())).notice
        if requests and notice:
            logging.warning("a run would begin with this warning: %s", notice)


def _price(estimate: Estimate) -> str:
    if estimate.usd is None:
        return "unknown, the model has no price (api.prices)"
    looked_up = f" (prices of {estimate.prices_date})" if estimate.prices_date else ""
    return f"about ${estimate.usd:.2f}{looked_up}"


def _log_usage(estimates: Sequence[Estimate], ratings: JudgeRatings) -> None:
    """Logs the expected and the actual token counts and cost."""
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
    """Claims the folder; --overwrite=judge deletes the outputs, but never the ledger."""
    inputs = {"pool": input_digest(ctx.workdir.pool)}
    inputs |= {name: input_digest(path) for name, path in config.load().input_files(config.settings()).items()}
    return ctx.claim(
        ctx.workdir.judge,
        stage="judge",
        settings=_content(config, rounds),
        inputs=inputs,
        keeps=("*.jsonl", JUDGMENTS),
        outputs=(JUDGMENTS, SKIPPED),
    )


def _content(config: JudgeConfig, rounds: Sequence[Round]) -> dict[str, Any]:
    """The settings that the judgments depend on; of files, only their content counts (see `Backend.input_files`)."""
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
