"""CIDEr-D: similarity of a caption to human captions of the same image, as TF-IDF weighted n-gram cosine.

Source: Vedantam et al. 2015 (CIDEr), equations 1-4 and section 6 (CIDEr-D). Words are split by a regular expression
instead of the Java tokenizer of the COCO tools, so values agree with those tools closely but not to every digit.
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
    """Splits text into lower-case words and numbers; punctuation is dropped."""
    return _WORD.findall(text.lower())


def _ngrams(tokens: Sequence[str]) -> list[Counts]:
    """Counts of the 1-, 2-, 3- and 4-grams."""
    return [Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, _LONGEST + 1)]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, 0 to 10.

    Args:
      captions: one caption per image.
      references: one or more reference captions per image; document frequencies are counted over them.
    """
    reference_ngrams = [[_ngrams(words(text)) for text in texts] for texts in references]
    document_frequency: Counts = Counter()
    for texts in reference_ngrams:
        document_frequency.update({gram for text in texts for counts in text for gram in counts})
    log_images = math.log(len(references))

    def tf_idf(counts: Counts) -> dict[tuple[str, ...], float]:
        return {gram: n * (log_images - math.log(max(1, document_frequency[gram]))) for gram, n in counts.items()}

    results = []
    for caption, texts in zip(captions, reference_ngrams, strict=True):
        weights = [tf_idf(counts) for counts in _ngrams(words(caption))]
        length = len(words(caption))
        similarity = 0.0
        for text in texts:
            penalty = math.exp(-((length - sum(text[0].values())) ** 2) / (2 * _SIGMA**2))
            cosines = (_clipped_cosine(a, tf_idf(b)) for a, b in zip(weights, text, strict=True))
            similarity += penalty * sum(cosines) / _LONGEST
        results.append(10 * similarity / len(texts))
    return results


def _clipped_cosine(caption: dict[tuple[str, ...], float], reference: dict[tuple[str, ...], float]) -> float:
    """Cosine with the caption's weights clipped to the reference's, so that repeating a word does not raise it."""
    norm = math.sqrt(sum(w * w for w in caption.values())) * math.sqrt(sum(w * w for w in reference.values()))
    dot = sum(min(w, reference[g]) * reference[g] for g, w in caption.items() if g in reference)
    return dot / norm if norm else 0.0
