"""Reading a foreign config.json so that nothing in it is overlooked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import Activation

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
}

NEUTRAL = frozenset({
    "_name_or_path", "architectures", "auto_map", "bos_token_id", "chunk_size_feed_forward", "diversity_penalty",
    "dtype", "eos_token_id", "id2label", "ignore_index", "initializer_factor", "initializer_range", "label2id",
    "length_penalty", "max_length", "max_position_embeddings", "max_window_layers", "model_type", "num_beam_groups",
    "num_beams", "num_return_sequences", "pad_token_id", "projection_dim", "repetition_penalty", "return_dict",
    "temperature", "top_k", "top_p", "torch_dtype", "transformers_version", "typical_p", "use_cache",
})  # fmt: skip
"""Keys that do not change the function we compute: how to train, generate, print or store the model."""


class ConfigSection:
    """A JSON object whose every key has to be asked for."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self._left = dict(values)
        self.where = where

    def take(self, key: str, default: Any = ...) -> Any:
        """A value that the model depends on.

        Raises:
          UserError: it is not there, and has no default.
        """
        if key not in self._left and default is ...:
            raise UserError(f"{self.where}: has no {key!r}")
        return self._left.pop(key, default)

    def expect(self, key: str, *allowed: Any) -> None:
        """A setting of which we support some values; a missing key is the first of them.

        Raises:
          UserError: it has another.
        """
        value = self._left.pop(key, allowed[0])
        if value not in allowed:
            raise UserError(f"{self.where}: {key} = {value!r} is not supported, only {' or '.join(map(repr, allowed))}")

    def activation(self, key: str, default: Any = ...) -> Activation:
        name = self.take(key, default)
        if name not in ACTIVATIONS:
            raise UserError(f"{self.where}: {key} = {name!r} is not supported, only {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def finish(self, neutral: frozenset[str] = NEUTRAL) -> None:
        """Ends the reading. What nobody asked for must be in `neutral`, or plainly off: null, false or empty.

        Raises:
          UserError: it is neither.
        """
        left = sorted(k for k, v in self._left.items() if k not in neutral and v not in (None, False, "", [], {}))
        if left:
            raise UserError(f"{self.where}: setting {left[0]!r} = {self._left[left[0]]!r} is not supported")
