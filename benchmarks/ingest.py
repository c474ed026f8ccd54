"""How long it takes, and how much memory, to take in a LLaVA JSON of millions of records; one JSON line.

python benchmarks/ingest.py --rows=2000000

The file is made first, in the folder given by --folder, and not counted. Its records repeat 1,000 small images, of
which the headers are read, so that the numbers are those of the index and not of JPEG decoding.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags
from PIL import Image

from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages import ingest

_ROWS = flags.DEFINE_integer("rows", 2_000_000, "Records of the pool.")
_FOLDER = flags.DEFINE_string("folder", None, "Where the pool is made; a temporary folder by default.")
_ID = flags.DEFINE_string("id", "id", "The field that holds the ids, or auto.")
_MEASURE = flags.DEFINE_bool("measure", False, "Only take in the pool that lies in --folder.")

_WORDS = ("The", "quick", "brown", "fox", "jumps", "over", "12", "très", "petites", "étoiles", "that", "shine", "above")
_PICTURES = 1000
_READS = 10_000


def make_pool(folder: Path, rows: int) -> None:
    """Writes `pool.json` of records of about 1.2 KB, and its images."""
    (folder / "images").mkdir(parents=True)
    for i in range(_PICTURES):
        Image.new("RGB", (64, 48), (i % 256, i // 256, 0)).save(folder / "images" / f"{i:04d}.jpg")
    rng = random.Random(0)
    with open(folder / "pool.json", "w", encoding="utf-8") as f:
        for i in range(rows):
            answers = [" ".join(rng.choices(_WORDS, k=90)) for _ in range(2)]
            turns = [
                {"from": "human", "value": f"<image>\nWhat is shown in picture {i}?"},
                {"from": "gpt", "value": answers[0]},
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": answers[1]},
            ]
            record = {
                "id": f"{i:09d}_{rng.getrandbits(64):016x}",
                "image": f"images/{i % _PICTURES:04d}.jpg",
                "conversations": turns,
                "source": f"source_{i % 90}",
            }
            f.write(("[\n" if i == 0 else ",\n") + json.dumps(record, ensure_ascii=False))
        f.write("\n]\n")


def measure(folder: Path) -> None:
    """Ingests the pool and prints the numbers, in a separate process, so that the peak is the stage's."""
    workdir = Workdir(folder / "work")
    shutil.rmtree(workdir.root, ignore_errors=True)
    config = {"path": str(folder / "pool.json"), "verify_images": "header", "id": _ID.value}
    begin = time.monotonic()
    ingest.run(StageContext({"pool": config}, workdir))
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pool = open_pool(workdir.pool)
    rows = random.Random(1).choices(range(len(pool)), k=_READS)
    begin = time.monotonic()
    for row in rows:
        pool[row]
    read = (time.monotonic() - begin) / _READS
    size = (folder / "pool.json").stat().st_size
    line = {
        "rows": len(pool),
        "json_mib": size >> 20,
        "seconds": round(seconds, 1),
        "peak_mib": peak >> 10,
        "rows_per_second": round(len(pool) / seconds),
        "index_mib": (workdir.pool / "index.parquet").stat().st_size >> 20,
        "random_read_us": round(read * 1e6),
    }
    print(json.dumps(line))


def main(argv: list[str]) -> None:
    if _MEASURE.value:
        assert _FOLDER.value is not None
        measure(Path(_FOLDER.value))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(_FOLDER.value or temporary) / "pool"
        shutil.rmtree(folder, ignore_errors=True)
        make_pool(folder, _ROWS.value)
        subprocess.run([sys.executable, *argv[:1], "--measure", f"--folder={folder}", f"--id={_ID.value}"], check=True)


if __name__ == "__main__":
    app.run(main)
