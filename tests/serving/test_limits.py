"""What slow, silent and large clients can take from the others: nothing that lasts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import socket
import threading
import time
import urllib.parse
import urllib.request

import openai
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.serving import server
from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.chat_requests import read_request
from tests import small
from tests.serving.conftest import CONFIG, TOKEN, running
from tests.serving.test_endpoint import ask, message

HEADERS = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


def connect(url):
    where = urllib.parse.urlparse(url)
    return socket.create_connection((where.hostname, where.port), timeout=30)


def read(body, **more):
    settings = {
        "model": "small",
        "max_tokens": 16,
        "max_chars": 1000,
        "max_images": 3,
        "max_pixels": 10_000,
        "max_choices": 8,
        **more,
    }
    return read_request(body if isinstance(body, bytes) else json.dumps(body).encode(), **settings)


def chat(content, **more):
    return {"model": "small", "messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize(
    "body",
    [
        chat("a" * 1001),
        chat("中" * 1001),
        chat([{"type": "text", "text": "a" * 501}] * 2),
        chat("Hi", stop=["a" * 1001]),
        chat("Hi", metadata=[1] * 100_000),
        chat("Hi", metadata=["data:image"] * 100_000),
        b'{"model":"small","messages":[' + b"1," * 100_000 + b"1]}",
        b"[" * 100_000,
    ],
    ids=["text", "wide", "parts", "stop", "numbers", "empty images", "wrong messages", "nested"],
)
def test_too_much_text_is_refused(body):
    with pytest.raises(ApiError, match=r"longer than 1000 characters") as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_the_data_of_an_image_is_not_text():
    image = small.picture(1, 2, 3).read() + bytes(range(256)) * 4096  # what follows the end of a PNG is ignored
    padded = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    for escaped in (False, True):
        body = json.dumps(chat([{"type": "image_url", "image_url": {"url": padded}}]))
        request = read((body.replace("/", "\\/") if escaped else body).encode())
        assert len(request.sample.images) == 1
    assert read(chat("中" * 1000)).sample.turns[0].text == "中" * 1000


def video_of(*frames):
    return {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(frames)}}


def test_the_data_of_a_video_is_not_text():
    image = small.picture(1, 2, 3).read() + bytes(range(256)) * 4096
    request = read(chat([video_of(*[base64.b64encode(image).decode()] * 3), {"type": "text", "text": "What?"}]))
    assert len(request.sample.images) == 3
    assert request.sample.turns[0].text == "<image><image><image>\nWhat?"


def test_the_frames_of_a_video_are_counted_before_they_are_decoded():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,wrong"}}
    for content in ([video_of(*["wrong"] * 4)], [video_of("wrong", "wrong"), image, video_of("wrong")], [image] * 4):
        with pytest.raises(ApiError, match=r"^more than 3 images or frames of videos in one request$") as caught:
            read(chat(content))
        assert (caught.value.status, caught.value.code) == (400, "too_many_images")
    with pytest.raises(ApiError, match="not base64"):
        read(chat([video_of(*["wrong"] * 3)]))


def test_a_list_of_mistakes_is_one_error():
    with pytest.raises(ApiError) as caught:
        read(b'{"model":"small","messages":[' + b"1," * 30_000 + b"1]}")
    assert caught.value.param.startswith("messages.0")


def test_a_long_text_is_never_tokenised(generator, monkeypatch):
    """2 MB take the tokenizer seconds, and it holds the interpreter's lock meanwhile."""
    prompter = Prompter(small.processor(), CONFIG.prompts)
    lengths = []
    encode = prompter.tokenizer.encode
    monkeypatch.setattr(type(prompter.tokenizer), "encode", lambda _, text: lengths.append(len(text)) or encode(text))
    with running(generator, prompter, dataclasses.replace(CONFIG, max_body_mib=4)) as url:
        made = openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600)
        for length in (2 << 20, CONFIG.max_chars + 1):
            with pytest.raises(openai.BadRequestError, match="longer than 32768 characters"):
                ask(made, {"role": "user", "content": "a" * length})
    assert max(lengths, default=0) < 100


def test_bodies_that_never_end_shut_nobody_out_and_are_given_up(generator, prompter, client):
    ask(client, message("Hi"))  # compiled
    config = dataclasses.replace(CONFIG, body_timeout_s=5.0)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running(generator, prompter, config))
        slow = [stack.enter_context(connect(url)) for _ in range(3 * (config.queue + config.prompts.rows))]
        for connection in slow:
            connection.sendall(HEADERS + b"Content-Length: 1000\r\n\r\n{")
        time.sleep(0.3)
        made = openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600)
        assert ask(made, message("Hi")).choices
        for connection in slow:
            assert b" 408 " in connection.recv(1000)
            while connection.recv(1000):
                pass  # closed


def test_bodies_are_bounded_together(generator, prompter):
    """Eight bodies of almost 1 MiB that wait for their last byte: a ninth large one comes later, a small one now."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running(generator, prompter, dataclasses.replace(CONFIG, body_timeout_s=20.0)))
        size = (1 << 20) - 5000
        head = HEADERS + f"Content-Length: {size + 1}\r\n\r\n".encode()
        for _ in range(8):
            stack.enter_context(connect(url)).sendall(head + b" " * size)
        time.sleep(1.0)
        ninth = stack.enter_context(connect(url))
        ninth.sendall(head + b" " * size)
        assert b" 429 " in ninth.recv(1000)
        made = openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600)
        assert ask(made, {"role": "user", "content": "Hi"}).choices


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost:"])
def test_a_connection_without_a_request_is_closed(generator, prompter, sent):
    config = dataclasses.replace(CONFIG, header_timeout_s=0.5)
    with running(generator, prompter, config) as url, connect(url) as connection:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in (sent[n : n + 1] for n in range(len(sent))):
                connection.sendall(byte)
                time.sleep(0.05)
            assert connection.recv(100) == b""
        assert time.monotonic() - begin < 10
        with urllib.request.urlopen(url.replace("/v1", "/health")) as reply:
            assert reply.status == 200


def test_a_refused_body_that_drips_on_is_cut_off(generator, prompter):
    """The 401 is sent at once; the rest of the body must not keep the connection."""
    config = dataclasses.replace(CONFIG, header_timeout_s=0.5)
    with running(generator, prompter, config) as url, connect(url) as connection:
        connection.sendall(HEADERS.replace(TOKEN.encode(), b"wrong") + b"Content-Length: 100000\r\n\r\n")
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begin < 20:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - begin < 20


def test_an_answer_that_nobody_reads_is_given_up():
    ended = threading.Event()

    async def endless(_):
        async def chunks():
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(chunks())

    app = Starlette(routes=[Route("/", endless)])
    config = dataclasses.replace(CONFIG, send_timeout_s=0.5)
    with server.listen(config) as bound:
        uvicorn_server = server.make_server(app, config)
        thread = threading.Thread(target=server.serve, args=(uvicorn_server, bound))
        thread.start()
        try:
            with connect(server.address(bound)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert ended.wait(20)
        finally:
            uvicorn_server.should_exit = True
            thread.join()
