r"""A judge behind an API, alone on your own pool: what it would cost, then the ratings, then a page about them.

    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --stages=ingest \
        --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --stages=judge --dry_run \
        --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py --workdir=runs/judged --config.pool.path=POOL.json

The second command asks nobody: it prints the tokens and dollars that the third would take, and which data would leave
this machine and to whom. 1,000 samples with one picture each and 100 repeats cost $7 to $9 with gpt-4o (prices of
August 2026: look them up again), half of that in batches, and take some minutes live, up to a day in batches. The key
is read from OPENAI_API_KEY, or from the variable that api_key_env names. Interrupted, refused or capped runs go on with
the same command and ask only for what judge/ledger.jsonl does not hold; a larger --config.judge.count with
--overwrite=judge asks for the further samples only.

The Batch API (half the price, answers within a day), and any server of your own that speaks the API (vLLM, SGLang,
Ollama: where it knows no strict schema, plain JSON is asked for, checked, and asked for once more if it does not fit):

    python -m mmssr_jax.main --config=configs/judge_api.py:batch --workdir=runs/judged --config.pool.path=POOL.json
    python -m mmssr_jax.main --config=configs/judge_api.py:server --workdir=runs/judged --config.pool.path=POOL.json \
        --config.judge.api.base_url=http://localhost:8000/v1 --config.judge.api.model=Qwen/Qwen2.5-VL-72B-Instruct
"""

from typing import Any

from ml_collections import ConfigDict, config_dict


def pool() -> dict[str, Any]:
    """Your data; the same settings as in configs/llava.py."""
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
    """`variant`: "live", "batch", or "server" for an OpenAI-compatible server of your own."""
    if variant not in ("live", "batch", "server"):
        raise ValueError(f"there is no variant {variant!r}; known are live, batch, server")
    c = ConfigDict()
    c.name = "ratings by an API judge"
    c.stages = ("ingest", "judge", "report")
    c.pool = pool()
    c.judge = {
        "backend": "openai_batch" if variant == "batch" else "openai",
        # How many samples, drawn so that rare sources are covered: one of count, share, budget_usd.
        "count": 1000,
        "share": config_dict.placeholder(float),
        "budget_usd": config_dict.placeholder(float),
        "repeat_share": 0.1,  # rated once more, to know how reliable the judge is
        "votes": 1,
        "seed": 0,
        "ask": True,  # False with --overwrite=judge reads the ledger's answers again and asks nobody
        "ask_again": (),  # reasons of skipped samples to ask for again, such as "refusal"
    }
    c.judge.api = {
        # The paper's judge. Its provider has announced its end for January 2027: the model is a setting.
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
    # A rubric of your own: c.judge.capabilities = {"humour": "jokes, irony, comics"}, c.judge.styles = ("yes/no", ...).
    # A second judge: c.judge.others = {"second": {"api": {"model": ...}, "share": 0.2}}; c.judge.combine = "mean" takes
    # the mean of both, otherwise it only tells how far they agree. Votes of one judge are always averaged.
    if variant == "batch":
        c.judge.api.batch = {"poll_s": 60.0, "max_open": 8}
    if variant == "server":
        c.judge.api.model = config_dict.placeholder(str)  # as the server names it
        c.judge.api.base_url = "http://localhost:8000/v1"
        c.judge.api.answer_field = "max_tokens"  # what older servers call the room for an answer
    return c
