"""The files of the official mmSSR program: one file of answers per task, and the parsed table.

    <folder>/<capability>.jsonl   {"idx": 17, "pred_response": "4"}
    <folder>/style.jsonl          {"idx": 17, "pred_response": "yes/no, word/short-phrase"}
    <name>_parsed.csv             idx, one float column per capability, sty_1, sty_2, ... each "style+image_source"

Reading gives a score table in the layout of `core.tables` with str(idx) as the id. Official scores are integers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.tables import capability_slugs, score_schema
from mmssr_jax.core.vocabulary import CAPABILITIES, SLUGS, slugify
from mmssr_jax.selection.format import SelectedSamples

STYLE = "style"
_INTEGER = re.compile(r"\s*[+-]?\d+(_\d+)*\s*")  # what Python's int() accepts
_LONGEST = 300  # characters; a longer integer has no float


def read_jsonl(folder: Path, sources: Mapping[str, str]) -> pa.Table:
    """The score table of a folder of answers.

    Rows are the samples with a line in any capability's file, in order of first occurrence; an answer that is not an
    integer is not a score (counted in the log); a sample without a style line has no styles.

    Args:
      folder: one file per capability and style.jsonl.
      sources: the source of each id, which the answers do not contain.

    Raises:
      UserError: style.jsonl or all capabilities are missing, an idx occurs twice in a file or has no source, or a line
        has no idx or no pred_response.
    """
    paths = {slugify(p.stem): p for p in sorted(folder.glob("*.jsonl")) if p.stem != STYLE}
    if not (folder / f"{STYLE}.jsonl").exists() or not paths:
        raise UserError(
            f"{folder}: needs style.jsonl and one .jsonl per capability, as the official program writes them"
        )
    slugs = [s for s in SLUGS if s in paths] + sorted(set(paths) - set(SLUGS))
    answers = {slug: _answers(paths[slug]) for slug in slugs}
    styles = _answers(folder / f"{STYLE}.jsonl")
    ids = list(dict.fromkeys(id for slug in slugs for id in answers[slug]))
    unknown = next((id for id in ids if id not in sources), None)
    if unknown is not None:
        raise UserError(f"{folder}: idx {unknown!r} is not in the pool, so its source is not known")
    columns: dict[str, Any] = {"id": ids, "source": [sources[id] for id in ids]}
    for slug in slugs:
        columns[slug] = [_score(answers[slug].get(id)) for id in ids]
        bad = sum(1 for answer in answers[slug].values() if _score(answer) is None)
        if bad:
            logging.warning("%s: %d answers are not integers and count as no score", paths[slug], bad)
    columns["styles"] = [_styles(styles.get(id, "")) for id in ids]
    try:
        return pa.table(columns, schema=_schema(slugs))
    except UnicodeEncodeError:
        raise UserError(f"{folder}: an answer holds a lone surrogate, which UTF-8 cannot write") from None


def _schema(slugs: Sequence[str]) -> pa.Schema:
    """The columns of a score table without n_tokens, which the official files do not contain."""
    schema = score_schema(slugs)
    return schema.remove(schema.get_field_index("n_tokens"))


def _answers(path: Path) -> dict[str, str]:
    """pred_response by str(idx)."""
    answers: dict[str, str] = {}
    for number, row in enumerate(files.read_jsonl(path), 1):
        if "idx" not in row or not isinstance(row.get("pred_response"), str):
            raise UserError(f"{path}: line {number} has no idx or no pred_response that is text")
        if str(row["idx"]) in answers:
            raise UserError(f"{path}: idx {row['idx']!r} occurs more than once")
        answers[str(row["idx"])] = row["pred_response"]
    return answers


def _score(answer: str | None) -> float | None:
    is_integer = answer is not None and len(answer) < _LONGEST and _INTEGER.fullmatch(answer)
    return float(int(answer)) if answer is not None and is_integer else None


def _styles(answer: str) -> list[str]:
    """Split at commas, trimmed, blanks and repeats dropped, order kept."""
    return list(dict.fromkeys(s.strip() for s in answer.split(",") if s.strip()))


def write_jsonl(folder: Path, table: pa.Table) -> None:
    """Writes a score table as official answers: scores rounded to integers, "N/A" for missing ones.

    Capabilities get their names with spaces, since the official program splits file names at "_". Ids that are integers
    become integers.

    Raises:
      UserError: the name of a capability cannot be that of a file.
    """
    names = {c.slug: c.name for c in CAPABILITIES}
    ids = [_idx(id) for id in table["id"].to_pylist()]
    for slug in capability_slugs(table):
        scores = table[slug].to_pylist()
        rows = [{"idx": i, "pred_response": _digit(s)} for i, s in zip(ids, scores, strict=True)]
        name = names.get(slug, slug.replace("_", " "))
        if name != Path(name).name:
            raise UserError(f"the score column {slug!r} cannot be the name of a file, which official answers need")
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    answers = [", ".join(styles or ()) for styles in table["styles"].to_pylist()]
    files.write_jsonl(
        folder / f"{STYLE}.jsonl", [{"idx": i, "pred_response": a} for i, a in zip(ids, answers, strict=True)]
    )


def _idx(id: str) -> int | str:
    return int(id) if re.fullmatch(r"0|-?[1-9]\d*", id) else id


def _digit(score: float | None) -> str:
    return "N/A" if score is None or np.isnan(score) else str(int(np.rint(score)))


def read_csv(path: Path, sources: Mapping[str, str] | None = None) -> pa.Table:
    """The score table of a parsed table; its columns are the capabilities, in order.

    Args:
      path: the CSV.
      sources: the source of each id, for rows without a style, which contain none; such rows are rejected if None.

    Raises:
      UserError: the file is missing or has no idx column, or a number, style or source cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as f:
            reader = csv.DictReader(f)
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as e:
        raise UserError(f"{path}: not a readable csv ({e})") from None
    header = list(reader.fieldnames or ())
    if "idx" not in header or not rows:
        raise UserError(f"{path}: has no column idx or no rows; the official parsed table has both")
    slots = sorted((h for h in header if re.fullmatch(r"sty_\d{1,9}", h)), key=lambda h: int(h[4:]))
    capabilities = [h for h in header if h and h != "idx" and h not in slots]
    columns: dict[str, list[Any]] = {"id": [], "source": [], "styles": []}
    columns |= {slugify(c): [] for c in capabilities}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{path}: line {number} does not have the header's number of cells ({len(header)})")
        id = _plain_id(row["idx"])
        pairs = [row[s].split("+", 1) for s in slots if row[s]]
        if any(len(p) != 2 for p in pairs) or len({p[1] for p in pairs}) > 1:
            raise UserError(f"{path}: line {number} (idx {id}): its styles are not all 'style+source' of one source")
        source = pairs[0][1] if pairs else (sources or {}).get(id)
        if source is None:
            raise UserError(f"{path}: line {number} (idx {id}) has no style and no source is known for it")
        columns["id"].append(id)
        columns["source"].append(source)
        columns["styles"].append([p[0] for p in pairs])
        for capability in capabilities:
            columns[slugify(capability)].append(_number(row[capability], path, number))
    return pa.table(columns, schema=_schema([slugify(c) for c in capabilities]))


