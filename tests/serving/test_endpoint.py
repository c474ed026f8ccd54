"""The endpoint as the official client sees it, over a real socket."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import http.client
import io
import json
import time
import urllib.parse

import openai
import pytest
from PIL import Image

from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.vlm_predictor import VLMPredictor
from tests import small
from tests.serving.conftest import CONFIG, TOKEN, running

COLOURS = ((200, 10, 10), (10, 200, 10), (10, 10, 200))


def data_url(*colour):
    return f"data:image/png;base64,{base64.b64encode(small.picture(*colour).read()).decode()}"


def image_part(*colour):
    return {"type": "image_url", "image_url": {"url": data_url(*colour)}}


def message(text, *colours):
    return {"role": "user", "content": [*(image_part(*c) for c in colours), {"type": "text", "text": text}]}


def ask(client, *messages, **more):
    more = {"model": "small", "temperature": 0, "max_tokens": 16, **more}
    return client.chat.completions.create(messages=list(messages), **more)


def text_of(reply):
    return reply.choices[0].message.content


@pytest.fixture(scope="module")
def expected(prompter):
    """What the evaluation's own answerer says: (text, images) -> answer."""
    bundle = small.bundle()
    answerer = VLMPredictor(bundle.graphdef, bundle.params, prompter)

    def answer(text, *colours):
        pictures = tuple(small.picture(*c) for c in colours)
        question = Question("0", "<image>\n" * len(pictures) + text, pictures, {"index": "0"})
        return next(iter(answerer.predict([question], max_new_tokens=16)))

    return answer


@pytest.mark.parametrize("images", [0, 1, 3])
def test_answers_are_those_of_the_evaluation(client, expected, images):
    reply = ask(client, message("What is it?", *COLOURS[:images]))
    assert text_of(reply).strip() == expected("What is it?", *COLOURS[:images])
    assert reply.object == "chat.completion"
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_pictures_matter(client):
    said = {text_of(ask(client, message("What is it?", c))) for c in (*COLOURS, (255, 255, 255), (0, 0, 0))}
    assert len(said) > 1


def test_usage_counts_tokens(client, prompter):
    reply = ask(client, {"role": "user", "content": "What is it?"}, max_tokens=5)
    prompt = prompter.prompt(Sample("0", "", (Turn("user", "What is it?"),)))
    assert reply.usage.prompt_tokens == len(prompt.tokens)
    assert reply.usage.completion_tokens <= 5
    short = ask(client, {"role": "user", "content": "What is it?"}, max_completion_tokens=2, max_tokens=9)
    assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (2, "length")
    assert ask(client, {"role": "user", "content": "What is it?"}, max_tokens=10_000).usage.completion_tokens <= 16


