"""The processing of answers before they are compared, as the evaluations of VQAv2, VizWiz and GQA do it.

Three implementations of VQA's normalisation are in use, and they differ:

    the VQA evaluation    a period goes unless a digit follows it: "3." is "3"            (`of_vqa`)
    EvalAI's processor    first commas and question marks go, and "'s" becomes a word     (`of_eval_ai`)
    VLMEvalKit            a period next to a digit stays: "3." is not "3"                 (`answers.normalise`)

Sources: https://github.com/GT-Vision-Lab/VQA (vqaEval.py, in the form that most projects have, with 21 signs;
its present list lacks "-" and "!" and has ":" and "'"), mmf's EvalAIAnswerProcessor, which LLaVA-1.5 and lmms-eval use.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from mmssr_jax.evaluation.answers import remove_punctuation, replace_words

# The reference writes "(?!<=\d)" and means a look-behind; as it stands, only what follows the period counts.
_PERIOD = re.compile(r"\.(?!\d)")


def of_vqa(answer: str) -> str:
    """VQA's evaluation: punctuation, lower case, digits for number words, no articles, apostrophes repaired.

    `"The Two dogs."` -> `"2 dogs"`. The reference leaves the annotators' answers as they are where all ten agree; here
    they are always normalised, as by lmms-eval and VLMEvalKit: they are lower-case already, so that only answers such
    as "t-shirt" differ.
    """
    return replace_words(remove_punctuation(_one_line(answer), period=_PERIOD))


def of_eval_ai(answer: str) -> str:
    """EvalAI's processor: `"Yes, it's 3."` -> `"yes it 's 3"`."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return replace_words(remove_punctuation(_one_line(text), period=_PERIOD))


def of_gqa(answer: str) -> str:
    """What LLaVA-1.5 submits to GQA's evaluation, which compares texts as they are: `"Yes."` -> `"yes"`.

    Source: LLaVA, `scripts/convert_gqa_for_eval.py`.
    """
    return answer.strip().rstrip(".").lower()


def annotators(cell: str) -> list[str]:
    """The annotators' answers in a cell: a list of texts, or of objects with an `answer`; other text is one answer."""
    stripped = cell.strip()
    if stripped.startswith("[") and stripped.endswith("]"):
        for parse in (json.loads, ast.literal_eval):
            try:
                return [_answer(value) for value in parse(stripped)]
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
    return [cell]


def _answer(value: Any) -> str:
    return str(value["answer"]) if isinstance(value, dict) and "answer" in value else str(value)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
