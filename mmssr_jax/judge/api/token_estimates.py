"""Estimates of the tokens of a request, before it is sent.

Images (`image_tokens`): OpenAI's formulas as documented in September 2026
(developers.openai.com/api/docs/guides/images-vision, "Calculating costs"). The count of other models is a rough
estimate (`Unknown`). Models change what they charge; the ledger holds what was charged, and every run ends with the
ratio of the two.

Text (`text_tokens`): an estimate that needs no vocabulary file. Measured against OpenAI's o200k_base on the fenced
conversations of 2,650 real samples of 15 sources: sum +0.7 %, mean absolute error 4.6 % per sample, 95 % of the samples
within 8.9 %, the worst 17 %. The text of complete requests, including rubric and schema: sum +4.2 %, 95 % within 4.6 %,
all between -1.2 % and +6.9 %. Other vocabularies differ more.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Literal

Detail = Literal["auto", "low", "high", "original"]

# Tokens that a chat request adds to its texts: OpenAI counts 3 per message and 3 for the start of the answer.
MESSAGE_TOKENS = 3


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A fixed number of tokens plus `tile` for each tile of 512 x 512 pixels."""

    base: int
    tile: int

    def tokens(self, width: int, height: int, detail: Detail) -> int:
        """Fit into 2048 x 2048, then the shorter side to 768, never enlarging; `low` is the base alone."""
        if detail == "low":
            return self.base
        width, height = _fit(width, height, 2048)
        shorter = min(width, height)
        if shorter > 768:
            width, height = width * 768 // shorter, height * 768 // shorter
        return self.base + self.tile * math.ceil(width / 512) * math.ceil(height / 512)


@dataclasses.dataclass(frozen=True)
class Limit:
    """The maximum size, to which an image is scaled down: the longest side in pixels, and a number of patches."""

    side: int
    patches: int | None


@dataclasses.dataclass(frozen=True)
class Patches:
    """A factor times the number of patches of 32 x 32 pixels, within a limit for each detail."""

    factor: float
    low: Limit
    high: Limit
    original: Limit
    auto: Limit

    def tokens(self, width: int, height: int, detail: Detail) -> int:
        """Patches that cover the scaled image, times the model's factor, rounded up."""
        limit: Limit = getattr(self, detail)
        width, height = _fit(width, height, limit.side)
        return math.ceil(round(patch_count(width, height, limit.patches) * self.factor, 6))


def patch_count(width: int, height: int, budget: int | None) -> int:
    """Patches of 32 x 32 pixels; an image over the budget is scaled down until whole patches fit."""
    count = math.ceil(width / 32) * math.ceil(height / 32)
    if budget is None or count <= budget:
        return count
    shrink = math.sqrt(32 * 32 * budget / (width * height))
    across, down = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    # Rounding can leave the product slightly below the integer that it should be.
    width, height = math.floor(width * shrink + 1e-6), math.floor(height * shrink + 1e-6)
    return math.ceil(width / 32) * math.ceil(height / 32)


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A model without a formula here: patches of 28 x 28 pixels, as in Qwen2-VL."""

    def tokens(self, width: int, height: int, detail: Detail) -> int:
        """`detail` has no effect."""
        del detail
        return math.ceil(width / 28) * math.ceil(height / 28)


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


_FREE = Limit(65_535, None)
_SMALL = Limit(512, None)
_HIGH = Limit(2048, 2500)
_LARGE = Limit(6000, 10_000)
_WIDE = Limit(2048, 6144)
_OLD = Limit(2048, 1536)


def _one_limit(factor: float, limit: Limit) -> Patches:
    return Patches(factor, low=limit, high=limit, original=limit, auto=limit)


Scheme = Tiles | Patches | Unknown

# The first prefix of the model's name counts, so longer prefixes come before shorter ones.
SCHEMES: tuple[tuple[str, Scheme], ...] = (
    ("gpt-5.6", Patches(1.2, low=_SMALL, high=_HIGH, original=_FREE, auto=_FREE)),
    ("gpt-5.5", Patches(1.2, low=_SMALL, high=_HIGH, original=_LARGE, auto=_LARGE)),
    ("gpt-5.4", Patches(1.2, low=_WIDE, high=_HIGH, original=_LARGE, auto=_HIGH)),
    ("gpt-5.2", _one_limit(1.2, _WIDE)),
    ("gpt-5-mini", _one_limit(1.2, _OLD)),
    ("gpt-5-nano", _one_limit(1.5, _OLD)),
    ("gpt-5", Tiles(70, 140)),
    ("gpt-4.1-mini", _one_limit(1.62, _WIDE)),
    ("gpt-4.1-nano", _one_limit(2.46, _OLD)),
    ("gpt-4.1", Tiles(85, 170)),
    ("gpt-4o-mini", Tiles(2833, 5667)),
    ("gpt-4o", Tiles(85, 170)),
    ("o4-mini", _one_limit(1.72, _OLD)),
    ("o1", Tiles(75, 150)),
    ("o3", Tiles(75, 150)),
)


def scheme_of(model: str) -> Scheme:
    """The formula for a model's image tokens; `Unknown` for names that are not in `SCHEMES`."""
    name = model.lower().rsplit("/", 1)[-1]
    return next((scheme for prefix, scheme in SCHEMES if name.startswith(prefix)), Unknown())


def image_tokens(model: str, width: int, height: int, detail: Detail) -> int:
    """Prompt tokens of one image of width x height pixels."""
    return scheme_of(model).tokens(width, height, detail)


_PIECE = re.compile(r" ?[A-Za-z]+|\d{1,3}| ?[^\sA-Za-z\d\x80-\U0010ffff]+|[\x80-\U0010ffff]+|\s+")


def text_tokens(text: str) -> int:
    """Tokens of a text, estimated piece by piece for a byte-pair vocabulary of 200,000 entries.

    A word is 1 token plus 0.1 for each letter beyond eight; up to three digits are 1; a run of punctuation is 1 plus
    0.25 for each further character; a run of white space is 1 unless it is a single space; letters outside ASCII are
    0.4 each, those of Chinese, Japanese and Korean 0.8.
    """
    total = 0.0
    for match in _PIECE.finditer(text):
        piece = match[0].strip()
        if not piece:
            total += 0 if match[0] == " " else 1
        elif piece[0] >= "\x80":
            total += sum(0.8 if c >= "\u2e80" else 0.4 for c in piece)
        elif piece[0].isdigit():
            total += 1
        elif piece[0].isalpha():
            total += 1 + 0.1 * max(0, len(piece) - 8)
        else:
            total += 1 + 0.25 * (len(piece) - 1)
    return math.ceil(total)
