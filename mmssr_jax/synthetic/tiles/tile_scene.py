"""A scene of the tile world: up to four cards on a table cloth, in the plain words of the base model's descriptions.

What is on a card is a kind and its value; `phrase` says it in plain words. The scenes are divided by their content
into those of the base models, of pools and of benchmarks, so that none is shared, whatever the seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal

import numpy as np

from mmssr_jax.synthetic.scene import pick

CLOTHS = ("sea", "grass", "sand", "night", "brick", "snow")
CELLS = ("top left", "top right", "bottom left", "bottom right")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "blue", "green", "yellow", "purple", "black")
SIZES = ("big", "small")
POSES = ("arms up", "arms out", "arms down", "kneeling", "lying", "leaping")
MARKS = ("no mark", "one spot", "two spots", "three spots", "one band", "two bands")
FLAGS = ("red over white", "blue beside yellow", "green over black", "red beside blue", "a yellow cross", "a red dot")
BALLS, GROUNDS = ("wooden", "iron"), ("water", "fire", "grass", "ice")
LETTERS = {"A": "alfa", "B": "bravo", "C": "charlie", "E": "echo", "H": "hotel", "K": "kilo", "T": "tango", "X": "xray"}
NUMBERS = ("one", "two", "three", "four")
BARS = ("red", "blue", "green", "yellow")

Kind = Literal["object", "man", "bug", "flag", "ball", "sum", "bars", "sign"]
KINDS: tuple[Kind, ...] = ("object", "man", "bug", "flag", "ball", "sum", "bars", "sign")
Part = Literal["base", "pool", "benchmark"]
_PARTS: tuple[Part, ...] = ("base",) * 5 + ("pool",) * 4 + ("benchmark",)


@dataclasses.dataclass(frozen=True)
class TileCard:
    """What is on a card.

    Attributes:
      kind: one of `KINDS`.
      value: words of the lists above: an object's size, colour and shape; a man's pose; a bug's mark; a flag's design;
        a ball and the ground below; two numbers to be added; a bar's height each; a sign's two letters.
    """

    kind: Kind
    value: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called: an object by its shape, all others by their kind."""
        return self.value[2] if self.kind == "object" else self.kind

    @property
    def phrase(self) -> str:
        """It in plain words."""
        if self.kind == "object":
            return " ".join(self.value)
        if self.kind == "ball":
            return f"{self.value[0]} ball above {self.value[1]}"
        if self.kind == "sum":
            return f"{self.value[0]} plus {self.value[1]}"
        if self.kind == "bars":
            return "bars " + " ".join(f"{bar} {height}" for bar, height in zip(BARS, self.value, strict=True))
        if self.kind == "sign":
            return "sign " + " ".join(LETTERS[letter] for letter in self.value)
        return f"{self.kind} {'with ' if self.kind in ('bug', 'flag') else ''}{self.value[0]}"


@dataclasses.dataclass(frozen=True)
class TileScene:
    """A table cloth with cards.

    Attributes:
      cloth: one of `CLOTHS`.
      cards: four, in the order of `CELLS`; None where there is no card.
    """

    cloth: str
    cards: tuple[TileCard | None, ...]

    @property
    def caption(self) -> str:
        """All of it in plain words, card by card in the order of `CELLS`; equal for equal scenes."""
        return f"{self.cloth}: {', '.join('none' if card is None else card.phrase for card in self.cards)}."

    @property
    def part(self) -> Part:
        """What the scene may be used for, decided by its content."""
        return _PARTS[hashlib.sha256(self.caption.encode()).digest()[0] % len(_PARTS)]


def draw_card(rng: np.random.Generator, kind: Kind) -> TileCard:
    """A random card of a kind."""
    if kind == "object":
        return TileCard(kind, (pick(rng, SIZES), pick(rng, COLOURS), pick(rng, SHAPES)))
    if kind == "ball":
        return TileCard(kind, (pick(rng, BALLS), pick(rng, GROUNDS)))
    if kind == "sum":
        return TileCard(kind, (pick(rng, NUMBERS), pick(rng, NUMBERS)))
    if kind == "bars":
        return TileCard(kind, tuple(NUMBERS[i] for i in rng.permutation(4)))
    if kind == "sign":
        letters = tuple(LETTERS)
        return TileCard(kind, tuple(letters[i] for i in rng.permutation(len(letters))[:2]))
    return TileCard(kind, (pick(rng, {"man": POSES, "bug": MARKS, "flag": FLAGS}[kind]),))


def place_cards(
    rng: np.random.Generator, cards: list[TileCard], cloth: str | None = None
) -> tuple[TileScene, list[int]]:
    """Cards at random cells of a cloth (a random one by default): the scene and the cell of each card."""
    cells = [int(i) for i in rng.permutation(len(CELLS))[: len(cards)]]
    placed: list[TileCard | None] = [None] * len(CELLS)
    for cell, card in zip(cells, cards, strict=True):
        placed[cell] = card
    return TileScene(cloth or pick(rng, CLOTHS), tuple(placed)), cells


def draw_scene(rng: np.random.Generator, part: Part, *, fewest: int = 1) -> TileScene:
    """A random scene of `fewest` to four cards of any kinds."""
    while True:
        cards = [draw_card(rng, pick(rng, KINDS)) for _ in range(fewest + int(rng.integers(5 - fewest)))]
        scene, _ = place_cards(rng, cards)
        if scene.part == part:
            return scene
