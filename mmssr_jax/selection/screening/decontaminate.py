"""Samples of a pool that show a benchmark's pictures or repeat its questions.

A picture matches where dHash and pHash are within `distance` bits of a benchmark's. A text matches where it has a run
of `ngram` words in common with a question (its wording and options); shorter questions cannot be found by their text.
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
        ("distance", pa.int32()),  # bits, of pictures
        ("ngrams", pa.int32()),  # runs in common, of texts
    ]
)


@dataclasses.dataclass(frozen=True)
class Decontaminate:
    """What to keep a selection free of.

    Attributes:
      benchmarks: TSV files in VLMEvalKit's layout.
      action: take matching samples out, or only report them.
      by: what is compared.
      distance: the most bits in which dHash, and in which pHash, of two pictures may differ.
      ngram: the words of a run.
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
    """The questions of some benchmarks, as hashes.

    Attributes:
      names: (benchmark, index) of each question.
      images: uint64 [pictures, 2].
      image_of: int64 [pictures], the question each picture belongs to.
      ngrams: uint64 [runs], sorted, each once.
      ngram_of: int64 [runs], the first question that has the run.
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
      names: (benchmark, index) of each.
      texts: wording and options of each.
      images: uint64 [pictures, 2] of each.
      ngram: the words of a run.
    """
    runs, text_of = ngram_hashes(texts, ngram)
    unique, first = np.unique(runs, return_index=True)
    counts = [len(i) for i in images]
    joined = np.concatenate([*images, np.zeros((0, 2), np.uint64)])
    return Questions(tuple(names), joined, np.repeat(np.arange(len(images)), counts), unique, text_of[first])


def match_images(fingerprints: Fingerprints, known: Questions, *, distance: int) -> pa.Table:
    """The samples that show a picture of a question, each with the nearest one (`SCHEMA`), in the samples' order."""
    sample = np.repeat(np.arange(len(fingerprints.counts)), fingerprints.counts)
    picture, other = near_rows(fingerprints.images, known.images, distance)
    bits = hash_distance(fingerprints.images[picture], known.images[other])
    order = np.lexsort((known.image_of[other], bits, sample[picture]))
    order = order[np.unique(sample[picture][order], return_index=True)[1]]
    rows, question = sample[picture][order], known.image_of[other][order]
    return _table(ids_lib.take(fingerprints.ids, rows), question, known, by="image", bits=bits[order])


def match_texts(ids: Sequence[str], texts: Sequence[str], known: Questions, *, ngram: int) -> pa.Table:
    """The samples that have a run of words in common with a question, each with the first such question (`SCHEMA`)."""
    runs, text_of = ngram_hashes(texts, ngram)
    at = np.minimum(np.searchsorted(known.ngrams, runs), max(len(known.ngrams) - 1, 0))
    hit = known.ngrams[at] == runs if len(known.ngrams) else np.zeros(len(runs), bool)
    rows, question = text_of[hit], known.ngram_of[at[hit]] if len(known.ngrams) else np.zeros(0, np.int64)
    unique, first, counts = np.unique(rows, return_index=True, return_counts=True)
    found = pa.array([ids[row] for row in unique], pa.string())
    return _table(found, question[first], known, by="text", ngrams=counts)


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
