"""The small experiment of the end-to-end tests, with the stages and formats that it leaves out."""

from __future__ import annotations

from ml_collections import ConfigDict

from tests.e2e import small_config

STAGES = (
    "ingest", "judge", "train_scorer", "score", "select", "train", "evaluate", "captions", "convert", "export",
    "report",
)  # fmt: skip


def get_config() -> ConfigDict:
    """Run with --config.base=FOLDER of an exported model and --config.convert.source=FOLDER of one for transformers."""
    c = small_config.get_config()
    c.stages = STAGES
    c.select.selections.mmssr.formats = ("csv", "hf_parquet", "webdataset", "official", "packed")
    c.captions = {"model": "base", "pool": "pool", "name": "captioned", "max_new_tokens": 4, "filter": {"min_words": 1}}
    c.convert = {"source": "", "name": "converted"}
    c.export = {"model": "mmssr_0", "layout": "hf"}
    return c
