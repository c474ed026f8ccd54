"""Which activations of a layer are saved for the backward pass, and which are rematerialised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from mmssr_jax.models.config import Remat

SAVED = "saved"
_MINIMAL = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, jax.checkpoint_policies.save_only_these_names(SAVED)
)


def mark_saved(x: Any) -> Any:
    """Names arrays (any shape `[...]`, any tree) that are costly to recompute though no projection made them.

    The policy "minimal" saves them along with the outputs of projections.
    """
    return checkpoint_name(x, SAVED)


def apply_remat(body: Callable[..., Any], remat: Remat) -> Callable[..., Any]:
    """The body of a scan over layers under the policy `remat`, see `config.Compute`."""
    if remat == "none":
        return body
    return jax.checkpoint(body, prevent_cse=False, policy=_MINIMAL if remat == "minimal" else None)
