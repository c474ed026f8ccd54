"""CIDEr-D: how much a caption agrees with what people say of a picture, n-grams weighed by how telling they are.

Source: Vedantam et al. 2015 (CIDEr), equations 1-4 and section 6 (CIDEr-D). The words are split by a plain rule, not
by the Java tokenizer of the COCO tools, so that numbers agree closely with theirs but not to the digit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_LONGEST = 4
_SIGMA = 6.0
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

Counts = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return _WORD.findall(text.lower())


def _ngrams(tokens: Sequence[str]) -> list[Counts]:
    """Counts of the 1-, 2-, 3- and 4-grams."""
    return [Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, _LONGEST + 1)]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, 0 to 10.

    Args:
      captions: one a picture.
      references: for each picture one or more captions; document frequencies are counted over these.
    """
    told = [[_ngrams(words(text)) for text in texts] for texts in references]
    pictures: Counts = Counter()
    for texts in told:
        pictures.update({gram for text in texts for counts in text for gram in counts})
    total = math.log(len(references))

    def weighed(counts: Counts) -> dict[tuple[str, ...], float]:
        return {gram: n * (total - math.log(max(1, pictures[gram]))) for gram, n in counts.items()}

    results = []
    for caption, texts in zip(captions, told, strict=True):
        own = [weighed(counts) for counts in _ngrams(words(caption))]
        length = len(words(caption))
        similar = 0.0
        for text in texts:
            penalty = math.exp(-((length - sum(text[0].values())) ** 2) / (2 * _SIGMA**2))
            similar += penalty * sum(_clipped_cosine(a, weighed(b)) for a, b in zip(own, text, strict=True)) / _LONGEST
        results.append(10 * similar / len(texts))
    return results


def _clipped_cosine(own: dict[tuple[str, ...], float], other: dict[tuple[str, ...], float]) -> float:
    """Cosine in which a weight counts at most as high as the reference has it: repeating a word does not pay."""
    norm = math.sqrt(sum(w * w for w in own.values())) * math.sqrt(sum(w * w for w in other.values()))
    return sum(min(w, other[g]) * other[g] for g, w in own.items() if g in other) / norm if norm else 0.0
