"""The page: sections built from the artefacts, drawn by the templates, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from mmssr_jax.core.sample import Sample
from mmssr_jax.report.blocks import KeyFigures, Section
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.sections.downstream import downstream_section
from mmssr_jax.report.sections.gallery import gallery_section
from mmssr_jax.report.sections.judge import judge_section
from mmssr_jax.report.sections.pool_overview import pool_section
from mmssr_jax.report.sections.scorer_report import scorer_section
from mmssr_jax.report.sections.scores import scores_section
from mmssr_jax.report.sections.selection import selection_section
from mmssr_jax.report.sections.times import times_section
from mmssr_jax.report.sections.training import training_section

TEMPLATES = Path(__file__).parents[1] / "assets" / "report"

LEAD = (
    "A pool of image-text samples, rated by a judge, scored by a model that learned from the ratings, selected from by "
    "capability and style, trained on and evaluated."
)


def build_sections(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> list[Section]:
    """All sections but the times, in the order of the page."""
    return [
        pool_section(inputs, config),
        judge_section(inputs, config, samples),
        scores_section(inputs, config),
        scorer_section(inputs, config),
        selection_section(inputs, config),
        downstream_section(inputs, config),
        training_section(inputs, config),
        gallery_section(inputs, config, samples),
    ]


def render(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> str:
    """The whole page.

    Equal artefacts give equal text, but for the element with the id `times`. It holds no script, loads nothing, and
    all text of the data is escaped.

    Args:
      inputs: the artefacts.
      config: sizes and limits.
      samples: what `gallery.choose` and `judge.disputed` ask for, by id.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    sections = build_sections(inputs, config, samples)
    return environment.get_template("page.html.j2").render(
        title=inputs.name,
        lead=LEAD,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # our own file
        facts=KeyFigures([s.headline for s in sections if s.headline is not None]),
        sections=sections,
        times=times_section(inputs),
    )
