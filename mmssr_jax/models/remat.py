"""What a layer keeps for its backward pass, and what it computes again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from mmssr_jax.models.config import Remat

SAVED = "kept"
_MINIMAL = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, jax.checkpoint_policies.save_only_these_names(SAVED)
)


def mark_saved(x: Any) -> Any:
    """Marks arrays that are dear to compute again, though no projection gave them: "minimal" keeps them too."""
    return checkpoint_name(x, SAVED)


def apply_remat(body: Callable[..., Any], remat: Remat) -> Callable[..., Any]:
    """The body of a scan over layers that keeps what `remat` says, see `config.Compute`."""
    if remat == "none":
        return body
    return jax.checkpoint(body, prevent_cse=False, policy=_MINIMAL if remat == "minimal" else None)
