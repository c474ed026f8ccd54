"""A contact sheet for visual inspection: samples of a pool with their conversations and ground truth."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from mmssr_jax.core import files
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic.canvas import GREY, INK, WHITE, font, side_by_side
from mmssr_jax.synthetic.generate import POOL, TRUTH

_EDGE, _TEXT, _LINE, _COLUMNS = 192, 15, 18, 5


def contact_sheet(folder: Path, ids: Sequence[str], *, lines: int = 9) -> Image.Image:
    """Renders samples of a pool that `write_pool` or `write_captions` wrote, five in a row.

    Args:
      folder: the pool's folder; if it holds truth.parquet, the truth is printed below the conversation.
      ids: the samples, in order.
      lines: lines of text below each image; longer conversations are truncated.
    """
    records = {r["id"]: r for r in json.loads((folder / POOL).read_text(encoding="utf-8"))}
    truths: dict[str, dict[str, Any]] = {}
    if (folder / TRUTH).exists():
        truths = {row["id"]: row for row in files.read_parquet(folder / TRUTH).to_pylist()}
    height = _EDGE + _LINE * (lines + 3) + 10
    rows = -(-len(ids) // _COLUMNS)
    sheet = Image.new("RGB", ((_EDGE + 20) * _COLUMNS, height * rows), WHITE)
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(ids):
        left, top = (i % _COLUMNS) * (_EDGE + 20) + 10, (i // _COLUMNS) * height + 5
        sheet.paste(_image(folder, records[name]).resize((_EDGE, _EDGE)), (left, top))
        y = top + _EDGE + 4
        for line in _conversation(records[name])[:lines]:
            pen.text((left, y), line, fill=INK, font=font(_TEXT))
            y += _LINE
        for line in _truth(truths.get(name)):
            pen.text((left, y), line, fill=(170, 30, 30), font=font(_TEXT - 2))
            y += _LINE
    return sheet


def _image(folder: Path, record: dict[str, Any]) -> Image.Image:
    names = record.get("image") or []
    names = [names] if isinstance(names, str) else names
    images = [Image.open(files.inside(folder, n)).convert("RGB") for n in names]
    if not images:
        none = Image.new("RGB", (_EDGE, _EDGE), GREY)
        ImageDraw.Draw(none).text((_EDGE / 2, _EDGE / 2), "no image", fill=WHITE, font=font(24), anchor="mm")
        return none
    return images[0] if len(images) == 1 else side_by_side(images)


def _conversation(record: dict[str, Any]) -> list[str]:
    lines = []
    for turn in record["conversations"]:
        text = turn["value"].replace("<image>\n", "")
        mark = "> " if turn["from"] == "human" else "= "
        for piece in text.split("\n"):
            lines += textwrap.wrap(mark + piece, 29) or [""]
            mark = "  "
    return lines


def _truth(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return []
    scores = sorted(((row[s], s) for s in SLUGS if row[s]), reverse=True)[:4]
    listed = ", ".join(f"{slug[:9]} {score}" for score, slug in scores)
    return [*textwrap.wrap(listed, 33)[:2], f"{row['kind']}, {row['styles'][0][:12]}, {row['flaw'] or 'no flaw'}"]
