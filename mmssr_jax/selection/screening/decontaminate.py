"""Finds samples of a pool that contain a benchmark's images or repeat its questions.

An image matches if its dHash and pHash are within `distance` bits of those of a benchmark image. A text matches if it
shares an n-gram of `ngram` words with a question (its wording and options); shorter questions never match by text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.screening.fingerprints import Fingerprints
from mmssr_jax.selection.screening.image_hash import distance as hash_distance
from mmssr_jax.selection.screening.image_hash import near_rows
from mmssr_jax.selection.screening.text_hash import ngram_hashes

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("benchmark", pa.string()),
        ("index", pa.string()),
        ("by", pa.string()),  # "image" or "text"
        ("distance", pa.int32()),  # bits, of images
        ("ngrams", pa.int32()),  # common n-grams, of texts
    ]
)


@dataclasses.dataclass(frozen=True)
class Decontaminate:
    """The benchmarks to remove from a selection, and what counts as a match.

    Attributes:
      benchmarks: TSV files in VLMEvalKit's layout.
      action: remove matching samples, or only report them.
      by: what is compared.
      distance: the maximum Hamming distance of the dHashes, and of the pHashes, of two images.
      ngram: the number of words of an n-gram.
    """

    benchmarks: tuple[str, ...]
    action: Literal["remove", "report"] = "remove"
    by: tuple[Literal["image", "text"], ...] = ("image", "text")
    distance: int = 4
    ngram: int = 10

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks is empty; name the TSV files")
        if not 0 <= self.distance <= 15:
            raise ValueError(f"distance is {self.distance}; it must be 0 to 15 bits")
        if self.ngram < 1:
            raise ValueError(f"ngram is {self.ngram}; it must be at least 1")


@dataclasses.dataclass(frozen=True)
class Questions:
    """The hashed questions of the benchmarks.

    Attributes:
      names: (benchmark, index) of each question.
      images: uint64 [images, 2].
      image_of: int64 [images], the question that each image belongs to.
      ngrams: uint64 [ngrams], sorted, unique.
      ngram_of: int64 [ngrams], the first question that contains the n-gram.
    """

    names: tuple[tuple[str, str], ...]
    images: np.ndarray
    image_of: np.ndarray
    ngrams: np.ndarray
    ngram_of: np.ndarray


def questions(
    names: Sequence[tuple[str, str]], texts: Sequence[str], images: Sequence[np.ndarray], *, ngram: int
) -> Questions:
    """Hashes questions.

    Args:
      names: (benchmark, index) of each question.
      texts: wording and options of each question.
      images: uint64 [images, 2] of each question.
      ngram: the number of words of an n-gram.
    """
    ngrams, text_of = ngram_hashes(texts, ngram)
    unique, first = np.unique(ngrams, return_index=True)
    counts = [len(i) for i in images]
    joined = np.concatenate([*images, np.zeros((0, 2), np.uint64)])
    return Questions(tuple(names), joined, np.repeat(np.arange(len(images)), counts), unique, text_of[first])


def match_images(fingerprints: Fingerprints, known: Questions, *, distance: int) -> pa.Table:
    """The samples that contain an image of a question, each with the nearest (`SCHEMA`), in the samples' order."""
    # Equal images once: a placeholder that many samples and questions share would make as many pairs as both together.
    hashes, where = np.unique(fingerprints.images, axis=0, return_inverse=True)
    asked, first = np.unique(known.images, axis=0, return_index=True)
    image, other = near_rows(hashes, asked, distance)
    nearest, question, bits = _first_of(
        image, known.image_of[first[other]], hash_distance(hashes[image], asked[other])
    )  # fmt: skip
    at = np.full(len(hashes), -1)
    at[nearest] = np.arange(len(nearest))
    at = at[where.reshape(-1)]
    sample = np.repeat(np.arange(len(fingerprints.counts)), fingerprints.counts)[at >= 0]
    rows, question, bits = _first_of(sample, question[at[at >= 0]], bits[at[at >= 0]])
    return _table(ids_lib.take(fingerprints.ids, rows), question, known, by="image", bits=bits)


def _first_of(
    key: np.ndarray, question: np.ndarray, bits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Of int64 [N] each: the keys once, ascending, with the nearest question and its distance; of equals the first."""
    order = np.lexsort((question, bits, key))
    order = order[np.unique(key[order], return_index=True)[1]]
    return key[order], question[order], bits[order]


def match_texts(ids: Sequence[str], texts: Sequence[str], known: Questions, *, ngram: int) -> pa.Table:
    """The samples that share an n-gram with a question, each with the first such question (`SCHEMA`)."""
    ngrams, text_of = ngram_hashes(texts, ngram)
    at = np.minimum(np.searchsorted(known.ngrams, ngrams), max(len(known.ngrams) - 1, 0))
    hit = known.ngrams[at] == ngrams if len(known.ngrams) else np.zeros(len(ngrams), bool)
    rows, question = text_of[hit], known.ngram_of[at[hit]] if len(known.ngrams) else np.zeros(0, np.int64)
    unique, first, counts = np.unique(rows, return_index=True, return_counts=True)
    matched = pa.array([ids[row] for row in unique], pa.string())
    return _table(matched, question[first], known, by="text", ngrams=counts)


def _table(
    ids: pa.Array,
    question: np.ndarray,
    known: Questions,
    *,
    by: str,
    bits: np.ndarray | None = None,
    ngrams: np.ndarray | None = None,
) -> pa.Table:
    names = [known.names[q] for q in question]
    none = pa.nulls(len(ids), pa.int32())
    columns = [
        ids.cast(pa.string()),
        pa.array([n for n, _ in names], pa.string()),
        pa.array([i for _, i in names], pa.string()),
        pa.array([by] * len(ids), pa.string()),
        none if bits is None else pa.array(bits, pa.int32()),
        none if ngrams is None else pa.array(ngrams, pa.int32()),
    ]
    return pa.table(columns, schema=SCHEMA)
