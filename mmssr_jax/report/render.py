"""Renders the sections of a workdir as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping

import jinja2
from markupsafe import Markup

from mmssr_jax.core.sample import Sample
from mmssr_jax.report.blocks import KeyFigures, Section
from mmssr_jax.report.explorer.section import ASSETS, Explorer
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.sections.downstream import downstream_section
from mmssr_jax.report.sections.gallery import gallery_section
from mmssr_jax.report.sections.judge_ratings import judge_section
from mmssr_jax.report.sections.pool_overview import pool_section
from mmssr_jax.report.sections.scorer_report import scorer_section
from mmssr_jax.report.sections.scores import scores_section
from mmssr_jax.report.sections.selection import selection_section
from mmssr_jax.report.sections.times import times_section
from mmssr_jax.report.sections.training import training_section

_STYLES = ("style.css", "explorer.css")

LEAD = (
    "A pool of image-text samples is rated by a judge and scored by a model trained on these ratings; a subset is "
    "selected by capability and style, and models trained on it are evaluated."
)


def build_sections(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> list[Section]:
    """All sections except the times, in page order."""
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


def render(
    inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample], explorer: Explorer | None = None
) -> str:
    """The page as HTML.

    Equal artefacts give equal text, except in the element with the id `times`. The page loads nothing, all text from
    the data is escaped, and a browser runs no script except the explorer's (Content-Security-Policy).

    Args:
      inputs: the artefacts.
      config: sizes and limits.
      samples: the samples of `gallery.choose` and `judge_ratings.disputed`, by id.
      explorer: the pool explorer; None for a page without one, which has no script.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    sections = build_sections(inputs, config, samples)
    return environment.get_template("page.html.j2").render(
        title=inputs.name,
        lead=LEAD,
        style=Markup("".join((ASSETS / name).read_text(encoding="utf-8") for name in _STYLES)),
        explorer=explorer,
        facts=KeyFigures([s.headline for s in sections if s.headline is not None]),
        summary=[note for s in sections for note in s.summary],
        sections=sections,
        times=times_section(inputs),
    )
