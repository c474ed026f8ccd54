"""Example samples: the best picks of each capability and the lowest-scored samples, each with the reason."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import tables
from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.report.blocks import Block, Card, Cards, Section
from mmssr_jax.report.inputs import Inputs, ReportConfig, flaws, row_indices
from mmssr_jax.report.numbers import count, fixed, readable
from mmssr_jax.report.sections.selection import headline_selection
from mmssr_jax.report.thumbnails import thumbnail

MAX_IMAGES = 4
MAX_TURNS = 4
_TAGS = 3
_MAX_PER_SOURCE = 2  # among the lowest-scored


@dataclasses.dataclass(frozen=True)
class GallerySample:
    """A sample to show: its heading, its row in the score table, and the reason."""

    id: str
    heading: str
    row: int
    why: str


def choose(inputs: Inputs, config: ReportConfig) -> list[GallerySample]:
    """The samples of the gallery, in order; empty without scores."""
    if inputs.scores is None or not inputs.scores.num_rows:
        return []
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    taken = np.zeros(len(matrix), bool)
    if inputs.selections:
        _, picks = headline_selection(inputs)
        rows = row_indices(picks["id"], inputs.scores)
        taken[rows[rows >= 0]] = True
        best = _best_picked(inputs, matrix, picks, rows, config)
    else:
        best = _best_scored(inputs, matrix, config)
        taken[[s.row for s in best]] = True
    return best + _lowest(inputs, matrix, taken, config)


def gallery_section(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> Section:
    """The gallery section.

    Args:
      inputs: the artefacts.
      config: number and size of samples.
      samples: the samples of `choose`, by id; a missing one is shown without its content.
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
    where = f"selection {headline_selection(inputs)[0]}" if inputs.selections else "the pool (no selection exists yet)"
    lead = f"The highest-scored samples of each capability in {where}, then the lowest-scored samples."
    return Section("gallery", title, lead, blocks)


def _best_picked(
    inputs: Inputs, matrix: np.ndarray, picks: pa.Table, rows: np.ndarray, config: ReportConfig
) -> list[GallerySample]:
    """The picks with the highest score in each capability, ties in pick order; each sample appears once."""
    ids = picks["id"].to_pylist()
    reasons = list(zip(*(picks[c].to_pylist() for c in ("capability", "group", "round")), strict=True))
    used: set[str] = set()
    chosen = []
    for c, slug in enumerate(inputs.slugs):
        scores = np.where(rows >= 0, np.nan_to_num(matrix[rows, c], nan=-1.0), -2.0)
        best = (int(i) for i in np.argsort(-scores, kind="stable") if rows[i] >= 0 and ids[i] not in used)
        for i in itertools.islice(best, config.per_capability):
            used.add(ids[i])
            score = f"Scores {fixed(float(matrix[rows[i], c]))} here, {_rank(matrix[:, c], rows[i])}."
            chosen.append(
                GallerySample(ids[i], readable(slug), int(rows[i]), f"{score} {_reason(i, len(ids), *reasons[i])}")
            )
    return chosen


def _reason(pick: int, picks: int, capability: str | None, group: str | None, round_: int) -> str:
    """Why the selection contains its pick number `pick`."""
    style, _, source = str(group).partition("+")
    where = f"as the best remaining sample of {style} in {source}" if source else "because the config requires its id"
    number = f"Pick {count(pick + 1)} of {count(picks)}"
    if capability is None and group is None:
        return f"{number}, independent of capabilities."
    for_what = f" for {readable(capability)}" if capability else ""
    return f"{number}: selected in round {round_}{for_what}, {where}."


def _best_scored(inputs: Inputs, matrix: np.ndarray, config: ReportConfig) -> list[GallerySample]:
    """The highest-scored samples of each capability, if there is no selection; ties by id."""
    assert inputs.scores is not None
    ids, by_id = inputs.scores["id"], _ranks(inputs.scores["id"])
    chosen = []
    for c, slug in enumerate(inputs.slugs):
        order = np.lexsort((by_id, -np.nan_to_num(matrix[:, c], nan=-1.0)))[: config.per_capability]
        for row in order:
            why = f"Scores {fixed(float(matrix[row, c]))} here, {_rank(matrix[:, c], int(row))}."
            chosen.append(GallerySample(ids[int(row)].as_py(), readable(slug), int(row), why))
    return chosen


