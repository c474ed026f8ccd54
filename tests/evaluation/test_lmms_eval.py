"""Against lmms-eval's own functions on 1,000 generated predictions: equal where the rule is, differences by their cause.

    pip install lmms-eval        (large: torch, transformers, decord …; not among this project's extras)

| benchmark | agreement | where they differ |
| --- | --- | --- |
| VQAv2, VizWiz | every prediction | - |
| GQA | where no punctuation but a final period is involved | lmms-eval drops all punctuation of both texts |
| MMBench-CN | where a letter stands alone | lmms-eval's static rule reads letters out of longer answers, or next to Chinese signs |
| LLaVA-W | replies of two numbers and one separator | lmms-eval takes the first two numbers of any first line |
"""  # noqa: E501 - a table

from __future__ import annotations

import importlib.util
import string
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.evaluation import prompt_kits
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.benchmarks import gqa, llava_w, multiple_choice, vizwiz, vqav2

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed: pip install lmms-eval")

COUNT = 1000
WORDS = [
    "yes", "no", "Yes", "NO", "two", "2", "three", "none", "dont", "don't", "couldntve", "it's", "girl's", "a", "the",
    "An", "red", "blue", "t-shirt", "black/white", "3.", "3.5", "1,000", "unanswerable", "unsuitable", "image", "net",
    "nets", "hot-dog", "St.", "10:30", "what?", "left,", "right", "(dog)", "ten", "'twas", "lets",
]  # fmt: skip


def texts(seed: int, count: int = COUNT) -> list[str]:
    """Short answers of one to four words, some with a sign, a tab or a line break at an end."""
    rng = np.random.default_rng(seed)
    ends = ["", "", "", ".", "!", ",", "\n", "\t", " ", "?", ";"]
    return [" ".join(rng.choice(WORDS, rng.integers(1, 5))) + str(rng.choice(ends)) for _ in range(count)]


def ten_of(seed: int) -> list[list[str]]:
    """Ten annotators for each question, most of whom agree."""
    rng = np.random.default_rng(seed)
    kinds = [texts(seed + 1 + k) for k in range(3)]
    return [[kinds[k][n] for k in rng.choice(3, 10, p=[0.5, 0.3, 0.2])] for n in range(COUNT)]


def predictions_near(answers: list[list[str]], seed: int) -> list[str]:
    """Half of them are one of the annotators' answers, in another case or with a period."""
    rng, others = np.random.default_rng(seed), texts(seed)
    forms = [str, str.upper, str.capitalize, "{}.".format, "the {}".format]
    return [
        forms[rng.integers(len(forms))](given[rng.integers(10)]) if rng.random() < 0.5 else other
        for given, other in zip(answers, others, strict=True)
    ]


