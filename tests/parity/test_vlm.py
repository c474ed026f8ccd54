"""Every LLaVA-OneVision case of the goldens: image features, logits, greedy tokens."""

from __future__ import annotations

from tests.parity.checks import check_features_and_logits, check_greedy_tokens


def test_features_and_logits(case_path):
    check_features_and_logits(case_path)


def test_greedy_tokens(generated_path):
    check_greedy_tokens(generated_path)
