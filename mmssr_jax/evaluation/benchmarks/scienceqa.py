"""ScienceQA (test): the 2,017 of its 4,241 questions that have an image, some with a `hint` before them; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.multiple_choice import image_choices
from mmssr_jax.evaluation.prompt_kits import LETTER, lettered

_ASK = lettered(LETTER, hint="Context: {}\n")
BENCHMARK = image_choices(kits={"lmms_eval": _ASK, "llava": _ASK})
