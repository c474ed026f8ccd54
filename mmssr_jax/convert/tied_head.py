"""A head in a checkpoint against `tie_word_embeddings`: a tied one may be stored if it equals the embedding."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mmssr_jax.convert.keymap import Entry
from mmssr_jax.convert.tensors import Tensors
from mmssr_jax.core.errors import UserError

_HEAD, _EMBEDDING = "head.kernel", "embedding"
_ROWS = 4096  # compared at once: memory stays bounded


def repeated_heads(checkpoint: Tensors, table: Sequence[Entry], names: Collection[str]) -> list[str]:
    """The tensors that repeat a tied embedding, to be left out.

    Args:
      checkpoint: the tensors.
      table: of the checkpoint.
      names: dotted names of the model's parameters; without a head where embeddings are tied.

    Raises:
      UserError: embeddings are tied but the checkpoint's head differs, or they are not and there is no head.
    """
    theirs = {e.ours: e.theirs for e in table}
    present, repeated = set(checkpoint.keys()), []
    for ours, head in theirs.items():
        embedding = theirs.get(f"{ours.removesuffix(_HEAD)}{_EMBEDDING}")
        if not (ours == _HEAD or ours.endswith(f".{_HEAD}")) or embedding not in present:
            continue
        if ours in names and head not in present:
            raise UserError(
                f"{checkpoint.folder}: has no output projection ({head}), but its config.json says or implies "
                "tie_word_embeddings = false; set it to true if the embedding is the projection"
            )
        if ours not in names and head in present:
            if not _equal(checkpoint, head, embedding):
                raise UserError(
                    f"{checkpoint.folder}: {head} differs from {embedding}, but its config.json says or implies "
                    "tie_word_embeddings = true; set it to false if the two are meant to differ"
                )
            repeated.append(head)
    return repeated


def _equal(checkpoint: Tensors, a: str, b: str) -> bool:
    if checkpoint.shape(a) != checkpoint.shape(b):
        return False
    count = checkpoint.shape(a)[0]
    blocks = [(slice(start, min(start + _ROWS, count)),) for start in range(0, count, _ROWS)]
    return all(np.array_equal(checkpoint.read(a, block), checkpoint.read(b, block)) for block in blocks)
