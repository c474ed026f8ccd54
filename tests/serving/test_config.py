"""What can be set, and what would be a mistake."""

from __future__ import annotations

import socket

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.serving import server
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.stages import serve


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, r"open to other machines: set token_env"),
        ({"token_env": "sk-1234"}, r"must be the name of an environment variable, not the token itself"),
        ({"max_tokens": 10, "chunk": 4}, r"chunk=4 does not divide max_tokens=10"),
        ({"queue": 0}, r"at least 1"),
        ({"port": 70_000}, r"expected 0-65535"),
        ({"timeout_s": -1}, r"negative"),
        ({"warm_up_images": (0, -1)}, r"warm_up_images: \(0, -1\) must not be negative"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words):
        ServeConfig(**settings)


def context(tmp_path, **section):
    return StageContext({"serve": section, "base": "base_tiny"}, Workdir(tmp_path), dry_run=True)


def test_the_token_must_be_there(tmp_path, monkeypatch, caplog):
    ctx = context(tmp_path, token_env="MMSSR_TEST_TOKEN", host="0.0.0.0")
    monkeypatch.delenv("MMSSR_TEST_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"variable MMSSR_TEST_TOKEN is not set"):
        serve.run(ctx)
    monkeypatch.setenv("MMSSR_TEST_TOKEN", "s3cret")
    caplog.set_level("INFO")
    serve.run(ctx)
    assert "would serve" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_model_that_is_not_there_and_an_extra_that_is_not_installed(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"model 'absent'"):
        serve.run(context(tmp_path, model="absent"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'mmssr_jax\[serve\]'"):
        serve.run(context(tmp_path))


def test_an_address_that_is_taken():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UserError, match=r"cannot listen on 127.0.0.1 port \d+ \(.*in use"),
    ):
        server.listen(ServeConfig(port=taken.getsockname()[1]))
