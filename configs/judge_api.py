r"""Ratings of a pool by a judge model behind an API: the cost first, then the ratings and a report.

    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --stages=ingest \
        --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --stages=judge --dry_run \
        --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --config.pool.path=POOL.json

The second command sends no requests: it prints the tokens and dollars that the third would take, and which data would
leave this machine and where they would go. 1,000 samples with one image each and 100 repeats cost $7 to $9 with gpt-4o
(prices of August 2026: look them up again), half of that in batches, and take some minutes live, up to a day in
batches. The key is read from OPENAI_API_KEY, or from the variable that api_key_env names. After an interruption, a
refusal or a reached cap, the same command continues and requests only ratings that judge/ledger.jsonl does not hold; a
larger --config.judge.count with --overwrite=judge requests the further samples only.

The Batch API (half the price, answers within a day), and any other server with an OpenAI-compatible API (vLLM, SGLang,
Ollama; if it does not support strict schemas, the format falls back to JSON or plain text, and an invalid answer is
requested once more):

    python -m mmssr_jax.main --config=configs/judge_api.py:batch --workdir=runs/judged --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py:server --workdir=runs/judged --config.pool.path=POOL.json \
        --config.judge.api.base_url=http://localhost:8000/v1 --config.judge.api.model=Qwen/Qwen2.5-VL-72B-Instruct
"""

from typing import Any

from ml_collections import ConfigDict, config_dict


def pool() -> dict[str, Any]:
    """The pool; the same settings as in configs/llava.py."""
    return {
        "path": config_dict.placeholder(str),  # LLaVA JSON or JSONL, a mixture yaml, Parquet, WebDataset, TFDS
        "images": config_dict.placeholder(str),
        "id": "id",  # or "auto"
        "source": {
            "field": "source",
            "path_parts": config_dict.placeholder(int),
            "constant": config_dict.placeholder(str),
        },
        "repair": "strict",  # or "llava"
        "packed": False,
        "follow_links": False,
    }


def get_config(variant: str = "live") -> ConfigDict:
    """`variant`: "live", "batch", or "server" for another OpenAI-compatible server."""
    if variant not in ("live", "batch", "server"):
        raise ValueError(f"there is no variant {variant!r}; known are live, batch, server")
    c = ConfigDict()
    c.name = "ratings by an API judge"
    c.stages = ("ingest", "judge", "report")
    c.pool = pool()
    c.judge = {
        "backend": "openai_batch" if variant == "batch" else "openai",
        # Number of samples, stratified so that rare sources are covered: one of count, share, budget_usd.
        "count": 1000,
        "share": config_dict.placeholder(float),
        "budget_usd": config_dict.placeholder(float),
        "repeat_share": 0.1,  # rated once more, to measure the judge's reliability
        "votes": 1,
        "seed": 0,
        "ask": True,  # False with --overwrite=judge parses the ledger's answers again and sends no requests
        "ask_again": (),  # reasons of skipped samples to request again, such as "refusal"
    }
    c.judge.api = {
        # The paper's judge; its provider will retire it in January 2027.
        "model": "gpt-4o-2024-11-20",
        "name": config_dict.placeholder(str),
        "base_url": config_dict.placeholder(str),
        "api_key_env": config_dict.placeholder(str),
        "structured": "auto",
        "temperature": config_dict.placeholder(float),
        "seed": config_dict.placeholder(int),
        "reasoning_effort": config_dict.placeholder(str),
        "service_tier": config_dict.placeholder(str),
        "max_answer_tokens": 800,
        "prompt": {"detail": "high", "max_side": 1024, "max_images": 8, "max_chars": 40_000, "rationale": False},
        "limits": {
            "max_usd": 20.0 if variant != "server" else config_dict.placeholder(float),
            "max_requests": config_dict.placeholder(int),
            "requests_per_minute": config_dict.placeholder(float),
            "concurrency": 32,
            "timeout_s": 180.0,
        },
    }
    # Another rubric: c.judge.capabilities = {"humour": "jokes, irony, comics"}, c.judge.styles = ("yes/no", ...).
    # A second judge: c.judge.others = {"second": {"api": {"model": ...}, "share": 0.2}}; c.judge.combine = "mean" takes
    # the mean of both, otherwise only their agreement is measured. Votes of one judge are always averaged.
    if variant == "batch":
        c.judge.api.batch = {"poll_s": 60.0, "max_open": 8}
    if variant == "server":
        c.judge.api.model = config_dict.placeholder(str)  # the model's name at the server
        c.judge.api.base_url = "http://localhost:8000/v1"
        c.judge.api.answer_field = "max_tokens"  # the name of the answer limit on older servers
    return c
