"""A table of judgments that a user supplies: its labels, and one line for what cannot be labels."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.scoring.supervision import labels_by_id

SLUGS = ("coarse", "fine")


def table(**columns: object) -> pa.Table:
    whole = {"id": ["a", "b"], "coarse": [5, 0], "fine": [1, None], "styles": [["yes/no"], None]}
    return pa.table({name: values for name, values in {**whole, **columns}.items() if values is not None})


def test_a_sample_without_a_score_has_no_label():
    labels = labels_by_id(table(), SLUGS)
    assert list(labels) == ["a"]
    assert labels["a"].scores == {"coarse": 5, "fine": 1}
    assert labels["a"].styles == ["yes/no"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": None}, "no column id; they have coarse, fine, styles"),
        ({"id": [1, 2]}, "column id holds int64, not text"),
        ({"styles": ["yes/no", "x"]}, "column styles holds string, not lists of text"),
        ({"styles": [[1], [2]]}, "column styles holds list<.*>, not lists of text"),
        ({"coarse": [6, 0]}, "give 'a' the score 6 for coarse; expected an integer 0-5"),
        ({"fine": [1.5, 2.0]}, "give 'a' the score 1.5 for fine"),
        ({"fine": [-1.0, 2.0]}, "give 'a' the score -1 for fine"),
        ({"fine": None}, "no column fine"),
    ],
)
def test_what_cannot_be_labels_is_one_line(columns: dict[str, object], words: str):
    with pytest.raises(UserError, match=words):
        labels_by_id(table(**columns), SLUGS)
