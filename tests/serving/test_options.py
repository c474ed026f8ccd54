"""What a request may ask for besides an answer, as the official client asks for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import itertools
import json
import logging
import math
import time

import httpx2
import jax
import numpy as np
import openai
import pytest

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.models import module_params
from mmssr_jax.serving import server
from mmssr_jax.serving.engine import Engine
from tests import small
from tests.serving.conftest import CONFIG, TOKEN, running
from tests.serving.test_endpoint import COLOURS, SlowGenerator, ask, message, text_of


def model_logprobs(prompter, text: str, answer: list[int]) -> np.ndarray:
    """float32 [T, V]: the model's log-probabilities in the place of each token of an answer, in one forward pass."""
    bundle = small.bundle()
    model = module_params.merge(bundle.graphdef, bundle.params)
    prompt = prompter.prompt(Sample("0", "", (Turn("user", text),)))
    start, end = len(prompt.tokens), len(prompt.tokens) + len(answer)
    tokens = np.zeros((1, start + CONFIG.max_tokens), np.int32)  # of one length, so that all are compiled for once
    tokens[0, :end] = [*prompt.tokens, *answer]
    none, positions = np.full(tokens.shape, -1, np.int32), np.arange(tokens.shape[1])[None]
    hidden = model(tokens, None, none, positions, np.full(tokens.shape, tokens.shape[1], np.int32))
    return np.asarray(jax.nn.log_softmax(model.logits(hidden[0, start - 1 : end - 1])))


def test_logprobs(client, prompter):
    """They are the model's, whatever is sampled; a token's text, bytes and the likeliest tokens are told."""
    reply = ask(client, message("Tell me."), logprobs=True, top_logprobs=3, temperature=1.0, seed=5)
    entries = reply.choices[0].logprobs.content
    assert len(entries) == reply.usage.completion_tokens
    place = 0
    for token in (e.token for e in entries if e.bytes is not None):
        place = text_of(reply).index(token, place) + len(token)
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert [t.logprob for t in entry.top_logprobs] == sorted((t.logprob for t in entry.top_logprobs), reverse=True)
        assert entry.logprob <= entry.top_logprobs[0].logprob + 1e-6
        assert entry.bytes is None or bytes(entry.bytes).decode() == entry.token
    greedy = ask(client, message("Tell me."), logprobs=True)
    content = greedy.choices[0].logprobs.content
    assert [e.top_logprobs for e in content] == [[] for _ in content]
    assert text_of(greedy) == text_of(ask(client, message("Tell me.")))
    assert ask(client, message("Tell me.")).choices[0].logprobs is None


def test_logprobs_are_those_of_a_forward_pass(client, prompter):
    tokenizer, told = small.tokenizer(), 0
    for seed in range(6):
        sampling = {"temperature": 1.0, "seed": seed, "logprobs": True, "top_logprobs": 20}
        entries = ask(client, {"role": "user", "content": "Tell me."}, **sampling).choices[0].logprobs.content
        entries = list(itertools.takewhile(lambda e: e.bytes is not None, entries))  # no parts of characters
        ids = [tokenizer.encode(e.token)[0] for e in entries]
        expected = model_logprobs(prompter, "Tell me.", ids) if ids else []
        for row, entry, token in zip(expected, entries, ids, strict=True):
            assert entry.logprob == pytest.approx(row[token], abs=1e-4)
            np.testing.assert_allclose([t.logprob for t in entry.top_logprobs], np.sort(row)[::-1][:20], atol=1e-4)
        told += len(ids)
    assert told > 10


def test_logprobs_in_a_stream_are_those_of_the_whole(client):
    settings = {"logprobs": True, "top_logprobs": 2}
    whole = ask(client, message("Tell me.", COLOURS[0]), **settings).choices[0].logprobs.content
    pieces = ask(client, message("Tell me.", COLOURS[0]), stream=True, **settings)
    told = [e for p in pieces if p.choices and p.choices[0].logprobs for e in p.choices[0].logprobs.content]
    assert [e.token for e in told] == [e.token for e in whole]
    assert [e.logprob for e in told] == pytest.approx([e.logprob for e in whole], abs=1e-6)


def test_tokens_of_a_stop_text_have_no_logprobs(client):
    whole = ask(client, message("Tell me.", COLOURS[0]))
    stop = text_of(whole)[3:5]
    cut = ask(client, message("Tell me.", COLOURS[0]), stop=stop, logprobs=True)
    entries = cut.choices[0].logprobs.content
    assert len(entries) < cut.usage.completion_tokens
    assert len("".join(e.token for e in entries)) <= len(text_of(cut))


def test_several_answers(client):
    reply = ask(client, message("Tell me."), n=3, temperature=1.5, seed=7)
    assert [c.index for c in reply.choices] == [0, 1, 2]
    texts = [c.message.content for c in reply.choices]
    assert len(set(texts)) > 1
    assert texts == [c.message.content for c in ask(client, message("Tell me."), n=3, temperature=1.5, seed=7).choices]
    alone = ask(client, message("Tell me."), temperature=1.5, seed=7)
    assert texts[0] == text_of(alone)
    assert reply.usage.prompt_tokens == alone.usage.prompt_tokens
    assert reply.usage.completion_tokens > alone.usage.completion_tokens
    greedy = ask(client, message("Tell me."), n=2)
    assert len({c.message.content for c in greedy.choices}) == 1


