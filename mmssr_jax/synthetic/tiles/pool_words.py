"""Words of the tile pool's questions and answers, for a tokenizer; what they mean is learned from the pool alone."""

from __future__ import annotations

from mmssr_jax.synthetic.tiles.skills import INVENTED
from mmssr_jax.synthetic.tiles.tile_scene import LETTERS

_TOPICS = (
    "place", "point", "hue", "bond of the two", "region", "breed", "Do", "measure of the two", "deed", "fate",
    "nation", "sum", "peak", "pit", "second", "third", "spelling of the sign",
)  # fmt: skip
_ASKED = ("What is the", "Name the", "Tell me the", "Say the", "Show the", "Is the", "of the", "in", "or", "yes", "no")


def pool_words() -> tuple[str, ...]:
    """Short texts with every such word, at the beginning of an answer and within a sentence."""
    words = tuple(word for group in INVENTED for word in group)
    return (*words, *(f"a {word}?" for word in words), *LETTERS, *(f"{text} a" for text in (*_TOPICS, *_ASKED)))