def test_vqav2():
    from lmms_eval.tasks.vqav2 import utils

    answers = ten_of(0)
    found = []
    for given, prediction in zip(answers, predictions_near(answers, 1), strict=True):
        doc = {"question_id": 0, "answers": [{"answer": a, "answer_id": k} for k, a in enumerate(given)]}
        theirs = utils.vqav2_process_results(doc, [prediction])["exact_match"]
        found.append((vqav2.hit(prediction, given), theirs))
    ours, theirs = zip(*found, strict=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert len(set(np.round(ours, 6))) > 3


def test_vizwiz():
    from lmms_eval.tasks.vizwiz_vqa import utils

    answers = ten_of(10)
    found = []
    for given, prediction in zip(answers, predictions_near(answers, 11), strict=True):
        theirs = utils.vizwiz_vqa_process_results({"question_id": 0, "answers": [*given]}, [prediction])["exact_match"]
        found.append((vizwiz.hit(prediction, given), theirs))
    ours, theirs = zip(*found, strict=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert len(set(np.round(ours, 6))) > 3


def test_gqa():
    from lmms_eval.api.metrics import exact_match_hf_evaluate

    signs = str.maketrans("", "", string.punctuation)
    answers = [given[0] for given in ten_of(20)]
    differ = 0
    for answer, prediction in zip(answers, predictions_near([[a] * 10 for a in answers], 21), strict=True):
        ours = gqa.hit({"answer": answer, "prediction": prediction})
        settings = {"ignore_case": True, "ignore_punctuation": True}
        theirs = exact_match_hf_evaluate(np.array([prediction]), np.array([answer]), **settings)["exact_match"]
        if ours != theirs:
            differ += 1
            texts = (prediction.lower(), answer.lower())
            dropped = [t.translate(signs) for t in texts]
            stripped = [t.strip() for t in texts]
            assert dropped != [*texts] or stripped != [*texts], "only punctuation and outer white space are a cause"
    assert 0 < differ < COUNT / 4


def test_mmbench_cn():
    from lmms_eval.tasks.mmbench.mmbench_evals import MMBench_Evaluator

    rng = np.random.default_rng(30)
    choices = {"A": "一只猫", "B": "一只狗", "C": "一棵树"}
    long = "我认为图中的动物应该选择 {} 因为 它 在 那里"
    forms = ["{}", "{}.", "({})", "答案是 {}", "{}。", "选{}", long, "{text}", "无"]
    evaluator = MMBench_Evaluator()
    agree, causes = 0, []
    for _ in range(COUNT):
        letter, form = str(rng.choice([*choices])), str(rng.choice(forms))
        prediction = form.format(letter, text=choices[letter])
        ours = multiple_choice.hit({**choices, "answer": letter, "prediction": prediction})
        row = {"index": 1, "question": "?", "answer": letter, "prediction": prediction, "category": "x", **choices}
        theirs, *_ = evaluator.eval_result([row | {"D": None}], eval_method="static")
        agree += ours == theirs
        causes += [] if ours == theirs else [form]
    assert set(causes) <= {"{}。", "选{}", long}
    assert agree > COUNT / 2


def test_llava_w():
    import lmms_eval

    file = Path(next(iter(lmms_eval.__path__))) / "tasks" / "llava-in-the-wild" / "utils.py"
    spec = importlib.util.spec_from_file_location("llava_in_the_wild", file)
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    rng = np.random.default_rng(40)
    forms = ["{} {}", "{},{}", "{} {}\nbecause", "{}, {}", "Scores: {} {}", "{}/10 {}/10", "none"]
    differ = set()
    for _ in range(COUNT):
        pair, form = rng.integers(1, 11, 2), str(rng.choice(forms))
        reply = form.format(*pair)
        theirs = tuple(utils._parse_comparative_scores(reply).metadata["scores"])
        differ |= set() if llava_w.read_ratings(reply) == theirs else {form}
    assert differ == {"{}, {}", "Scores: {} {}", "{}/10 {}/10"}
    pairs = [(10, 5), (5, 5), (9, 7)]
    rated = [{"index": "0", llava_w.GRADE: f"{a} {b}"} for a, b in pairs]
    assert round(llava_w.score(rated).value(), 1) == utils.llava_all_aggregation([{"scores": [*p]} for p in pairs])


def test_prompts():
    """The literals of test_prompt_kits.py are what lmms-eval's functions give."""
    from lmms_eval.tasks.mmbench import cn_utils
    from lmms_eval.tasks.vizwiz_vqa import utils as vizwiz_utils
    from lmms_eval.tasks.vqav2 import utils as vqav2_utils

    fields = {"question": "What is IT?", "hint": "它会叫。", "A": "猫", "B": "狗"}
    row = Row({"index": "0", **fields}, ())
    doc = {**fields, "category": "", "L2-category": "", "index": 0, "source": "", "split": "dev"}
    short = {"pre_prompt": "", "post_prompt": "\n" + prompt_kits.SHORT_INSTRUCTION}
    insufficient = {"pre_prompt": "", "post_prompt": "\n" + prompt_kits.INSUFFICIENT}
    chinese = {"pre_prompt": "", "post_prompt": "\n" + prompt_kits.LETTER_CN_LMMS}
    for kind, theirs in (
        ("vqav2", vqav2_utils.vqav2_doc_to_text(doc, short)),
        ("vizwiz", vizwiz_utils.vizwiz_vqa_doc_to_text(doc, insufficient)),
        ("mmbench_cn", cn_utils.mmbench_doc_to_text(doc, chinese)),
    ):
        assert get_benchmark(kind).asks("lmms_eval")(row, None).prompt == theirs, kind