def test_several_answers_in_a_stream(client):
    whole = ask(client, message("Tell me."), n=3, temperature=1.5, seed=7)
    texts, ended = ["", "", ""], []
    for piece in ask(client, message("Tell me."), n=3, temperature=1.5, seed=7, stream=True):
        for choice in piece.choices:
            texts[choice.index] += choice.delta.content or ""
            ended += [choice.index] if choice.finish_reason else []
    assert texts == [c.message.content for c in whole.choices]
    assert sorted(ended) == [0, 1, 2]


def test_answers_of_a_request_fill_the_queue(generator, prompter):
    """Four fit: with one of another shape in front of them, they do not, and are asked to come again."""
    with (
        running(SlowGenerator(generator, 1.0), prompter) as url,
        openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(ask, made, message("Tell me.", COLOURS[0]))
        time.sleep(0.4)  # it is being answered
        second = pool.submit(ask, made, message("Tell me."))
        time.sleep(0.2)  # it waits
        with pytest.raises(openai.RateLimitError):
            ask(made, message("Tell me."), n=4)
        assert first.result().choices
        assert second.result().choices


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1.5, "seed": 3}, {"max_tokens": 2}, {"n": 2}])
def test_a_json_object(client, settings):
    """The small model has never seen JSON; the answer is an object all the same, complete within its length."""
    reply = ask(client, message("Tell me.", COLOURS[0]), response_format={"type": "json_object"}, **settings)
    for choice in reply.choices:
        assert isinstance(json.loads(choice.message.content), dict)
        assert choice.finish_reason == "stop"
    assert reply.usage.completion_tokens <= 16 * len(reply.choices)


def test_a_json_object_in_a_stream_with_logprobs(client):
    settings = {"response_format": {"type": "json_object"}, "logprobs": True, "top_logprobs": 2}
    pieces = list(ask(client, message("Tell me."), stream=True, **settings))
    text = "".join(p.choices[0].delta.content or "" for p in pieces)
    assert isinstance(json.loads(text), dict)
    told = [e for p in pieces if p.choices[0].logprobs for e in p.choices[0].logprobs.content]
    assert "".join(e.token for e in told) == text
    assert all(math.isfinite(e.logprob) for e in told)
    plain = ask(client, message("Tell me."), response_format={"type": "text"})
    assert text_of(plain) == text_of(ask(client, message("Tell me.")))


@pytest.mark.parametrize("neutral", [{"top_k": -1}, {"top_k": 0}, {"min_p": 0}, {"repetition_penalty": 1.0}])
def test_settings_of_other_servers_that_switch_nothing_on(client, neutral):
    assert text_of(ask(client, message("Tell me."), extra_body=neutral)) == text_of(ask(client, message("Tell me.")))


def test_consecutive_messages_of_the_user_are_turns_of_their_own(client, prompter):
    """As in the chat templates of transformers."""
    reply = ask(client, message("Look.", COLOURS[0]), {"role": "user", "content": "What is it?"})
    turns = (Turn("user", "<image>\nLook."), Turn("user", "What is it?"))
    sample = Sample("0", "", turns, (small.picture(*COLOURS[0]),))
    assert reply.usage.prompt_tokens == len(prompter.prompt(sample).tokens)
    sent = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert ask(client, *sent, {"role": "assistant", "content": "c"}, {"role": "user", "content": "d"}).choices


def test_pages_of_other_origins(generator, prompter, url):
    """Only with `cors`, and only those named, may pages in a browser send requests; the token is needed as before."""
    asks = {"Origin": "http://page", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang"}  # fmt: skip
    assert "access-control-allow-origin" not in httpx2.options(f"{url}/chat/completions", headers=asks).headers
    with running(generator, prompter, dataclasses.replace(CONFIG, cors=("http://page",))) as address:
        allowed = httpx2.options(f"{address}/chat/completions", headers=asks)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "http://page"
        assert "POST" in allowed.headers["access-control-allow-methods"]
        other = httpx2.options(f"{address}/chat/completions", headers={**asks, "Origin": "http://other"})
        assert "access-control-allow-origin" not in other.headers
        models = httpx2.get(f"{address}/models", headers={"Origin": "http://page", "Authorization": f"Bearer {TOKEN}"})
        assert models.headers["access-control-allow-origin"] == "http://page"
        assert httpx2.get(f"{address}/models", headers={"Origin": "http://page"}).status_code == 401


class CountingGenerator:
    """Notes the shapes that it is started with."""

    def __init__(self, generator):
        self._generator, self.shapes = generator, []

    def start(self, batch, sampling):
        self.shapes.append((batch.tokens.shape[1], 0 if batch.pixels is None else len(batch.pixels)))
        return self._generator.start(batch, sampling)

    def next_tokens(self, stream, **more):
        return self._generator.next_tokens(stream, **more)


def test_common_shapes_are_compiled_before_the_first_request(generator, prompter, caplog):
    """Without and with an image, at the two shortest lengths; what is too large for the config is skipped, and said."""
    caplog.set_level(logging.INFO, logger="absl")
    config = dataclasses.replace(
        CONFIG, prompts=dataclasses.replace(CONFIG.prompts, max_pixels=10**6), warm_up_images=(0, 1, 9)
    )
    roomy = type(prompter)(prompter.processor, config.prompts)
    counting = CountingGenerator(generator)
    with Engine(counting, roomy, wait_s=0, queue=4) as engine:
        asyncio.run(server.warm_up(engine, config))
    assert sorted(counting.shapes) == [(64, 0), (64, 12), (128, 0), (128, 12)]
    assert "compiled for 4 shapes of prompts" in caplog.text
    assert "no warm-up for 9 images" in caplog.text
