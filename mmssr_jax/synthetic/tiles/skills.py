"""The skills of the tile world, one a capability: questions whose answers are words that no description holds.

The base model has learned to see and knows plain words. The pool teaches, by its samples alone, which word of each
vocabulary goes with what is seen, so that a skill is not known before and learnable from a few hundred samples. Harder
samples have more cards, and all values of the vocabulary: easy ones never show the last of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmssr_jax.synthetic.scene import (  # fmt: skip
    ACTIVITY,
    ATTRIBUTE,
    CAUSAL,
    COMPARE,
    CONTEXT,
    DATA,
    FINE,
    HUMANITIES,
    LANGUAGE,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
    STEM,
    chance,
    pick,
    several,
    without,
)
from mmssr_jax.synthetic.styles import COMPARISON, COORDINATE, DETAILED, SHORT, SPECIFIED, STEPS
from mmssr_jax.synthetic.tiles.tile_scene import (  # fmt: skip
    BALLS,
    BARS,
    CELLS,
    CLOTHS,
    COLOURS,
    FLAGS,
    GROUNDS,
    KINDS,
    LETTERS,
    MARKS,
    NUMBERS,
    POSES,
    SHAPES,
    SIZES,
    Part,
    TileCard,
    TileScene,
    draw_card,
    place_cards,
)

_PLACES = ("bam", "dor", "fip", "gul")
_HUES = ("zop", "mip", "dax", "tuv", "kel", "rin")
_BONDS = (("hax", "lom"), ("pid", "sef"))  # of colours and of shapes: other, same
_REGIONS = ("vor", "bix", "nam", "gey", "tol", "cud")
_BREEDS = ("rus", "fen", "jat", "mog", "wib", "dak")
_NOUNS = ("lok", "pua", "gri", "zed", "bet", "nof")
_TONES = ("ari", "ude", "oso", "ile", "eka", "yun")
_FORMS: dict[str, str] = {"lum": "{0} {0}", "tav": "{0}!", "gos": "the {0} one", "nib": "({0})"}
_SIZES = ("cam", "wex", "dig", "hob")
_DEEDS = ("yar", "pok", "lis", "meb", "tig", "fud")
_FATES = ("sab", "kir", "dun", "vep", "mol", "gax", "hit", "ruf")
_NATIONS = ("oma", "bel", "tir", "que", "sud", "vas")


INVENTED = (_PLACES, _HUES, *_BONDS, _REGIONS, _BREEDS, _NOUNS, _TONES, tuple(_FORMS), _SIZES, _DEEDS, _FATES, _NATIONS)


@dataclasses.dataclass(frozen=True)
class SkillQuestion:
    """One question about a scene.

    Attributes:
      skill: slug of the capability.
      scene: what it is about.
      asked: cells of the cards that it is about; empty if it is about the cloth.
      topic: the subject of the question, a noun phrase.
      answer: the right answer.
      others: wrong answers of the same form, at least three.
      stale: the answer that would be right if every word of the vocabulary had another meaning; one of `others`.
      style: the style, if it is not one of the three that every topic can take (word, yes/no, choice).
      steps: reasoning before the answer.
      also: secondary capability -> score 1-2.
    """

    skill: str
    scene: TileScene
    asked: tuple[int, ...]
    topic: str
    answer: str
    others: tuple[str, ...]
    stale: str
    style: str = ""
    steps: str = ""
    also: Mapping[str, int] = dataclasses.field(default_factory=dict)


def _known(values: Sequence[str], level: int) -> Sequence[str]:
    """The values that a level shows: half, two thirds, all."""
    return values[: (len(values) + 1) // 2] if level == 1 else values[: 2 * len(values) // 3] if level == 2 else values


def _among(
    rng: np.random.Generator, cards: list[TileCard], level: int, cloth: str | None = None
) -> tuple[TileScene, tuple[int, ...]]:
    """The asked cards among `level - 1` others (of other kinds) and the cells of the asked ones."""
    kinds = without(KINDS, *(card.kind for card in cards))
    more = [draw_card(rng, kind) for kind in several(rng, kinds, min(level - 1, 4 - len(cards)))]
    scene, cells = place_cards(rng, [*cards, *more], cloth)
    return scene, tuple(cells[: len(cards)])


def _looked_up(skill: str, scene: TileScene, asked: tuple[int, ...], topic: str, words: Sequence[str], index: int,
               **more: object) -> SkillQuestion:  # fmt: skip
    others = tuple(w for k, w in enumerate(words) if k != index)
    return SkillQuestion(skill, scene, asked, topic, words[index], others, words[(index + 1) % len(words)], **more)  # type: ignore[arg-type]


def _object(rng: np.random.Generator, level: int) -> TileCard:
    return TileCard("object", (pick(rng, SIZES), pick(rng, _known(COLOURS, level)), pick(rng, _known(SHAPES, level))))


def _two_objects(rng: np.random.Generator, level: int) -> tuple[TileCard, TileCard]:
    """Two objects that agree in colour, in shape, in both or in none, each alike often."""
    first, second = _object(rng, level), _object(rng, level)
    size, colour, shape = second.value
    own = first.value
    colour = own[1] if chance(rng, 0.5) else pick(rng, without(_known(COLOURS, level), own[1]))
    shape = own[2] if chance(rng, 0.5) else pick(rng, without(_known(SHAPES, level), own[2]))
    return first, TileCard("object", (size, colour, shape))


def spatial(rng: np.random.Generator, level: int) -> SkillQuestion:
    """Where a card is."""
    asked = _object(rng, level)
    scene, cells = _among(rng, [asked], level)
    index, topic = cells[0], f"place of the {asked.value[2]}"
    if chance(rng, 0.2):
        points = [f"{25 + 50 * (k % 2)} {25 + 50 * (k // 2)}" for k in range(len(CELLS))]
        return _looked_up(SPATIAL, scene, cells, f"point of the {asked.value[2]}", points, index, style=COORDINATE)
    return _looked_up(SPATIAL, scene, cells, topic, _PLACES, index, also={ATTRIBUTE: 1})


def attribute(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The colour of an object."""
    asked = _object(rng, level)
    scene, cells = _among(rng, [asked], level)
    return _looked_up(ATTRIBUTE, scene, cells, f"hue of the {asked.value[2]}", _HUES, COLOURS.index(asked.value[1]),
                      also={SPATIAL: 1})  # fmt: skip


