"""The stage as a process: it listens, answers, and ends at SIGTERM with what is in flight answered."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import openai
import pytest

pytestmark = pytest.mark.slow


def test_the_stage_serves_until_sigterm(repo, tmp_path):
    command = [
        sys.executable, "-m", "mmssr_jax.main", "--config=configs/serve.py", f"--workdir={tmp_path}",
        "--config.serve.port=0", "--config.serve.token_env=MMSSR_TEST_TOKEN", "--config.serve.prompts.rows=2",
    ]  # fmt: skip
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "MMSSR_TEST_TOKEN": "s3cret"}
    process = subprocess.Popen(command, cwd=repo, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        log = ""
        while (found := re.search(r"serving 'base' at (http://127\.0\.0\.1:\d+/v1)", log)) is None:
            line = process.stderr.readline()
            assert line, f"it ended: {log}"
            log += line
        with openai.OpenAI(api_key="s3cret", base_url=found[1], max_retries=0, timeout=300) as client:
            assert [m.id for m in client.models.list()] == ["base"]
            messages = [{"role": "user", "content": "Tell me everything you see."}]
            pieces = client.chat.completions.create(
                model="base", messages=messages, temperature=1.5, seed=1, stream=True
            )  # fmt: skip
            next(pieces)
            process.send_signal(signal.SIGTERM)
            assert list(pieces)[-1].choices[0].finish_reason in ("stop", "length")
        log += process.communicate(timeout=60)[1]
        assert process.returncode == 0, log
        assert "the server has stopped" in log
        assert "s3cret" not in log
    finally:
        process.kill()
