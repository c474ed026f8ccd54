"""The headers of an OpenAI client that talks to another server."""

from __future__ import annotations

import os
import urllib.parse
from typing import Any

import openai

from mmssr_jax.judge.api.config import ApiConfig


def client_headers(config: ApiConfig, key: str | None) -> dict[str, Any]:
    """The headers that keep what the environment holds for OpenAI from another server.

    The client adds OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS to every request, whatever the server.
    """
    host = urllib.parse.urlsplit(config.url).hostname or ""
    if host == "api.openai.com" or host.endswith(".api.openai.com"):
        return {}
    custom = [line.partition(":")[0].strip() for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")]
    names = ["OpenAI-Organization", "OpenAI-Project", *(n for n in custom if n and n.lower() != "authorization")]
    return {**dict.fromkeys(names, openai.omit), "Authorization": f"Bearer {key or 'none'}"}
