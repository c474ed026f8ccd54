"""The names of the paper and of the rubric, spelled as the tables spell them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, STYLES, capabilities_named, slugify


def test_slugs_in_rubric_order():
    assert SLUGS == (
        "object_spatial_understanding",
        "attribute_identification",
        "logical_deduction",
        "scene_understanding",
        "fine_grained_recognition",
        "language_generation",
        "in_context_learning",
        "comparative_analysis",
        "activity_recognition",
        "causal_reasoning",
        "humanities",
        "stem_knowledge",
        "data_understanding",
        "optical_character_recognition",
    )
    assert len(STYLES) == 9


def test_names_are_those_of_the_rubric(shared):
    rubric = (shared / "reference" / "rubric.md").read_text()
    rows = re.findall(r"^\| \d+ \| ([^|]+) \| ([^|]+) \|$", rubric, re.MULTILINE)
    assert [(c.name, c.covers) for c in CAPABILITIES] == rows
    styles = rubric.split("the main one first): ")[1].split("(the question")[0]
    assert tuple(" ".join(styles.split()).split("; ")) == STYLES


@pytest.mark.parametrize(
    ("name", "slug"), [("Fine-Grained  recognition", "fine_grained_recognition"), ("a_b", "a_b"), (" (x) ", "x")]
)
def test_slugify(name, slug):
    assert slugify(name) == slug


@given(st.text())
def test_slugs_are_column_names_and_stay_as_they_are(name):
    slug = slugify(name)
    assert re.fullmatch(r"([a-z0-9]+(_[a-z0-9]+)*)?", slug)
    assert slugify(slug) == slug


def test_capabilities_by_name_or_slug_in_the_order_given():
    assert [c.slug for c in capabilities_named(["humanities", "In-context learning"])] == [
        "humanities",
        "in_context_learning",
    ]


def test_a_capability_that_does_not_exist():
    with pytest.raises(
        UserError, match=r"^no capability is called 'vision'; known are: object_spatial_understanding, "
    ):
        capabilities_named(["humanities", "vision"])
