"""InfographicVQA (val): ANLS with threshold 0.5 over questions on infographics; scored like DocVQA."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.docvqa import COLUMNS, ask, load, score

__all__ = ["COLUMNS", "ask", "load", "score"]
