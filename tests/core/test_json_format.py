import json

import numpy as np
import pytest

from mmssr_jax.core.json_format import json_number, json_numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (np.int64(3), 3),
        (1 / 3, 0.333333),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (float("nan"), None),
        (True, 1),
    ],
)
def test_json_number(value, expected):
    number = json_number(value)
    assert number == expected
    assert type(number) in (int, float, type(None))
    json.dumps(number, allow_nan=False)


def test_json_numbers_are_nested():
    value = {"a": [1 / 3, float("nan"), "x"], "b": {"c": 2, "d": None, "e": True}}
    assert json_numbers(value) == {"a": [0.333333, None, "x"], "b": {"c": 2, "d": None, "e": True}}
    assert json_numbers(value)["b"]["e"] is True
