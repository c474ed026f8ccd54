"""The stage as a process: it listens, answers, and ends at SIGTERM with what is in flight answered."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests import small
from tests.xla_flags import QUICK

pytestmark = pytest.mark.slow


def test_the_stage_serves_until_sigterm(repo, tmp_path):
    command = [
        sys.executable, "-m", "mmssr_jax.main", "--config=configs/serve.py", f"--workdir={tmp_path}",
        "--config.serve.port=0", "--config.serve.token_env=MMSSR_TEST_TOKEN", "--config.serve.prompts.rows=2",
    ]  # fmt: skip
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK, "MMSSR_TEST_TOKEN": "s3cret"}
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


MESH_CONFIG = """
from ml_collections import ConfigDict

def get_config():
    c = ConfigDict()
    c.stages = ("serve",)
    c.base = "base_tiny"
    c.mesh = MESH
    c.serve = {
        "port": 0, "max_tokens": 16, "chunk": 4, "warm_up": False,
        "prompts": {"rows": 4, "length_step": 128, "max_length": 512, "images": (0, 1)},
    }
    return c
"""


@contextlib.contextmanager
def served(repo: Path, folder: Path, mesh: dict[str, int], *, processes: int, devices: int) -> Iterator[openai.OpenAI]:
    """A client of a server over one or more processes, which has ended well afterwards."""
    config = folder / f"serve{processes}.py"
    config.write_text(MESH_CONFIG.replace("MESH", str(mesh)))
    group = ["launch/local.py", f"--processes={processes}", "--joined", "--"] if processes > 1 else []
    program = [] if processes > 1 else ["-m", "mmssr_jax.main"]
    command = [sys.executable, *program, *group, f"--config={config}", f"--workdir={folder / 'run'}"]
    flags = f"{QUICK} --xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    log = folder / f"serve{processes}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=repo, env=environment, stderr=out)
    try:
        end = time.monotonic() + 300
        while (found := re.search(r"serving 'base' at (http://127\.0\.0\.1:\d+/v1)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        with openai.OpenAI(api_key="none", base_url=found[1], max_retries=0, timeout=300) as client:
            yield client
        leader = process.pid
        if processes > 1:
            leader = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(leader, signal.SIGTERM)
        assert process.wait(timeout=120) == 0, log.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(client: openai.OpenAI) -> list[str | None]:
    """Greedy, sampled with a seed, several at once, with an image, and as JSON."""
    picture = base64.b64encode(small.picture(200, 10, 10).read()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    question = [{"role": "user", "content": "Tell me everything you see."}]
    seen = [{"role": "user", "content": [image, {"type": "text", "text": "What colour is it?"}]}]
    texts: list[str | None] = []
    for messages, settings in (
        (question, {"temperature": 0}),
        (question, {"temperature": 1.0, "seed": 3, "n": 2}),
        (seen, {"temperature": 0}),
        (seen, {"temperature": 0, "response_format": {"type": "json_object"}}),
    ):
        reply = client.chat.completions.create(model="base", messages=messages, **settings)
        texts += [choice.message.content for choice in reply.choices]
    return texts


def test_a_model_over_two_processes_answers_as_in_one(repo, tmp_path):
    with served(repo, tmp_path, {"data": 1}, processes=1, devices=1) as client:
        expected = answers(client)
    mesh = {"data": 1, "fsdp": 2, "tensor": 2}
    with served(repo, tmp_path, mesh, processes=2, devices=2) as client:
        assert answers(client) == expected
        time.sleep(12)  # longer than the main process stays silent
        assert answers(client) == expected
    assert any(expected)