def _ranks(ids: pa.ChunkedArray) -> np.ndarray:
    """uint64 [rows]: the place of each id among all, without a copy of the ids."""
    return pc.rank(ids, tiebreaker="first").to_numpy()


def _lowest(inputs: Inputs, matrix: np.ndarray, taken: np.ndarray, config: ReportConfig) -> list[GallerySample]:
    """The unselected samples with the lowest maximum score, at most two per source; ties by id."""
    heading, why = ("Scored lowest, not selected", "Not selected: no") if inputs.selections else ("Scored lowest", "No")
    assert inputs.scores is not None
    best = np.nan_to_num(matrix, nan=-1.0).max(axis=1)
    ids = inputs.scores["id"]
    sources = inputs.scores["source"].to_numpy(zero_copy_only=False)
    used: dict[str, int] = {}
    chosen: list[GallerySample] = []
    for row in np.lexsort((_ranks(ids), best)):
        if len(chosen) == config.lowest:
            break
        if taken[row] or used.get(sources[row], 0) == _MAX_PER_SOURCE:
            continue
        used[sources[row]] = used.get(sources[row], 0) + 1
        chosen.append(
            GallerySample(
                ids[int(row)].as_py(), heading, int(row), f"{why} capability scores above {fixed(float(best[row]))}."
            )
        )
    return chosen


def _rank(column: np.ndarray, row: int) -> str:
    above = int(np.sum(column > column[row]))
    return "the highest in the pool" if not above else f"rank {count(above + 1)} of {count(len(column))}"


def _tags(inputs: Inputs, scores: np.ndarray) -> list[str]:
    """The highest scores of a sample."""
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:_TAGS]
    return [f"{readable(inputs.slugs[c])} {fixed(float(scores[c]), 1)}" for c in order]


def _warnings(inputs: Inputs, ids: Sequence[str]) -> dict[str, list[str]]:
    """The flaws of samples of a synthetic pool."""
    column = flaws(inputs.truth)
    if column is None or inputs.truth is None:
        return {i: [] for i in ids}
    rows = row_indices(pa.chunked_array([pa.array(ids, pa.string())]), inputs.truth)
    names = [column[int(r)].as_py() if r >= 0 else None for r in rows]
    return {i: [f"flaw: {readable(n)}"] if n else [] for i, n in zip(ids, names, strict=True)}


def sample_card(
    shown: GallerySample, sample: Sample | None, source: str, tags: list[str], warnings: list[str], config: ReportConfig
) -> Card:
    """A card with thumbnails and truncated text; without `sample` it has only the id and the reason."""
    if sample is None:
        return Card(
            shown.id, source, [], [("user", "[this sample is no longer in the pool]")], shown.why, tags, warnings
        )
    images, unreadable = [], 0
    for image in sample.images[:MAX_IMAGES]:
        try:
            uri = thumbnail(image.read(), config.image_size)
        except OSError:
            uri = None
        unreadable += uri is None
        images += [uri] if uri else []
    if unreadable:
        warnings = [*warnings, f"{unreadable} unreadable image{'' if unreadable == 1 else 's'}"]
    if len(sample.images) > MAX_IMAGES:
        tags = [*tags, f"{len(sample.images)} images"]
    turns = [(t.role, _truncate(t.text, config.text_limit)) for t in sample.turns[:MAX_TURNS]]
    if len(sample.turns) > MAX_TURNS:
        turns.append(("user", f"[{len(sample.turns) - MAX_TURNS} more turns]"))
    return Card(shown.id, source, images, [*turns], shown.why, tags, warnings)


def _truncate(text: str, limit: int) -> str:
    text = text.replace(IMAGE_TAG, "").strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
