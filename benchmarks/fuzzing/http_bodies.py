"""The readers of HTTP bodies: a request to the server, and a judge's answer."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.judge.api.responses import classify_completion, token_usage
from mmssr_jax.serving.chat_requests import read_request

from .images import IMAGES
from .mutated_files import json_file
from .ratings import RUBRIC, answer
from .target import Files, Target


def _request(rng: random.Random) -> Files:
    url = "data:image/png;base64," + base64.b64encode(IMAGES[0]).decode()
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    value = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": content}],
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
    }
    return {"body.json": json_file(rng, value)}


def _read_request(folder: Path) -> object:
    body = (folder / "body.json").read_bytes()
    limits = {"max_tokens": 16, "max_chars": 20_000, "max_images": 4, "max_pixels": 10_000, "max_choices": 2}
    return read_request(body, model="m", **limits)


def _completion(rng: random.Random) -> Files:
    text = rng.choice(
        (json.dumps(answer(3)), "<think>{</think>" + json.dumps(answer(2)), '{"' * 2000, '{"a":' * 2000, "x" * 90_000)
    )
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}}
    return {"answer.json": json_file(rng, {"id": "c", "model": "m", "choices": [choice], "usage": usage})}


def _read_completion(folder: Path) -> object:
    outcome, payload = classify_completion((folder / "answer.json").read_bytes(), RUBRIC)
    return outcome, token_usage(payload)


TARGETS: Mapping[str, Target] = {
    "serve_request": Target(_request, _read_request),
    "judge_answer": Target(_completion, _read_completion),
}
