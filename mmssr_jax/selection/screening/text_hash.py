"""MinHash signatures and n-gram hashes of texts.

The share of equal places of two MinHash signatures estimates the Jaccard similarity of the two texts' sets of 8-byte
windows. One pass over the text fills all 128 places (one permutation hashing: Li, Owen, Zhang, NIPS 2012); empty
places copy others (optimal densification: Shrivastava, ICML 2017).

    "a red car on a road" ──> windows "a red ca", " red car", ... ──hash──> place (7 bits), value (16 bits)
    signature[place] = the smallest value at that place
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.selection.tie_break import hash_ids, mix

PLACES = 128
WINDOW = 8
_EMPTY = np.uint32(1 << 16)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")


def plain_text(sample: Sample) -> str:
    """All turns as one line in lower case with single spaces, without image tags."""
    return " ".join(" ".join(t.text.replace(IMAGE_TAG, " ") for t in sample.turns).casefold().split())


def words(text: str) -> list[str]:
    """Words in lower case without punctuation; each Chinese, Japanese or Korean character is a word."""
    return _WORD.findall(text.casefold())


def minhash(texts: Sequence[str]) -> np.ndarray:
    """uint16 [texts, PLACES]: the signatures. An empty text has the signature of eight spaces."""
    data = [t.encode("utf-8").ljust(WINDOW) for t in texts]
    lengths = np.array([len(d) for d in data], np.int64)
    joined = np.frombuffer(b"".join(data), np.uint8)
    signature = np.full(len(data) * PLACES, _EMPTY, np.uint32)
    if len(data):
        windows = np.ndarray((len(joined) - WINDOW + 1,), "<u8", joined, strides=(1,))
        ends = np.cumsum(lengths)
        text = np.repeat(np.arange(len(data)), lengths)[: len(windows)]
        inside = np.arange(len(windows)) + WINDOW <= ends[text]
        hashed = mix(windows[inside].astype(np.uint64))
        place = text[inside] * PLACES + (hashed >> np.uint64(57)).astype(np.int64)
        np.minimum.at(signature, place, (hashed & np.uint64(0xFFFF)).astype(np.uint32))
    return _densified(signature.reshape(-1, PLACES)).astype(np.uint16)


def _densified(signature: np.ndarray) -> np.ndarray:
    """Fills every empty place from another one; all texts try the same sequence of places."""
    filled = signature.copy()
    attempt = 0
    while (filled == _EMPTY).any():
        attempt += 1
        other = mix(np.arange(PLACES, dtype=np.uint64) + np.uint64(attempt * PLACES)) % np.uint64(PLACES)
        borrowed = signature[:, other.astype(np.int64)]
        filled = np.where(filled == _EMPTY, borrowed, filled)
    return filled


def ngram_hashes(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all n-grams of words.

    Returns:
      uint64 [ngrams], the hash of each n-gram, and int64 [ngrams], its text; a text of fewer words has none.
    """
    tokens = [words(t) for t in texts]
    counts = np.array([len(t) for t in tokens], np.int64)
    hashed = hash_ids(pa.array([w for t in tokens for w in t], pa.string()))
    text = np.repeat(np.arange(len(tokens)), counts)
    ngrams = max(len(hashed) - n + 1, 0)
    key = np.zeros(ngrams, np.uint64)
    for k in range(n):
        key = mix(key ^ hashed[k : k + ngrams])
    within_one_text = text[:ngrams] == text[n - 1 : n - 1 + ngrams]
    return key[within_one_text], text[:ngrams][within_one_text]
