"""Groups of planted near-duplicates, and the one of each that is kept."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.selection.config import RowFilter, SelectionConfig
from mmssr_jax.selection.screening import exclusions
from mmssr_jax.selection.screening.fingerprints import Fingerprints, fingerprint
from mmssr_jax.selection.screening.near_duplicates import NearDuplicates, group, keepers
from mmssr_jax.selection.tie_break import tie_keys
from tests.selection.tables_for_tests import make_table

from .test_image_hash import scene

LONG = "The chart shows how many people visited the museum in each month of the year 2019, by age and by ticket."
OTHER = "Write a short poem about the sea, the wind and a boat that never comes home again before the winter."

# By id, the text and the names of the pictures.
SAMPLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "base": (LONG, ("1",)),
    "same": (LONG, ("1",)),
    "typo": (LONG.replace("museum", "museun"), ("1 small",)),
    "other_picture": (LONG, ("2",)),
    "other_text": (OTHER, ("1",)),
    "text_only": (LONG, ()),
    "text_only_too": (LONG + "!", ()),
    "two": (LONG, ("1", "2")),
    "two_turned": (LONG, ("2", "1")),
}


def decode(image: ImageRef) -> Image.Image:
    assert image.data is not None
    name = image.data.decode().split()
    picture = scene(int(name[0]))
    return picture.resize((100, 100)) if "small" in name else picture


def fingerprints(order: list[str]) -> Fingerprints:
    samples = [
        Sample(id, "s", (Turn("user", SAMPLES[id][0]),), tuple(ImageRef(data=p.encode()) for p in SAMPLES[id][1]))
        for id in order
    ]
    parts = [fingerprint(samples[:4], decode), fingerprint(samples[4:], decode)]
    return Fingerprints.from_arrow(pa.concat_tables(parts))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("both", [{"base", "same", "typo"}, {"text_only", "text_only_too"}]),
        ("text", [set(SAMPLES) - {"other_text"}]),
        ("image", [{"base", "same", "typo", "other_text"}]),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_groups(by: str, expected: list[set[str]], seed: int) -> None:
    order = list(np.random.default_rng(seed).permutation(list(SAMPLES)))
    groups = group(fingerprints(order), NearDuplicates(by=by), tie_keys(pa.array(order), seed=0))  # type: ignore[arg-type]
    found = [{order[i] for i in np.flatnonzero(groups == g)} for g in set(groups.tolist())]
    assert sorted((g for g in found if len(g) > 1), key=sorted) == sorted(expected, key=sorted)


def test_many_equal_texts_are_found_in_one_group() -> None:
    samples = [Sample(str(i), "s", (Turn("user", LONG if i % 2 else f"{i} {OTHER} {i}"),)) for i in range(300)]
    made = Fingerprints.from_arrow(fingerprint(samples, decode))
    groups = group(made, NearDuplicates(by="text"), tie_keys(made.ids, seed=0))
    assert len(set(groups[1::2].tolist())) == 1
    assert not set(groups[1::2].tolist()) & set(groups[::2].tolist())


def test_samples_without_text_are_no_duplicates_by_text() -> None:
    samples = [Sample(str(i), "s", (Turn("user", "<image>"),)) for i in range(3)]
    made = Fingerprints.from_arrow(fingerprint(samples, decode))
    assert len(set(group(made, NearDuplicates(by="text"), tie_keys(made.ids, seed=0)).tolist())) == 3


def test_the_best_of_a_group_is_kept() -> None:
    groups = np.array([0, 0, 0, 3, 3, 5])
    score = np.array([1.0, 3.0, 3.0, 9.0, 2.0, 0.0])
    rank = np.array([0, 0, 0, 0, 1, 0])
    tie = np.array([9, 8, 7, 6, 5, 4], np.uint64)
    assert keepers(groups, rank, score, tie).tolist() == [2, 2, 2, 4, 4, 5]


def duplicates(config: SelectionConfig) -> dict[str, str]:
    table = make_table([(0, [0], [float(i)]) for i in range(4)])
    samples = [Sample(f"r{i}", "s", (Turn("user", LONG if i < 3 else OTHER),)) for i in reversed(range(4))]
    made = Fingerprints.from_arrow(fingerprint(samples, decode))
    found = exclusions.by_duplicates(table, config, made)
    report = found.reports["duplicates.parquet"].to_pylist()
    (marked,) = found.excluded.reasons.values()
    assert [f"r{i}" for i in np.flatnonzero(marked)] == [row["id"] for row in report]
    return {row["id"]: row["kept"] for row in report}


def test_owned_and_required_samples_come_first(tmp_path: object) -> None:
    settings = NearDuplicates()
    assert duplicates(SelectionConfig(near_duplicates=settings)) == {"r0": "r2", "r1": "r2"}
    ids = tmp_path / "ids.txt"  # type: ignore[operator]
    ids.write_text("r0\n")
    own = SelectionConfig(near_duplicates=settings, owned=(str(ids),))
    assert duplicates(own) == {"r1": "r0", "r2": "r0"}
    required = SelectionConfig(near_duplicates=settings, require_ids=str(ids))
    assert duplicates(required) == {"r1": "r0", "r2": "r0"}
    excluded = SelectionConfig(near_duplicates=settings, exclude=RowFilter(ids=str(ids)))
    assert duplicates(excluded) == {"r1": "r2"}


@pytest.mark.parametrize("wrong", [{"similarity": 0.0}, {"similarity": 1.1}, {"distance": 16}, {"distance": -1}])
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NearDuplicates(**wrong)  # type: ignore[arg-type]
