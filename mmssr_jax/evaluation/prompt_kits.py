"""The prompt of a question in the form of each evaluation kit: closing line, place of the hint, format of the options.

The form alone moves results by many points, so a result says which one it had. `Benchmark.ask` is VLMEvalKit's form;
the others are here, for the kinds whose prompt in that kit is known. The images come first in all of them.

    vlmevalkit   Hint: H\nQuestion: Q\nOptions:\nA. cat\nB. dog\nPlease select the correct answer …
    lmms_eval    H Q There are several options:\nA. cat\nB. dog\n\nAnswer with the option's letter …      (MMBench)
    llava        H\nQ\nA. cat\nB. dog\nAnswer with the option's letter from the given choices directly.

Sources: VLMEvalKit, `ImageMCQDataset.build_prompt` and others; lmms-eval, `lmms_eval/tasks/*/utils.py` and the yaml
files beside it (75571cf, August 2026); LLaVA, docs/Evaluation.md and `llava/eval/model_vqa_mmbench.py` (c121f04), and
the question files of LLaVA-1.5's eval.zip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from mmssr_jax.evaluation.benchmark import Question, Row, options
from mmssr_jax.evaluation.question_prompts import SHORT_INSTRUCTION, question_text, with_image_tags

Kit = Literal["vlmevalkit", "lmms_eval", "llava"]
Ask = Callable[[Row, str | None], Question]
OtherKits = Mapping[Kit, Ask]
"""The prompts of a benchmark in kits other than VLMEvalKit."""

LETTER = "Answer with the option's letter from the given choices directly."
LETTER_CN_LLAVA = "请直接回答选项字母。"
LETTER_CN_LMMS = "请直接使用所提供的选项字母作为答案回答。"
INSUFFICIENT = "When the provided information is insufficient, respond with 'Unanswerable'.\n" + SHORT_INSTRUCTION
_YES_NO_REQUEST = " Please answer yes or no."  # at the end of MME's questions


def closed(closing: str = "", *, change: Callable[[str], str] = str) -> Ask:
    """The question, after `change`, and on a new line the closing line, if there is one."""

    def ask(row: Row, instruction: str | None) -> Question:
        end = closing if instruction is None else instruction
        return with_image_tags(row, change(question_text(row)) + (f"\n{end}" if end else ""))

    return ask


def lettered(closing: str, *, hint: str = "{}\n") -> Ask:
    """Hint, question, one option per line, closing line; `hint` is the hint's format."""

    def ask(row: Row, instruction: str | None) -> Question:
        end = closing if instruction is None else instruction
        head = hint.format(row.fields["hint"]) if "hint" in row.fields else ""
        lines = [f"{letter}. {text}" for letter, text in options(row.fields).items()]
        return with_image_tags(row, head + "\n".join([question_text(row), *lines, *([end] if end else [])]))

    return ask


def several_options(closing: str) -> Ask:
    """lmms-eval's MMBench: all before the options on one line, and an empty line before the closing line."""

    def ask(row: Row, instruction: str | None) -> Question:
        end = closing if instruction is None else instruction
        head = f"{row.fields['hint']} " if "hint" in row.fields else ""
        lines = "".join(f"\n{letter}. {text}" for letter, text in options(row.fields).items())
        text = f"{head}{question_text(row)} There are several options:{lines}"
        return with_image_tags(row, text + (f"\n\n{end}" if end else ""))

    return ask


def without_request(question: str) -> str:
    """MME's question without its request for yes or no, which the other kits replace."""
    return question.strip().replace(_YES_NO_REQUEST, "")


SHORT: OtherKits = {"lmms_eval": closed(SHORT_INSTRUCTION), "llava": closed(SHORT_INSTRUCTION)}
CHOICES: OtherKits = {"lmms_eval": lettered(LETTER), "llava": lettered(LETTER)}
NATURAL: OtherKits = {"lmms_eval": closed(), "llava": closed()}
YES_NO: OtherKits = SHORT
