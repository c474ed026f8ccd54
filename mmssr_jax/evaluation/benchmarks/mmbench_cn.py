"""MMBench-CN (dev or test): MMBench's questions in Chinese, with its circular evaluation.

VLMEvalKit asks in English around the Chinese text, the other kits close in Chinese. The letter is read by the same rule
as in `mmbench`, which does not strip Chinese punctuation: "B。" holds no letter, so only the option's text can count.
"""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks import mmbench, multiple_choice
from mmssr_jax.evaluation.prompt_kits import LETTER_CN_LLAVA, LETTER_CN_LMMS, lettered, several_options

BENCHMARK = multiple_choice.image_choices(
    load=mmbench.load, score=mmbench.score,
    kits={"lmms_eval": several_options(LETTER_CN_LMMS), "llava": lettered(LETTER_CN_LLAVA)},
)  # fmt: skip