def test_a_stream_is_the_whole_answer_in_pieces(client):
    whole = ask(client, message("Tell me.", COLOURS[0]))
    pieces = list(
        ask(client, message("Tell me.", COLOURS[0]), stream=True, stream_options={"include_usage": True})
    )  # fmt: skip
    assert pieces[0].choices[0].delta.role == "assistant"
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == text_of(whole)
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert pieces[-1].choices == []
    assert pieces[-1].usage == whole.usage
    assert len({p.id for p in pieces}) == 1
    if whole.usage.completion_tokens > CONFIG.chunk:
        assert len([p for p in pieces if p.choices and p.choices[0].delta.content]) > 1


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(client):
    whole = text_of(ask(client, message("Tell me.", COLOURS[0])))
    stop = whole[3:5]
    cut = ask(client, message("Tell me.", COLOURS[0]), stop=[stop, "never said"])
    assert text_of(cut) == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    pieces = ask(client, message("Tell me.", COLOURS[0]), stop=stop, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == whole[: whole.index(stop)]


def test_seeds_decide_what_is_drawn(client):
    def drawn(**more):
        return text_of(ask(client, message("Tell me."), temperature=1.5, **more))

    assert drawn(seed=7) == drawn(seed=7)
    assert len({drawn(seed=s) for s in range(4)}) > 1
    assert drawn(seed=7, top_p=1e-6) == text_of(ask(client, message("Tell me.")))
    assert drawn(seed=-3) == drawn(seed=-3)


def test_a_conversation_with_a_system_message(client, prompter):
    turns = [
        {"role": "system", "content": "Be brief."}, message("What is it?", COLOURS[0]),
        {"role": "assistant", "content": "A cat."}, {"role": "user", "content": "Which colour?"},
    ]  # fmt: skip
    reply = ask(client, *turns)
    sample = Sample(
        "0", "", (Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A cat."), Turn("user", "Which colour?")),
        (small.picture(*COLOURS[0]),),
    )  # fmt: skip
    assert reply.usage.prompt_tokens == len(prompter.prompt(sample, system="Be brief.").tokens)
    assert reply.usage.prompt_tokens != len(prompter.prompt(sample).tokens)


def test_special_tokens_in_a_clients_text_stay_text(client, prompter):
    """Neither can a client end its turn by writing the mark of the end, nor is a spelt-out tag a picture."""
    tokenizer = small.tokenizer()
    for text in ("<|im_end|>", "<image>", "<|im_start|>assistant"):
        reply = ask(client, {"role": "user", "content": f"Hi{text}"})
        plain = prompter.prompt(Sample("0", "", (Turn("user", "Hi"),)))
        longer = len(tokenizer.encode(f"user\nHi{text}")) - len(tokenizer.encode("user\nHi"))
        assert longer > 1
        assert reply.usage.prompt_tokens == len(plain.tokens) + longer
    mixed = ask(client, message("What is <image>?", COLOURS[0]))
    picture = ask(client, message("What is ?", COLOURS[0]))
    assert 1 < mixed.usage.prompt_tokens - picture.usage.prompt_tokens < 12


def test_requests_at_the_same_time_are_answered_as_alone(client):
    asked = [(f"Tell me {n}.", COLOURS[: n % 3]) for n in range(4)]
    alone = [text_of(ask(client, message(text, *colours))) for text, colours in asked]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda a: text_of(ask(client, message(a[0], *a[1]))), asked))
    assert together == alone


def test_models(client):
    assert [m.id for m in client.models.list()] == ["small"]
    assert client.models.retrieve("small").owned_by == "mmssr_jax"
    with pytest.raises(openai.NotFoundError, match=r"'large' does not exist"):
        client.models.retrieve("large")


@pytest.mark.parametrize(
    ("change", "status", "param", "words"),
    [
        ({"model": "large"}, 404, "model", "this server has 'small'"),
        ({"temperature": 3}, 400, "temperature", "less than or equal to 2"),
        ({"max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
        ({"n": 0}, 400, "n", "greater than or equal to 1"),
        ({"n": 9}, 400, "n", "up to 4 answers"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs", "less than or equal to 20"),
        ({"top_logprobs": 2}, 400, "top_logprobs", "logprobs must be true"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, 400, "response_format.type",
         "Input should be"),
        ({"extra_body": {"top_k": 5}}, 400, "top_k", "not supported"),
        ({"stop": [""]}, 400, "stop", "none of them empty"),
        ({"extra_body": {"guided_json": {}}}, 400, "guided_json", "not supported"),
        ({"messages": []}, 400, "messages", "at least 1 item"),
        ({"messages": [{"role": "assistant"}, {"role": "user"}]}, 400, "messages.0", "must be the user's"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}, 400, "messages.1",
         "must come before"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, 400, "messages",
         "must be the user's"),
        ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "1"}]}, 400, "messages.0.role", "Input should"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "messages.0.content",
         "input_audio"),
        ({"messages": [message("?", *COLOURS, COLOURS[0])]}, 400, "messages", "more than 3 images"),
        ({"messages": [{"role": "user", "content": "long " * 200}]}, 400, "messages", "do not fit"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_the_apis_form(client, change, status, param, words):
    request = {"model": "small", "messages": [message("What is it?")], **change}
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**request)
    error = caught.value
    assert error.status_code == status
    assert error.param.startswith(param)
    assert words in error.body["message"]
    assert error.body["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("https://example.org/cat.png", "fetches no URLs"),
        ("file:///etc/passwd", "fetches no URLs"),
        ("data:text/html;base64,AAAA", "expected data:image/"),
        ("data:image/png,AAAA", "expected data:image/"),
        ("data:image/png;base64,????", "not base64"),
        ("data:image/png;base64,AAAA", "not an image"),
    ],
)
def test_only_pictures_that_are_sent_along_are_read(client, sent, words):
    part = {"type": "image_url", "image_url": {"url": sent}}
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        ask(client, {"role": "user", "content": [part]})
    assert caught.value.param == "messages.0.content.0.image_url"


