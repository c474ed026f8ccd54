"""The prompt of one row of each benchmark in each kit, letter by letter."""

from __future__ import annotations

import pytest

from mmssr_jax.core.discovery import module_names
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation import benchmarks, runner
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.config import BenchmarkConfig, EvaluateConfig
from mmssr_jax.stages.evaluate.benchmark_files import prediction_settings

IMAGE = ImageRef(data=b"never decoded here")
SHORT = "Answer the question using a single word or phrase."
INSUFFICIENT = "When the provided information is insufficient, respond with 'Unanswerable'."
LETTER = "Answer with the option's letter from the given choices directly."
WHAT = {"question": "What is IT?"}
PETS = {"question": "Which?", "hint": "It barks.", "A": "cat", "B": "dog", "answer": "A"}
TIERE = {"question": "哪个？", "hint": "它会叫。", "A": "猫", "B": "狗", "answer": "A"}
SELECT = "Please select the correct answer from the options above. \n"

PROMPTS = {
    "vqav2": (WHAT, {
        "vlmevalkit": f"<image>\nWhat is IT?\n{SHORT}",
        "lmms_eval": f"<image>\nWhat is IT?\n{SHORT}",
        "llava": f"<image>\nWhat is IT?\n{SHORT}",
    }),
    "gqa": (WHAT, {
        "vlmevalkit": f"<image>\nWhat is IT?\n{SHORT}",
        "lmms_eval": f"<image>\nWhat is IT?\n{SHORT}",
        "llava": f"<image>\nWhat is IT?\n{SHORT}",
    }),
    "vizwiz": (WHAT, {
        "vlmevalkit": "<image>\nWhat is IT?",
        "lmms_eval": f"<image>\nWhat is it?\n{INSUFFICIENT}\n{SHORT}",
        "llava": f"<image>\nWhat is IT?\n{INSUFFICIENT}\n{SHORT}",
    }),
    "mmbench_cn": (TIERE, {
        "vlmevalkit": f"<image>\nHint: 它会叫。\nQuestion: 哪个？\nOptions:\nA. 猫\nB. 狗\n{SELECT}",
        "lmms_eval": "<image>\n它会叫。 哪个？ There are several options:\nA. 猫\nB. 狗\n\n"
        "请直接使用所提供的选项字母作为答案回答。",
        "llava": "<image>\n它会叫。\n哪个？\nA. 猫\nB. 狗\n请直接回答选项字母。",
    }),
    "llava_w": (WHAT, {
        "vlmevalkit": "<image>\nWhat is IT?", "lmms_eval": "<image>\nWhat is IT?", "llava": "<image>\nWhat is IT?",
    }),
    "mmbench": (PETS, {
        "vlmevalkit": f"<image>\nHint: It barks.\nQuestion: Which?\nOptions:\nA. cat\nB. dog\n{SELECT}",
        "lmms_eval": f"<image>\nIt barks. Which? There are several options:\nA. cat\nB. dog\n\n{LETTER}",
        "llava": f"<image>\nIt barks.\nWhich?\nA. cat\nB. dog\n{LETTER}",
    }),
    "scienceqa": (PETS, {
        "lmms_eval": f"<image>\nContext: It barks.\nWhich?\nA. cat\nB. dog\n{LETTER}",
        "llava": f"<image>\nContext: It barks.\nWhich?\nA. cat\nB. dog\n{LETTER}",
    }),
    "ai2d": ({k: v for k, v in PETS.items() if k != "hint"}, {
        "lmms_eval": f"<image>\nWhich?\nA. cat\nB. dog\n{LETTER}",
    }),
    "mme": ({"question": "Is it red? Please answer yes or no."}, {
        "vlmevalkit": "<image>\nIs it red? Please answer yes or no.",
        "lmms_eval": f"<image>\nIs it red?\n{SHORT}",
        "llava": f"<image>\nIs it red?\n{SHORT}",
    }),
    "textvqa": (WHAT, {"lmms_eval": f"<image>\nWhat is it?\n{SHORT}"}),
    "chartqa": (WHAT, {"lmms_eval": "<image>\nWhat is IT?\nAnswer the question with a single word."}),
    "docvqa": (WHAT, {"lmms_eval": f"<image>\nWhat is IT?\n{SHORT}"}),
    "infovqa": (WHAT, {"lmms_eval": f"<image>\nWhat is IT?\n{SHORT}"}),
    "ocrbench": ({"question": " What is it?\n"}, {"lmms_eval": "<image>\nWhat is it?"}),
    "mmvet": (WHAT, {
        "lmms_eval": "<image>\nFirst please perform reasoning, and think step by step to provide best answer to the "
        "following question: \n\nWhat is IT?",
        "llava": "<image>\nWhat is IT?",
    }),
    "yes_no": ({"question": "Is it red?", "answer": "Yes"}, {"llava": f"<image>\nIs it red?\n{SHORT}"}),
    "mixed": (PETS, {"llava": f"<image>\nIt barks.\nWhich?\nA. cat\nB. dog\n{LETTER}"}),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "kit"), [(kind, kit) for kind, (_, kits) in PROMPTS.items() for kit in kits])
def test_prompts(kind, kit):
    fields, kits = PROMPTS[kind]
    row = Row({"index": "0", **fields}, (IMAGE,))
    assert get_benchmark(kind).asks(kit)(row, None).prompt == kits[kit]


def test_every_form_that_is_offered_has_a_literal():
    """Kinds without a literal take theirs from one that has it."""
    shared = {"short_answer": "vqav2", "ten_answers": "vqav2", "multiple_choice": "ai2d", "yes_no_f1": "yes_no"}
    for name in module_names(benchmarks):
        kits = get_benchmark(name).kits
        assert not kits or shared.get(name, name) in PROMPTS, name


@pytest.mark.parametrize("kit", ["lmms_eval", "llava"])
def test_an_instruction_replaces_the_closing_line(kit):
    for kind, fields in (("mmbench", PETS), ("vizwiz", WHAT), ("mixed", PETS)):
        row = Row({"index": "0", **fields}, (IMAGE,))
        ask = get_benchmark(kind).asks(kit)
        assert ask(row, "Be brief.").prompt.endswith("\nBe brief.")
        assert not ask(row, "").prompt.endswith(("\n", LETTER, SHORT))


def test_a_form_that_is_not_known_is_one_line():
    row = Row({"index": "0", **PETS}, (IMAGE,))
    with pytest.raises(UserError, match=r"prompt = 'llava': the form .* is not known here, only vlmevalkit"):
        runner.make_questions(get_benchmark("blink"), [row], kit="llava")


def test_predictions_of_another_form_are_others():
    """A changed form is a changed input; the default leaves earlier predictions valid."""
    stage = EvaluateConfig(benchmarks={"b": BenchmarkConfig(kind="gqa", path="gqa.tsv")})
    default = prediction_settings(stage.benchmarks["b"], stage, blind=False)
    other = prediction_settings(BenchmarkConfig(kind="gqa", path="gqa.tsv", prompt="llava"), stage, blind=False)
    assert "prompt" not in default
    assert other == {**default, "prompt": "llava"}
