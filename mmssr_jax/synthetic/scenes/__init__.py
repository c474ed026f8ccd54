"""One function a kind of picture: (content rng, look rng, level 1-3) -> Picture.

Equal content generators and levels give the same facts; the look generator changes only how it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmssr_jax.synthetic.scene import Scene
from mmssr_jax.synthetic.scenes import (  # fmt: skip
    actions,
    causes,
    charts,
    lookalikes,
    places,
    printed,
    puzzles,
    science,
    screens,
    shapes,
    texts,
    world,
)

Kind = Callable[[np.random.Generator, np.random.Generator, int], Scene]

PICTURES: dict[str, Kind] = {
    f.__name__: f
    for f in (
        charts.bar_chart, charts.line_chart, charts.pie_chart,
        printed.sign, printed.receipt, printed.table,
        shapes.layout, shapes.things, shapes.pair, shapes.contest,
        places.place, places.two_places, screens.screen,
        actions.action, actions.sequence, causes.cause, causes.dominoes,
        science.polygon, science.triangle, science.balance, science.circuit, science.molecule,
        lookalikes.specimen, lookalikes.odd_one, lookalikes.twins,
        world.flag, world.landmark, world.timeline,
        puzzles.pattern, puzzles.analogy, puzzles.latin, puzzles.maze, puzzles.series,
    )
}  # fmt: skip
TEXTS: dict[str, Kind] = {f.__name__: f for f in (texts.sum_text, texts.order_text, texts.code_text, texts.plain_text)}
KINDS: dict[str, Kind] = {**PICTURES, **TEXTS}
