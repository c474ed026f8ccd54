"""Samples to look at: the best picks of each capability and the lowest-scored that stayed behind, each with its why."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.report.blocks import Block, Card, Cards, Section
from mmssr_jax.report.inputs import Inputs, ReportConfig, flaws, rows_of
from mmssr_jax.report.numbers import count, fixed, readable
from mmssr_jax.report.sections.selection import headline_selection
from mmssr_jax.report.thumbnails import thumbnail

MAX_PICTURES = 4
MAX_TURNS = 4
_TAGS = 3
_SAME_SOURCE = 2  # of the lowest, at most as many of one source


@dataclasses.dataclass(frozen=True)
class GallerySample:
    """A sample to show: its row in the scores, under which heading, and why."""

    id: str
    heading: str
    row: int
    why: str


def choose(inputs: Inputs, config: ReportConfig) -> list[GallerySample]:
    """Which samples the gallery shows, in order; none without scores."""
    if inputs.scores is None or not inputs.scores.num_rows:
        return []
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    taken = np.zeros(len(matrix), bool)
    if inputs.selections:
        _, picks = headline_selection(inputs)
        rows = rows_of(picks["id"], inputs.scores)
        taken[rows[rows >= 0]] = True
        best = _best_picked(inputs, matrix, picks, rows, config)
    else:
        best = _best_scored(inputs, matrix, config)
        taken[[s.row for s in best]] = True
    return best + _lowest(inputs, matrix, taken, config)


def gallery_section(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> Section:
    """The section.

    Args:
      inputs: the artefacts.
      config: how many samples, how large.
      samples: those of `choose`, by id; one that is not there is shown without its content.
    """
    title = "Gallery"
    chosen = choose(inputs, config)
    if not chosen:
        return Section("gallery", title, "", missing=["No samples to show: the gallery needs scores/."])
    assert inputs.scores is not None
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    source = inputs.scores["source"]
    warnings = _warnings(inputs, [s.id for s in chosen])
    blocks: list[Block] = []
    for heading in dict.fromkeys(s.heading for s in chosen):
        cards = [
            sample_card(
                s, samples.get(s.id), str(source[s.row].as_py()), _tags(inputs, matrix[s.row]), warnings[s.id], config
            )
            for s in chosen
            if s.heading == heading
        ]
        blocks.append(Cards(cards, title=heading))
    what = f"selection {headline_selection(inputs)[0]}" if inputs.selections else "the pool; nothing was selected yet"
    lead = f"The best samples of each capability in {what}; at the end, what was scored lowest."
    return Section("gallery", title, lead, blocks)


def _best_picked(
    inputs: Inputs, matrix: np.ndarray, picks: pa.Table, rows: np.ndarray, config: ReportConfig
) -> list[GallerySample]:
    """The picks with the highest score in each capability, ties in pick order; each sample stands there once."""
    ids = picks["id"].to_pylist()
    reasons = list(zip(*(picks[c].to_pylist() for c in ("capability", "group", "round")), strict=True))
    used: set[str] = set()
    shown = []
    for c, slug in enumerate(inputs.slugs):
        scores = np.where(rows >= 0, np.nan_to_num(matrix[rows, c], nan=-1.0), -2.0)
        best = (int(i) for i in np.argsort(-scores, kind="stable") if rows[i] >= 0 and ids[i] not in used)
        for i in itertools.islice(best, config.per_capability):
            used.add(ids[i])
            score = f"Scores {fixed(float(matrix[rows[i], c]))} here, {_rank(matrix[:, c], rows[i])}."
            shown.append(
                GallerySample(ids[i], readable(slug), int(rows[i]), f"{score} {_reason(i, len(ids), *reasons[i])}")
            )
    return shown


def _reason(pick: int, picks: int, capability: str | None, group: str | None, round_: int) -> str:
    """Why the selection took its pick number `pick`."""
    style, _, source = str(group).partition("+")
    where = f"as the best left of {style} in {source}" if source else "because its id was asked for"
    number = f"Pick {count(pick + 1)} of {count(picks)}"
    if capability is None and group is None:
        return f"{number}, without regard to capabilities."
    for_what = f" for {readable(capability)}" if capability else ""
    return f"{number}: taken in round {round_}{for_what}, {where}."


def _best_scored(inputs: Inputs, matrix: np.ndarray, config: ReportConfig) -> list[GallerySample]:
    """The highest-scored samples of each capability, where no selection says why; ties by id."""
    assert inputs.scores is not None
    ids = inputs.scores["id"].to_numpy(zero_copy_only=False).astype(str)
    shown = []
    for c, slug in enumerate(inputs.slugs):
        order = np.lexsort((ids, -np.nan_to_num(matrix[:, c], nan=-1.0)))[: config.per_capability]
        for row in order:
            why = f"Scores {fixed(float(matrix[row, c]))} here, {_rank(matrix[:, c], int(row))}."
            shown.append(GallerySample(str(ids[row]), readable(slug), int(row), why))
    return shown


def _lowest(inputs: Inputs, matrix: np.ndarray, taken: np.ndarray, config: ReportConfig) -> list[GallerySample]:
    """Those not taken whose best score is lowest, at most two of a source; ties by id."""
    heading, why = ("Scored lowest, left behind", "Not selected: no") if inputs.selections else ("Scored lowest", "No")
    assert inputs.scores is not None
    best = np.nan_to_num(matrix, nan=-1.0).max(axis=1)
    ids = inputs.scores["id"].to_numpy(zero_copy_only=False).astype(str)
    sources = inputs.scores["source"].to_numpy(zero_copy_only=False).astype(str)
    used: dict[str, int] = {}
    shown: list[GallerySample] = []
    for row in np.lexsort((ids, best)):
        if len(shown) == config.lowest:
            break
        if taken[row] or used.get(sources[row], 0) == _SAME_SOURCE:
            continue
        used[sources[row]] = used.get(sources[row], 0) + 1
        shown.append(
            GallerySample(str(ids[row]), heading, int(row), f"{why} capability scores above {fixed(float(best[row]))}.")
        )
    return shown


def _rank(column: np.ndarray, row: int) -> str:
    above = int(np.sum(column > column[row]))
    return "the highest of the pool" if not above else f"number {count(above + 1)} of {count(len(column))}"


def _tags(inputs: Inputs, scores: np.ndarray) -> list[str]:
    """The highest scores of a sample."""
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:_TAGS]
    return [f"{readable(inputs.slugs[c])} {fixed(float(scores[c]), 1)}" for c in order]


def _warnings(inputs: Inputs, ids: Sequence[str]) -> dict[str, list[str]]:
    """What the truth of a synthetic pool says against a sample."""
    found = flaws(inputs.truth)
    if found is None or inputs.truth is None:
        return {i: [] for i in ids}
    rows = rows_of(pa.chunked_array([pa.array(ids, pa.string())]), inputs.truth)
    names = [found[int(r)].as_py() if r >= 0 else None for r in rows]
    return {i: [f"flaw: {readable(n)}"] if n else [] for i, n in zip(ids, names, strict=True)}


def sample_card(
    shown: GallerySample, sample: Sample | None, source: str, tags: list[str], warnings: list[str], config: ReportConfig
) -> Card:
    """A sample with its pictures made small and its text made short; without `sample` it is named only."""
    if sample is None:
        return Card(
            shown.id, source, [], [("user", "[this sample is not in the pool any more]")], shown.why, tags, warnings
        )
    pictures, unreadable = [], 0
    for image in sample.images[:MAX_PICTURES]:
        try:
            uri = thumbnail(image.read(), config.image_size)
        except OSError:
            uri = None
        unreadable += uri is None
        pictures += [uri] if uri else []
    if unreadable:
        warnings = [*warnings, f"{unreadable} of its pictures cannot be read"]
    if len(sample.images) > MAX_PICTURES:
        tags = [*tags, f"{len(sample.images)} pictures"]
    turns = [(t.role, _cut(t.text, config.text_limit)) for t in sample.turns[:MAX_TURNS]]
    if len(sample.turns) > MAX_TURNS:
        turns.append(("user", f"[{len(sample.turns) - MAX_TURNS} more turns]"))
    return Card(shown.id, source, pictures, [*turns], shown.why, tags, warnings)


def _cut(text: str, limit: int) -> str:
    text = text.replace(IMAGE_TAG, "").strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
