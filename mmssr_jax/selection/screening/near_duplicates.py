"""Groups of near-duplicate samples, and the sample of each group to keep.

    images:   hashes within `distance` bits are linked; linked images get one label
    texts:    signatures that agree in one of 25 bands of 5 places are compared (locality-sensitive hashing); a share
              of at least `similarity` of equal places links them
    samples:  by "both", texts are compared only between samples with the same image labels

Linked samples form groups (connected components). The comparison of images is exhaustive: hashes within d bits agree in
one of d + 1 blocks of bits. That of texts is probabilistic: a pair of Jaccard similarity 0.8 shares no band once in
20,000 times. The result does not depend on the order of the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from mmssr_jax.selection.screening.fingerprints import Fingerprints
from mmssr_jax.selection.screening.image_hash import near_rows
from mmssr_jax.selection.screening.text_hash import PLACES, minhash
from mmssr_jax.selection.tie_break import mix

_BAND = 5
_LEADERS = 64  # members of one bucket that the others are compared with
_PAIRS_AT_ONCE = 1 << 22


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """When two samples count as near-duplicates.

    Attributes:
      by: compare text and all images ("both"), or only one of them; then samples without images, or without text, have
        no duplicates.
      similarity: of texts, the minimum estimated Jaccard similarity of their 8-byte windows, above 0 and at most 1.
      distance: of images, the maximum Hamming distance of the dHashes, and of the pHashes.
    """

    by: Literal["both", "text", "image"] = "both"
    similarity: float = 0.8
    distance: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.similarity <= 1:
            raise ValueError(f"similarity is {self.similarity:g}; it must be above 0 and at most 1")
        if not 0 <= self.distance <= 15:
            raise ValueError(f"distance is {self.distance}; it must be 0 to 15 bits")


def group(fingerprints: Fingerprints, settings: NearDuplicates, tie: np.ndarray) -> np.ndarray:
    """int64 [samples]: the group of each sample.

    Args:
      fingerprints: of the samples.
      settings: what counts as a near-duplicate.
      tie: uint64 [samples], all different, from the ids alone; decides which members of a bucket the others are
        compared with.
    """
    samples = len(fingerprints.counts)
    images = np.zeros(samples, np.uint64)
    if settings.by != "text":
        labels = _components(len(fingerprints.images), *image_pairs(fingerprints.images, settings.distance))
        images = _combined(labels, fingerprints.counts)
    if settings.by == "image":
        with_image = np.flatnonzero(fingerprints.counts > 0)
        return _components(samples, *_link_equal(images[with_image], with_image))
    rows = np.arange(samples)
    if settings.by == "text":
        rows = np.flatnonzero((fingerprints.text != minhash([""])).any(axis=1))
    left, right = text_pairs(fingerprints.text[rows], images[rows], settings.similarity, tie[rows])
    return _components(samples, rows[left], rows[right])


def keepers(groups: np.ndarray, rank: np.ndarray, score: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """int64 [samples]: the sample that each sample's group keeps.

    It is the one with the highest rank, then the highest score, then the smallest tie key.

    Args:
      groups: int64 [samples].
      rank: int [samples].
      score: float [samples].
      tie: uint64 [samples], all different.
    """
    order = np.lexsort((tie, -score, -rank, groups))
    first = np.concatenate(([True], np.diff(groups[order]) != 0)) if len(order) else np.zeros(0, bool)
    kept = np.empty(len(groups), np.int64)
    kept[order] = order[first][np.cumsum(first) - 1]
    return kept


def _link_equal(keys: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that link all rows of equal keys."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    return rows[order][:-1][same], rows[order][1:][same]


def _combined(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """uint64 [samples]: a hash of the labels of a sample's images in their order; 0 without images."""
    sample = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    combined = np.zeros(len(counts), np.uint64)
    for position in range(int(counts.max(initial=0))):
        at = place == position
        rows = sample[at]
        combined[rows] = mix(combined[rows] + labels[at].astype(np.uint64) + np.uint64(1))
    return combined


def image_pairs(hashes: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that link all images within `bits` bits of each other.

    Near pairs of different hashes, and each image with the first one of the same hash.

    Args:
      hashes: uint64 [images, 2].
      bits: the largest distance.

    Returns:
      int64 [pairs], int64 [pairs]: rows of `hashes`.
    """
    if not len(hashes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    unique, first, where = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    left, right = near_rows(unique, unique, bits)
    different = left < right
    every = np.arange(len(hashes))
    return (
        np.concatenate((first[where.reshape(-1)], first[left[different]])),
        np.concatenate((every, first[right[different]])),
    )


def text_pairs(
    signatures: np.ndarray, context: np.ndarray, similarity: float, tie: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that link texts of at least `similarity`, among samples of equal context.

    Args:
      signatures: uint16 [texts, PLACES].
      context: uint64 [texts].
      similarity: the minimum share of equal places.
      tie: uint64 [texts], all different.

    Returns:
      int64 [pairs], int64 [pairs]: rows of `signatures`.
    """
    in_order = np.argsort(tie, kind="stable")
    lefts, rights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for band in range(PLACES // _BAND):
        key = mix(context ^ np.uint64(band + 1))
        for place in range(band * _BAND, (band + 1) * _BAND):
            key = mix(key + signatures[:, place].astype(np.uint64))
        members = in_order[np.argsort(key[in_order], kind="stable")]
        for left, right in _near_a_leader(members, key[members], signatures, similarity):
            lefts.append(left)
            rights.append(right)
    return np.concatenate(lefts), np.concatenate(rights)


def _near_a_leader(
    members: np.ndarray, key: np.ndarray, signatures: np.ndarray, similarity: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """In each bucket, compares all members with the first; those that differ with the first of them; and so on."""
    for _ in range(_LEADERS):
        same = np.concatenate(([False], key[1:] == key[:-1])) if len(key) else np.zeros(0, bool)
        bucket = np.cumsum(~same) - 1
        leader = members[np.flatnonzero(~same)[bucket]] if len(key) else members
        rest = np.flatnonzero(same)
        if not len(rest):
            return
        near = np.zeros(len(rest), bool)
        for begin in range(0, len(rest), _PAIRS_AT_ONCE // PLACES):
            at = rest[begin : begin + _PAIRS_AT_ONCE // PLACES]
            equal = signatures[leader[at]] == signatures[members[at]]
            near[begin : begin + len(at)] = np.count_nonzero(equal, axis=1) >= similarity * PLACES
        yield leader[rest[near]], members[rest[near]]
        members, key = members[rest[~near]], key[rest[~near]]


def _components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """int64 [count]: the smallest row of each row's connected component."""
    links = scipy.sparse.coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    _, component = scipy.sparse.csgraph.connected_components(links, directed=False)
    _, smallest = np.unique(component, return_index=True)
    return smallest[component]
