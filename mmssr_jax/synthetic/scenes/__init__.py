"""The scene kinds, one function each: (content rng, style rng, level 1-3) -> Scene.

Facts depend on the content rng and the level alone; the style rng changes only how the scene is rendered. The
functions' names and their order are data: samples record the name, and random choices index the order.
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

SceneFunction = Callable[[np.random.Generator, np.random.Generator, int], Scene]

IMAGE_SCENES: dict[str, SceneFunction] = {
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
TEXT_SCENES: dict[str, SceneFunction] = {
    f.__name__: f for f in (texts.sum_text, texts.order_text, texts.code_text, texts.plain_text)
}
SCENES: dict[str, SceneFunction] = {**IMAGE_SCENES, **TEXT_SCENES}
