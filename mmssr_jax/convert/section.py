"""Reading a foreign config.json such that no key is overlooked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.models.config import Activation, VisionConfig

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
}
THEIR_ACTIVATIONS: dict[Activation, str] = {ours: theirs for theirs, ours in ACTIVATIONS.items()}

NEUTRAL = frozenset({
    "_name_or_path", "architectures", "auto_map", "bos_token_id", "chunk_size_feed_forward", "diversity_penalty",
    "dtype", "eos_token_id", "id2label", "ignore_index", "initializer_factor", "initializer_range", "label2id",
    "length_penalty", "max_length", "max_position_embeddings", "max_window_layers", "model_type", "num_beam_groups",
    "num_beams", "num_return_sequences", "pad_token_id", "projection_dim", "repetition_penalty", "return_dict",
    "temperature", "top_k", "top_p", "torch_dtype", "transformers_version", "typical_p", "use_cache",
})  # fmt: skip
"""Keys that do not change the model's function: they concern training, generation, printing or storage."""


class ConfigSection:
    """A JSON object whose keys must all be consumed, by `take` or `expect`, before `finish`.

    Raises:
      UserError: it is not an object.
    """

    def __init__(self, values: Any, where: str):
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: expected an object, got {str(values)[:80]!r}")
        self._left = dict(values)
        self.where = where

    def take(self, key: str, default: Any = ...) -> Any:
        """A value that the model depends on.

        Raises:
          UserError: it is missing and has no default.
        """
        if key not in self._left and default is ...:
            raise UserError(f"{self.where}: has no {key!r}")
        return self._left.pop(key, default)

    def expect(self, key: str, *allowed: Any) -> None:
        """Checks a setting of which only some values are supported; a missing key counts as the first of them.

        Raises:
          UserError: it has another value.
        """
        value = self._left.pop(key, allowed[0])
        if value not in allowed:
            raise UserError(f"{self.where}: {key} = {value!r} is not supported, only {' or '.join(map(repr, allowed))}")

    def activation(self, key: str, default: Any = ...) -> Activation:
        """An activation function, by transformers' name.

        Raises:
          UserError: it is missing and has no default, or is not supported.
        """
        name = self.take(key, default)
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise UserError(f"{self.where}: {key} = {name!r} is not supported, only {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def rest(self) -> dict[str, Any]:
        """The keys that were not consumed; afterwards they are."""
        left, self._left = self._left, {}
        return left

    def finish(self, neutral: frozenset[str] = NEUTRAL) -> None:
        """Checks the keys that were not consumed: they must be in `neutral`, or off (null, false or empty).

        Raises:
          UserError: a key is neither.
        """
        left = sorted(k for k, v in self._left.items() if k not in neutral and v not in (None, False, "", [], {}))
        if left:
            raise UserError(f"{self.where}: setting {left[0]!r} = {self._left[left[0]]!r} is not supported")


def their_tower(c: VisionConfig, model_type: str) -> dict[str, Any]:
    """What transformers' configs of CLIP's and SigLIP's vision towers have in common."""
    return {
        "model_type": model_type,
        "attention_dropout": 0.0,
        "hidden_act": THEIR_ACTIVATIONS[c.activation],
        "hidden_size": c.width,
        "image_size": c.image_size,
        "intermediate_size": c.mlp,
        "layer_norm_eps": c.eps,
        "num_attention_heads": c.heads,
        "num_channels": 3,
        "num_hidden_layers": c.depth,
        "patch_size": c.patch_size,
    }
