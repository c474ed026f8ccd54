"""Every LLaVA-OneVision case of the goldens: image features, logits, greedy tokens."""

from __future__ import annotations

import numpy as np

from tests.parity.checks import ATOL, features_and_logits, greedy_tokens


def test_features_and_logits(case_path):
    for name, found, expected in features_and_logits(case_path):
        np.testing.assert_allclose(found, expected, atol=ATOL, rtol=0, err_msg=name)


def test_greedy_tokens(generated_path):
    _, found, expected = greedy_tokens(generated_path)
    np.testing.assert_array_equal(found, expected)