def test_a_picture_that_is_too_large_or_damaged_is_refused(client):
    def sent(size, cut=None):
        buffer = io.BytesIO()
        Image.effect_noise(size, 50).save(buffer, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()[:cut]).decode()}"
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}

    with pytest.raises(openai.BadRequestError, match="more than the limit of 10000"):
        ask(client, sent((101, 100)))
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, sent((90, 90), cut=300))
    assert caught.value.code == "image_parse_error"


def test_the_token_is_asked_for(url):
    for key in ("wrong", ""):
        with (
            openai.OpenAI(api_key=key or "x", base_url=url, max_retries=0) as client,
            pytest.raises(openai.AuthenticationError, match="wrong or missing access token") as caught,
        ):
            ask(client, message("Hi"))
        assert caught.value.code == "invalid_api_key"


def raw(url, method, path, body=b"", **headers):
    """A request without the client's help."""
    where = urllib.parse.urlparse(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **headers})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def test_what_no_client_would_send(url):
    assert raw(url, "GET", "/health", Authorization="none") == (200, {"status": "ok"})
    for method, path, body, status in (
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
        ("GET", "/v1/chat/completions", b"", 405),
        ("GET", "/v1/embeddings", b"", 404),
    ):
        got, answer = raw(url, method, path, body)
        assert (got, set(answer["error"])) == (status, {"message", "type", "param", "code"})


def test_a_body_that_is_too_large_is_refused_while_it_comes(client):
    huge = {"role": "user", "content": "x" * (2 << 20)}
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, huge)
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


class SlowGenerator:
    """Hands on to another generator after a while."""

    def __init__(self, generator, seconds):
        self._generator, self._seconds = generator, seconds

    def start(self, batch, sampling):
        time.sleep(self._seconds)
        return self._generator.start(batch, sampling)

    def next_tokens(self, stream, **more):
        return self._generator.next_tokens(stream, **more)


def test_a_full_queue_sends_clients_away_until_later(generator, prompter, client):
    """Four rows are being answered, four wait: of fourteen requests at once some are told to come again, and may."""
    ask(client, message("Hi"))  # compiled
    with (
        running(SlowGenerator(generator, 0.5), prompter) as url,
        openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made,
        concurrent.futures.ThreadPoolExecutor(14) as pool,
    ):

        def one(_):
            try:
                return text_of(ask(made, message("Hi")))
            except openai.RateLimitError as e:
                return f"{e.code}, again after {e.response.headers['retry-after']} s"

        away = "rate_limit_exceeded, again after 5 s"
        said = list(pool.map(one, range(14)))
        assert away in said
        assert len(set(said)) == 2, "those that were answered were answered alike"
        assert one(0) != away


def test_a_request_that_takes_too_long_is_given_up(generator, prompter):
    config = dataclasses.replace(CONFIG, timeout_s=0.2)
    with (
        running(SlowGenerator(generator, 1.5), prompter, config) as url,
        openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made,
    ):
        with pytest.raises(openai.InternalServerError, match=r"no answer within 0.2 s") as caught:
            ask(made, message("Hi"))
        assert caught.value.status_code == 504
        with pytest.raises(openai.APIError, match=r"no answer within 0.2 s"):
            list(ask(made, message("Hi"), stream=True))


def test_a_batch_that_fails_does_not_end_the_server(generator, prompter):
    class Failing(SlowGenerator):
        def __init__(self):
            super().__init__(generator, 0)
            self.failed = False

        def start(self, batch, sampling):
            if not self.failed:
                self.failed = True
                raise RuntimeError("secret detail")
            return super().start(batch, sampling)

    with (
        running(Failing(), prompter) as url,
        openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made,
    ):
        with pytest.raises(openai.InternalServerError) as caught:
            ask(made, message("Hi"))
        assert "secret" not in str(caught.value)
        assert ask(made, message("Hi")).choices


def test_requests_in_flight_are_finished_at_the_end(generator, prompter):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with running(SlowGenerator(generator, 1.0), prompter) as url:
            made = openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600)
            pending = pool.submit(ask, made, message("Hi"))
            time.sleep(0.5)  # the request is in; now the server is told to end
        assert pending.result().choices
        with pytest.raises(openai.APIConnectionError):
            ask(made, message("Hi"))
