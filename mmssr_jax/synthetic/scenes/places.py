"""Landscapes: scene understanding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmssr_jax.synthetic.canvas import BROWN, COLOURS, GREY, INK, RGB, SIZE, SKY, WHITE, Canvas, side_by_side
from mmssr_jax.synthetic.scene import COMPARE, SCENE, SPATIAL, Facts, Scene, chance, pick, several, without
from mmssr_jax.synthetic.words import NAMES, PLACES, a, counted, plural

_GRASS: RGB = (110, 185, 80)
_SAND: RGB = (238, 214, 150)
_NIGHT: RGB = (30, 35, 90)
_DARK_GREEN: RGB = (20, 105, 50)


def place(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """One of eight places by day or night, in sun, rain or snow, with one to three of what is typical of it."""
    name, count = pick(rng, PLACES), int(rng.integers(1, 3 + level // 2))
    weather = pick(rng, tuple(_WEATHER) if level > 1 else ("sun", "moon"))
    side = pick(rng, ("left", "right"))
    canvas = Canvas(style_rng, _sky(weather))
    thing = _PAINTERS[name](canvas, count)
    x = 40 if side == "left" else 216
    _weather(canvas, weather, x)
    does = _WEATHER[weather]
    ask = Facts(rng, SCENE)
    ask.name(name, PLACES, level, "Which place is this?", sentence=f"It is a {name}; {does}.")
    ask.name(name, PLACES, level, "Where could this picture have been taken?", sentence=f"It is a {name}.")
    ask.choice("happens", "", does, (*_WEATHER.values(), "it melts", "it falls"), "What is the weather like?")
    ask.is_it(does, (*_WEATHER.values(), "it melts", "it falls"), "Could one say of the weather: {}?")
    ask.number("count", count, f"How many {plural(thing)} are in the scene?")
    if weather in ("sun", "moon"):
        known = ("top left", "top right", "middle", "bottom left")
        ask.choice("where", "place", f"top {side}", known, f"Where in the sky is the {weather}?", x=weather,
                   point=(x / SIZE, 38 / SIZE), also=((SPATIAL, 2),))  # fmt: skip
        ask.choice("at", "word", weather, ("sun", "moon", "tower", "map"), "What is in the sky?", x=f"top {side}")
    caption = (
        f"{a(name).capitalize()} by {'night' if weather == 'moon' else 'day'}.",
        f"One sees {counted(count, thing)}.",
        f"In the sky {does}{' on the ' + side if weather in ('sun', 'moon') else ''}.",
    )
    return Scene("place", level, (canvas.image,), tuple(ask.all), caption, ((SPATIAL, 1),))


def two_places(rng: np.random.Generator, style_rng: np.random.Generator, level: int) -> Scene:
    """Two places, or twice the same, as panels."""
    is_same = chance(rng, 0.4)
    first = pick(rng, PLACES)
    second = first if is_same else pick(rng, without(PLACES, first))
    skies = [pick(rng, ("sun", "moon")) for _ in range(2)]
    panels = []
    for name, weather in zip((first, second), skies, strict=True):
        canvas = Canvas(style_rng, _sky(weather))
        _PAINTERS[name](canvas, level)
        _weather(canvas, weather, 216)
        panels.append(canvas.image)
    told = f"Both show {a(first)}" if is_same else f"The first shows {a(first)}, the second {a(second)}"
    known = PLACES if level == 3 else several(rng, NAMES, 6)
    ask = Facts(rng, SCENE)
    ask.truth("same", is_same, "Is it the same place twice?", sentence=f"{told}.", extra=1)
    ask.choice("first", "word", first, known, "Which place is on the first panel?")
    ask.choice("last", "word", second, known, "Which place is on the last panel?")
    ask.choice("compare", "", f"{told}; it is {' and '.join('night' if s == 'moon' else 'day' for s in skies)}.", (),
               "Compare the two places.", extra=1)  # fmt: skip
    ask.is_it(first, known, "Is one of the places a {}?")
    caption = (f"Two panels with places: {told[0].lower() + told[1:]}.",)
    return Scene("two_places", level, (side_by_side(panels),), tuple(ask.all), caption, ((COMPARE, 2),))


_WEATHER = {"sun": "the sun shines", "moon": "the moon shines", "rain": "it rains", "snow": "it snows"}


def _sky(weather: str) -> RGB:
    return {"moon": _NIGHT, "sun": SKY}.get(weather, (185, 195, 205))


def _weather(canvas: Canvas, weather: str, x: int) -> None:
    if weather == "sun":
        canvas.disc((x, 38), 27, COLOURS["yellow"], outline=COLOURS["orange"], width=5)
    elif weather == "moon":
        canvas.disc((x, 38), 25, (250, 245, 200))
        canvas.disc((x + 11, 32), 21, _NIGHT)
        for star_x, star_y in ((110, 20), (150, 52), (90, 60)):
            canvas.disc((star_x, star_y), 4, (250, 245, 200))
    elif weather == "rain":
        for i in range(9):
            canvas.line(
                ((20 + 28 * i, 16 + 20 * (i % 3)), (10 + 28 * i, 48 + 20 * (i % 3))), width=5, colour=COLOURS["blue"]
            )
    else:
        for i in range(18):
            canvas.disc((14 + 28 * (i % 9), 14 + 22 * (i // 9) + 9 * (i % 2)), 7, WHITE)


def _spread(count: int) -> list[float]:
    return [SIZE * (i + 0.5) / count for i in range(count)]


def _beach(canvas: Canvas, count: int) -> str:
    canvas.box(0, 120, 256, 190, (40, 110, 205))
    canvas.box(0, 182, 256, 256, _SAND)
    for x in _spread(count):
        canvas.line(((x, 150), (x, 236)), width=6, colour=BROWN)
        canvas.pen.pieslice((x - 40, 116, x + 40, 196), 180, 360, fill=COLOURS["red"])
        canvas.pen.pieslice((x - 14, 116, x + 14, 196), 180, 360, fill=WHITE)
    return "parasol"


def _city(canvas: Canvas, count: int) -> str:
    canvas.box(0, 232, 256, 256, GREY)
    for i, x in enumerate(_spread(count)):
        half, top = min(46, 104 / count), 84 + 26 * (i % 2)
        canvas.box(x - half, top, x + half, 236, (75, 80, 100), outline=INK)
        for row in range(4):
            for column in (-0.5, 0.5):
                canvas.box(
                    x + column * half - 8,
                    top + 14 + 32 * row,
                    x + column * half + 8,
                    top + 32 + 32 * row,
                    COLOURS["yellow"],
                )
    return "house"


def _forest(canvas: Canvas, count: int) -> str:
    canvas.box(0, 200, 256, 256, (60, 130, 60))
    for x in _spread(count):
        canvas.box(x - 8, 190, x + 8, 236, BROWN)
        for k in range(3):
            canvas.polygon(((x, 80 + 34 * k), (x - 38, 136 + 34 * k), (x + 38, 136 + 34 * k)), _DARK_GREEN)
    return "tree"


def _desert(canvas: Canvas, count: int) -> str:
    canvas.box(0, 180, 256, 256, _SAND)
    canvas.pen.pieslice((-80, 140, 190, 300), 180, 360, fill=(226, 190, 110))
    for x in _spread(count):
        canvas.line(((x, 110), (x, 232)), width=20, colour=COLOURS["green"])
        canvas.line(((x - 28, 140), (x - 28, 170), (x, 170)), width=12, colour=COLOURS["green"])
        canvas.line(((x, 184), (x + 28, 184), (x + 28, 150)), width=12, colour=COLOURS["green"])
    return "cactus"


def _mountain(canvas: Canvas, count: int) -> str:
    canvas.box(0, 216, 256, 256, _GRASS)
    for x in _spread(count):
        half = min(110, 150 / count + 20)
        canvas.polygon(((x, 76), (x - half, 220), (x + half, 220)), (120, 112, 112), outline=(90, 84, 84))
        canvas.polygon(((x, 76), (x - half * 0.33, 124), (x, 112), (x + half * 0.33, 124)), WHITE)
    return "peak"


def _street(canvas: Canvas, count: int) -> str:
    canvas.box(0, 120, 256, 170, _GRASS)
    canvas.box(0, 160, 256, 256, (70, 70, 76))
    for i in range(5):
        canvas.box(8 + 54 * i, 240, 38 + 54 * i, 248, WHITE)
    for x in _spread(count):
        half = min(44, 110 / count)
        canvas.box(x - half * 0.6, 158, x + half * 0.6, 190, COLOURS["red"], radius=8)
        canvas.box(x - half * 0.4, 164, x + half * 0.4, 184, SKY)
        canvas.box(x - half, 184, x + half, 216, COLOURS["red"], radius=8)
        for wheel in (-0.55, 0.55):
            canvas.disc((x + wheel * half, 218), 12, INK)
    return "car"


def _farm(canvas: Canvas, count: int) -> str:
    canvas.box(0, 170, 256, 256, _GRASS)
    for i in range(4):
        canvas.line(((0, 240 - 8 * i), (256, 240 - 8 * i)), width=3, colour=(190, 160, 60))
    for x in _spread(count):
        half = min(52, 104 / count)
        canvas.box(x - half, 138, x + half, 214, (170, 40, 40))
        canvas.polygon(((x - half - 8, 140), (x, 90), (x + half + 8, 140)), BROWN)
        canvas.box(x - half * 0.35, 166, x + half * 0.35, 214, WHITE)
        canvas.line(((x - half * 0.35, 166), (x + half * 0.35, 214)), width=4, colour=BROWN)
    return "barn"


def _harbour(canvas: Canvas, count: int) -> str:
    canvas.box(0, 170, 256, 256, (30, 90, 170))
    for x in _spread(count):
        half = min(54, 112 / count)
        canvas.line(((x, 84), (x, 184)), width=6, colour=BROWN)
        canvas.polygon(((x + 5, 88), (x + 5, 168), (x + half, 168)), WHITE)
        canvas.polygon(((x - 5, 104), (x - 5, 168), (x - half * 0.8, 168)), (230, 230, 230))
        canvas.polygon(((x - half, 180), (x + half, 180), (x + half * 0.65, 214), (x - half * 0.65, 214)), BROWN)
    return "boat"


_PAINTERS: dict[str, Callable[[Canvas, int], str]] = {
    "beach": _beach,
    "city": _city,
    "forest": _forest,
    "desert": _desert,
    "mountain": _mountain,
    "street": _street,
    "farm": _farm,
    "harbour": _harbour,
}