def logic(rng: np.random.Generator, level: int) -> SkillQuestion:
    """What two objects have in common: a word for their colours, and one for their shapes."""
    first, second = _two_objects(rng, level)
    scene, cells = _among(rng, [first, second], level)
    same = [first.value[k] == second.value[k] for k in (1, 2)]
    steps = f"{'yes' if same[0] else 'no'} {'yes' if same[1] else 'no'}: " if chance(rng, 0.4) else ""
    words = tuple(f"{colours} {shapes}" for colours in _BONDS[0] for shapes in _BONDS[1])
    return _looked_up(LOGIC, scene, cells, "bond of the two", words, 2 * same[0] + same[1], steps=steps,
                      style=STEPS if steps else "", also={COMPARE: 2})  # fmt: skip


def region(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The table cloth."""
    cloth = pick(rng, _known(CLOTHS, level))
    scene, _ = _among(rng, [_object(rng, level)], level, cloth)
    return _looked_up(SCENE, scene, (), "region", _REGIONS, CLOTHS.index(cloth), also={ATTRIBUTE: 1})


def breed(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The marks of a bug."""
    mark = pick(rng, _known(MARKS, level))
    scene, cells = _among(rng, [TileCard("bug", (mark,))], level)
    return _looked_up(FINE, scene, cells, "breed of the bug", _BREEDS, MARKS.index(mark), also={ATTRIBUTE: 2})


def language(rng: np.random.Generator, level: int) -> SkillQuestion:
    """A phrase in the language Do: noun, then colour, then, at level 3, place."""
    size, colour, shape = _object(rng, level).value
    scene, cells = _among(rng, [TileCard("object", (size, colour, shape))], level)

    def say(colour: str, shape: str) -> str:
        phrase = f"{_NOUNS[SHAPES.index(shape)]} {_TONES[COLOURS.index(colour)]}"
        return f"{phrase} {_PLACES[cells[0]]}" if level == 3 else phrase

    other_colours, other_shapes = without(COLOURS, colour), without(SHAPES, shape)
    stale = say(colour, SHAPES[(SHAPES.index(shape) + 1) % len(SHAPES)])
    one, two = (say(c, shape) for c in several(rng, other_colours, 2))
    others = (one, stale, two, say(pick(rng, other_colours), pick(rng, other_shapes)))
    return SkillQuestion(LANGUAGE, scene, cells, f"{shape} in Do", say(colour, shape), others, stale,
                    style=DETAILED if level == 3 else SHORT, also={ATTRIBUTE: 2})  # fmt: skip


def context(rng: np.random.Generator, level: int) -> SkillQuestion:
    """A colour in the form that the question names."""
    asked = _object(rng, level)
    scene, cells = _among(rng, [asked], level)
    colour, form = asked.value[1], pick(rng, tuple(_FORMS)[: 2 + (level > 1) + (level > 2)])
    wrong, forms = without(COLOURS, colour), without(tuple(_FORMS), form)
    stale = _FORMS[forms[tuple(_FORMS).index(form) % len(forms)]].format(colour)
    other = _FORMS[pick(rng, forms)].format(pick(rng, wrong))
    others = (stale, _FORMS[form].format(pick(rng, wrong)), other)
    return SkillQuestion(CONTEXT, scene, cells, f"{form} of the {asked.value[2]}", _FORMS[form].format(colour), others,
                    stale, style=SPECIFIED, also={ATTRIBUTE: 2})  # fmt: skip


def compare(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The sizes of two objects: the first bigger, the second bigger, both big, both small."""
    first, second = _object(rng, level), _object(rng, level)
    scene, cells = _among(rng, [first, second], level)
    in_order = sorted(zip(cells, (first, second), strict=True), key=lambda pair: pair[0])
    big = [card.value[0] == "big" for _, card in in_order]
    return _looked_up(COMPARE, scene, cells, "measure of the two", _SIZES, 2 * big[0] + big[1], style=COMPARISON,
                      also={SPATIAL: 2})  # fmt: skip


def deed(rng: np.random.Generator, level: int) -> SkillQuestion:
    """What a stick figure does."""
    pose = pick(rng, _known(POSES, level))
    scene, cells = _among(rng, [TileCard("man", (pose,))], level)
    return _looked_up(ACTIVITY, scene, cells, "deed of the man", _DEEDS, POSES.index(pose), also={SCENE: 1})


def fate(rng: np.random.Generator, level: int) -> SkillQuestion:
    """What becomes of a ball that falls."""
    ball, ground = pick(rng, BALLS), pick(rng, _known(GROUNDS, level))
    scene, cells = _among(rng, [TileCard("ball", (ball, ground))], level)
    index = 2 * GROUNDS.index(ground) + BALLS.index(ball)
    return _looked_up(CAUSAL, scene, cells, "fate of the ball", _FATES, index, also={STEM: 1})


def nation(rng: np.random.Generator, level: int) -> SkillQuestion:
    """Whose flag it is."""
    flag = pick(rng, _known(FLAGS, level))
    scene, cells = _among(rng, [TileCard("flag", (flag,))], level)
    return _looked_up(HUMANITIES, scene, cells, "nation of the flag", _NATIONS, FLAGS.index(flag), also={FINE: 1})


def total(rng: np.random.Generator, level: int) -> SkillQuestion:
    """A sum."""
    numbers = _known(NUMBERS, level)
    a, b = pick(rng, numbers), pick(rng, numbers)
    scene, cells = _among(rng, [TileCard("sum", (a, b))], level)
    index = NUMBERS.index(a) + NUMBERS.index(b)
    steps = f"{a} plus {b}: " if chance(rng, 0.3) else ""
    return _looked_up(STEM, scene, cells, "sum", tuple(str(n) for n in range(2, 9)), index, steps=steps,
                      style=STEPS if steps else "", also={OCR: 2})  # fmt: skip


def data(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The bar of a rank: the tallest at level 1, also the lowest at level 2, any at level 3."""
    card = draw_card(rng, "bars")
    scene, cells = _among(rng, [card], level)
    names = ("peak", "pit", "second", "third")
    rank = int(rng.integers(level if level < 3 else 4))
    by_height = sorted(BARS, key=lambda bar: -NUMBERS.index(card.value[BARS.index(bar)]))
    right = by_height[(0, 3, 1, 2)[rank]]
    others = without(tuple(by_height), right)
    stale = by_height[(by_height.index(right) + 1) % len(by_height)]
    return SkillQuestion(DATA, scene, cells, f"{names[rank]} of the bars", right, others, stale, also={COMPARE: 1})


def reading(rng: np.random.Generator, level: int) -> SkillQuestion:
    """The letters of a sign."""
    letters = several(rng, _known(tuple(LETTERS), level), 2)
    scene, cells = _among(rng, [TileCard("sign", tuple(letters))], level)
    right = "".join(letters)
    foreign = [pick(rng, without(tuple(LETTERS), *letters)) for _ in range(2)]
    stale = "".join(tuple(LETTERS)[(tuple(LETTERS).index(letter) + 1) % len(LETTERS)] for letter in letters)
    others = dict.fromkeys((letters[0] + foreign[0], foreign[1] + letters[1], "".join(letters[::-1]), stale))
    return SkillQuestion(
        OCR, scene, cells, "spelling of the sign", right, tuple(o for o in others if o != right), stale
    )


SKILLS: dict[str, Callable[[np.random.Generator, int], SkillQuestion]] = {
    SPATIAL: spatial, ATTRIBUTE: attribute, LOGIC: logic, SCENE: region, FINE: breed, LANGUAGE: language,
    CONTEXT: context, COMPARE: compare, ACTIVITY: deed, CAUSAL: fate, HUMANITIES: nation, STEM: total, DATA: data,
    OCR: reading,
}  # fmt: skip


def draw_question(rng: np.random.Generator, skill: str, level: int, part: Part) -> SkillQuestion:
    """A question about a scene that belongs to `part`."""
    while True:
        question = SKILLS[skill](rng, level)
        if question.scene.part == part:
            return question