def _plain_id(idx: str) -> str:
    """pandas writes an integer column after a join as "17.0"."""
    return idx[:-2] if re.fullmatch(r"\d+\.0", idx) else idx


def _number(text: str, path: Path, line: int) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        raise UserError(f"{path}: line {line}: {text!r} is not a score") from None
    return None if value is None or np.isnan(value) else value


def write_csv(path: Path, table: pa.Table) -> None:
    """Writes a score table as a parsed table that the official program reads; scores keep their fractions."""
    slugs = capability_slugs(table)
    styles = [list(dict.fromkeys(s or ())) for s in table["styles"].to_pylist()]
    slots = max(map(len, styles), default=0)
    names = {c.slug: c.name for c in CAPABILITIES}
    columns: Sequence[list[Any]] = [table[n].to_pylist() for n in ("id", "source", *slugs)]
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["idx", *(names.get(s, s) for s in slugs), *(f"sty_{k + 1}" for k in range(slots))])
        for (id, source, *scores), row_styles in zip(zip(*columns, strict=True), styles, strict=True):
            missing = [""] * (slots - len(row_styles))
            writer.writerow(
                [id, *("" if s is None else s for s in scores), *(f"{s}+{source}" for s in row_styles), *missing]
            )


def is_answers(folder: Path) -> bool:
    """Whether a folder contains answers of the official program."""
    return (folder / f"{STYLE}.jsonl").exists()


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `official` with answers and parsed table; a `selection.format.Format`."""
    scores = selected.scores()
    write_jsonl(folder / "official", scores)
    write_csv(folder / "official" / "official_parsed.csv", scores)


FORMAT = export
