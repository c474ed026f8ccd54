import json

import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.judge.backends.oracle import OracleConfig, OracleJudge
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.rubric import rubric_of
from mmssr_jax.synthetic.generate import SyntheticConfig, write_pool

STYLES = ("yes/no", "list", "essay")
RUBRIC = rubric_of({"counting": "", "ocr": ""}, STYLES)
N = 4000


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.parquet"
    ids = [f"s{i}" for i in range(N)]
    table = pa.table(
        {
            "id": ids,
            "counting": pa.array([i % 2 * 3 for i in range(N)], pa.int8()),
            "ocr": pa.array([5] * N, pa.int8()),
            "styles": [["list"] if i % 2 else ["yes/no", "list"] for i in range(N)],
            "flaw": [""] * N,
        }
    )
    files.write_parquet(path, table)
    return path


def rated(truth, settings, repeat=0):
    judge = OracleJudge(truth, RUBRIC, settings)
    return [judge.rate(Request(f"s{i}", repeat)) for i in range(N)]


def test_without_noise_it_is_the_truth(truth):
    exact = rated(truth, OracleConfig(off_by_one=0, false_trace=0, wrong_style=0))
    assert [j.scores for j in exact[:2]] == [(0, 5), (3, 5)]
    assert [j.styles for j in exact[:2]] == [("yes/no", "list"), ("list",)]


def test_noise_has_the_stated_size(truth):
    noisy = rated(truth, OracleConfig(off_by_one=0.2, false_trace=0.05, wrong_style=0.1))
    counting = np.array([j.scores[0] for j in noisy])
    zero, three = counting[::2], counting[1::2]
    assert set(zero) == {0, 1}
    assert set(three) == {2, 3, 4}
    # five standard deviations of a binomial of 2,000 draws
    assert abs(np.mean(zero == 1) - 0.05) < 0.025
    assert abs(np.mean(three != 3) - 0.2) < 0.045
    assert abs(np.mean(three == 2) - 0.1) < 0.034
    ocr = np.array([j.scores[1] for j in noisy])
    assert abs(np.mean(ocr == 4) - 0.1) < 0.024
    assert ocr.max() == 5
    styles = [j.styles for j in noisy]
    wrong = [s not in (("list",), ("yes/no", "list")) for s in styles]
    assert abs(np.mean(wrong) - 0.1) < 0.024
    assert all(len(set(s)) == len(s) for s in styles)


def test_noise_is_a_function_of_seed_id_and_repeat(truth):
    first = rated(truth, OracleConfig())
    assert first == rated(truth, OracleConfig())
    assert first != rated(truth, OracleConfig(seed=1))
    assert first != rated(truth, OracleConfig(), repeat=1)
    judge = OracleJudge(truth, RUBRIC, OracleConfig())
    assert judge.rate(Request("s17")) == first[17]


def test_answers_reach_the_ledger(truth, tmp_path):
    judge = OracleJudge(truth, RUBRIC, OracleConfig())
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        judge.judge([Request("s3")], ledger, Progress("", 1))
    (entry,) = read_ledger(tmp_path / "ledger.jsonl")
    assert json.loads(entry.raw) == judge.rate(Request("s3")).answer(RUBRIC)


def test_a_sample_that_is_not_synthetic(truth, tmp_path):
    judge = OracleJudge(truth, RUBRIC, OracleConfig())
    with Ledger(tmp_path / "l.jsonl") as ledger, pytest.raises(UserError, match="does not know nlvr-1"):
        judge.judge([Request("nlvr-1")], ledger, Progress("", 1))


def test_noise_must_be_a_probability():
    with pytest.raises(ValueError, match="off_by_one is 2"):
        OracleConfig(off_by_one=2)


def test_a_flipped_bit_of_the_truth_is_one_line(tmp_path):
    write_pool(tmp_path, SyntheticConfig(size=3))
    truth, rubric = tmp_path / "truth.parquet", rubric_of({SLUGS[0]: ""}, STYLES)
    OracleJudge(truth, rubric, OracleConfig())
    data = bytearray(truth.read_bytes())
    data[len(data) // 2] ^= 1
    truth.write_bytes(data)
    with pytest.raises(UserError, match=r"truth\.parquet: damaged, its content is not what was written; remake"):
        OracleJudge(truth, rubric, OracleConfig())


def test_another_rubric_is_another_judge(truth):
    orders = (("counting", "ocr"), ("ocr", "counting"))
    judges = [OracleJudge(truth, rubric_of(dict.fromkeys(o, ""), STYLES), OracleConfig()) for o in orders]
    judges.append(OracleJudge(truth, rubric_of(dict.fromkeys(orders[0], ""), STYLES[:2]), OracleConfig()))
    assert len({judge.prompt_hash for judge in judges}) == 3
