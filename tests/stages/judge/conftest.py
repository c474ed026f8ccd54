"""A small pool to judge, and a server that stands for a judge's API."""

import io
import json

import PIL.Image
import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import ingest, judge
from tests.judge.api_server import ApiServer, good
from tests.judge.batch_server import Batches

N = 40


def png():
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of 40 samples of two sources, with truth as the synthetic pool has it."""
    root = tmp_path_factory.mktemp("pool")
    (root / "a.png").write_bytes(png())
    records = [
        {
            "id": f"s{i:02d}",
            "source": "big" if i % 4 else "small",
            "image": "a.png",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is #{i}?"},
                {"from": "gpt", "value": "Red"},
            ],
        }
        for i in range(N)
    ]
    (root / "pool.json").write_text(json.dumps(records))
    return root


@pytest.fixture
def workdir(made, tmp_path):
    work = Workdir(tmp_path / "run")
    config = {"pool": {"path": str(made / "pool.json"), "source": {"field": "source"}}}
    ingest.run(StageContext(config, work))
    table = {"id": [f"s{i:02d}" for i in range(N)]}
    table |= {slug: pa.array([i % 6 for i in range(N)], pa.int8()) for slug in SLUGS}
    files.write_parquet(work.root / "synthetic" / "truth.parquet", pa.table(table | {"styles": [["yes/no"]] * N}))
    return work


def run(workdir, config, **kw):
    judge.run(StageContext({"judge": config}, workdir, **kw))


def recorded(path, ids, score=2):
    rows = [{"id": i, "scores": [score] * 14, "styles": ["yes/no"]} for i in ids]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def outputs(workdir):
    names = ("judgments.parquet", "rejects.jsonl", "manifest.json")
    return [(workdir.judge / n).read_bytes() for n in names] + [workdir.results("judge").read_bytes()]


KEY = "sk-stage-0123456789"


@pytest.fixture
def api(monkeypatch):
    """A server, and the config section for it."""
    monkeypatch.setenv("JUDGE_KEY", KEY)

    def start(script=good, **settings):
        server = ApiServer(script, batch=Batches(script))
        return server, {"model": "gpt-4o", "api_key_env": "JUDGE_KEY", **settings}

    return start


def asked(server, api, workdir, config, **kw):
    with server:
        run(workdir, {"backend": "openai", "api": {**api, "base_url": server.url}, **config}, **kw)
