"""The tasks of MM1.5's further kinds, by name: `procedural.task` of a benchmark, `tasks` of a pool of exercises."""

from __future__ import annotations

from mmssr_jax.procedural.tasks import captions, scenes, screens, several_images, video
from mmssr_jax.procedural.tasks.exercise import Exercise, Task

__all__ = ["TASKS", "Exercise", "Task"]

TASKS: dict[str, Task] = {
    "grounding": scenes.GROUNDING,
    "locating": scenes.LOCATING,
    "referring": scenes.REFERRING,
    "multi_image": several_images.MULTI_IMAGE,
    "few_shot": several_images.FEW_SHOT,
    "video": video.VIDEO,
    "caption": captions.CAPTION,
    "screen_grounding": screens.GROUNDING,
    "screen_referring": screens.REFERRING,
    "screen_taps": screens.TAPS,
    "screen_summary": screens.SUMMARY,
}
