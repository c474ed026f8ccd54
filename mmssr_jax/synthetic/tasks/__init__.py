"""Tasks after MM1.5, by name: the setting `synthetic.task` of a benchmark, `tasks` of a pool of exercises."""

from __future__ import annotations

from mmssr_jax.synthetic.tasks import boxes, caption_task, clips, screen_tasks, several_images, told_scenes
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task

__all__ = ["TASKS", "Exercise", "Task"]

TASKS: dict[str, Task] = {
    "grounding": boxes.GROUNDING,
    "locating": boxes.LOCATING,
    "referring": boxes.REFERRING,
    "multi_image": several_images.MULTI_IMAGE,
    "few_shot": several_images.FEW_SHOT,
    "video": clips.VIDEO,
    "caption": caption_task.CAPTION,
    "told": told_scenes.TOLD,
    "screen_grounding": screen_tasks.GROUNDING,
    "screen_referring": screen_tasks.REFERRING,
    "screen_taps": screen_tasks.TAPS,
    "screen_summary": screen_tasks.SUMMARY,
}
