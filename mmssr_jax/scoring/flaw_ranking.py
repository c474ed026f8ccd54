"""How well scores put unflawed samples above flawed ones, for pools whose flaws are known.

Only samples of one question form are compared: what a question asks for tells most of a sample's relevance, so that
over all samples even scores that see no flaw rank well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.json_format import json_number
from mmssr_jax.scoring.ranking_metrics import concordance


def flaw_ranking(scores: np.ndarray, flaws: Sequence[str], forms: Sequence[str]) -> dict[str, Any]:
    """P(the unflawed sample has the higher total score), over pairs of one form; equal scores count 1/2.

    Args:
      scores: [n, C]; a sample's total is the sum over the capabilities, missing ones as 0.
      flaws: [n], "" for none.
      forms: [n], the question form.

    Returns:
      `pairs`, `unflawed_above`, and the same by kind of flaw under `by_flaw`; None where there is no pair.
    """
    total, flaw, form = np.nan_to_num(scores).sum(axis=1), np.asarray(flaws, object), np.asarray(forms, object)

    def ranked(chosen: np.ndarray) -> dict[str, Any]:
        found = [concordance(total[rows], (flaw[rows] == "").astype(float)) for rows in _by_form(form, chosen)]
        pairs = sum(p for _, p in found)
        above = sum(value * p for value, p in found if p)
        return {"pairs": int(pairs), "unflawed_above": json_number(above / pairs if pairs else float("nan"))}

    kinds = sorted(set(flaws) - {""})
    every = ranked(np.ones(len(flaw), bool))
    return {**every, "by_flaw": {kind: ranked((flaw == "") | (flaw == kind)) for kind in kinds}}


def _by_form(form: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(chosen & (form == name)) for name in sorted(set(form))]
