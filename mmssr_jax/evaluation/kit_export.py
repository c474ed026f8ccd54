"""Predictions in VLMEvalKit's format, so that VLMEvalKit can score them, with its judge.

VLMEvalKit reads `<model>_<dataset>.tsv` (with `PRED_FORMAT=tsv`): the benchmark's columns without the images, and
`prediction`, every cell quoted.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from absl import logging

from mmssr_jax.core import files


def export_predictions(predictions: Path, folder: Path, *, model: str, dataset: str) -> Path:
    """Writes one prediction table as TSV, unless the file already has this content.

    Args:
      predictions: a run's `<benchmark>.parquet`.
      folder: the output folder.
      model: the run's name.
      dataset: VLMEvalKit's name of the benchmark, such as `MMBench_DEV_EN_V11`.

    Returns:
      The file, `<folder>/<model>_<dataset>.tsv`.

    Raises:
      UserError: there is no such table.
    """
    table = files.read_parquet(predictions)
    columns = [name for name in table.column_names if name != "prediction"] + ["prediction"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] or "" for name in columns] for row in table.to_pylist())
    path = folder / f"{model}_{dataset}.tsv"
    if not path.exists() or path.read_bytes() != buffer.getvalue().encode():
        files.write_text(path, buffer.getvalue())
        logging.info("exported %s", path)
    return path
