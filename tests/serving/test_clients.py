"""Both of OpenAI's clients, sync and async, against the endpoint: models and chat, at once and streamed."""

from __future__ import annotations

import asyncio

import openai

from tests.serving.conftest import TOKEN
from tests.serving.test_endpoint import COLOURS, ask, message, text_of

REQUEST = {"model": "small", "temperature": 0, "max_tokens": 8}


def test_the_async_client_gets_what_the_sync_one_gets(url, client):
    async def everything() -> tuple[list[str], str, str, list[str], str]:
        async with openai.AsyncOpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made:
            names = [m.id async for m in await made.models.list()]
            name = (await made.models.retrieve("small")).id
            messages = [message("Tell me.", COLOURS[0])]
            stream = await made.chat.completions.create(messages=messages, stream=True, **REQUEST)
            streamed = "".join([p.choices[0].delta.content or "" async for p in stream if p.choices])
            several = await asyncio.gather(
                *(made.chat.completions.create(messages=[message("Tell me.", c)], **REQUEST) for c in COLOURS)
            )
            try:
                await made.chat.completions.create(messages=messages, **{**REQUEST, "model": "large"})
            except openai.NotFoundError as e:
                error = str(e.code)
            return names, name, streamed, [text_of(reply) for reply in several], error

    names, name, streamed, texts, error = asyncio.run(everything())
    assert (names, name) == ([m.id for m in client.models.list()], client.models.retrieve("small").id)
    assert texts == [text_of(ask(client, message("Tell me.", c), max_tokens=8)) for c in COLOURS]
    assert streamed == texts[0]
    assert error == "model_not_found"
