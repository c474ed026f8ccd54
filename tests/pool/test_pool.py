from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.pool.config import IngestConfig, RecordConfig
from mmssr_jax.pool.pool import Pool, open_pool
from tests.pool.conftest import Record, record

MakePool = Callable[..., Pool]


def _loaded(sample: Sample) -> tuple[str, str, tuple[Turn, ...], tuple[bytes, ...]]:
    """The sample with its images read."""
    return sample.id, sample.source, sample.turns, tuple(image.read() for image in sample.images)


@pytest.fixture(params=[False, True], ids=["in_place", "packed"])
def pool(request: pytest.FixtureRequest, make_pool: MakePool, good_records: list[Record]) -> Pool:
    return make_pool(good_records, packed=request.param)


def test_columns_are_in_the_files_order(pool: Pool):
    assert pool.ids.tolist() == ["text", "one", "several", "null", "other"]
    assert pool.sources.tolist() == ["s", "s", "t", "s", "s"]
    assert pool.n_images.tolist() == [0, 1, 2, 0, 1]
    assert pool.n_turns.tolist() == [2] * 5
    assert pool.index["split"].to_pylist() == ["train"] * 5
    assert pool.index["orig_id"].to_pylist() == pool.ids.tolist()
    assert len(pool) == 5


def test_a_row_is_a_sample(pool: Pool, folder: Path):
    sample = pool[4]
    assert (sample.id, sample.source) == ("other", "s")
    assert sample.turns == (Turn("user", "Is it?\n<image>"), Turn("assistant", "No\0."))
    assert [image.read() for image in sample.images] == [(folder / "images" / "3.jpg").read_bytes()]


def test_both_layouts_hold_the_same(make_pool: MakePool, good_records: list[Record], folder: Path):
    in_place = make_pool(good_records, name="a")
    packed = make_pool(good_records, name="b", packed=True)
    assert [_loaded(s) for s in packed] == [_loaded(s) for s in in_place]
    assert [packed.record_bytes(i) for i in range(5)] == [in_place.record_bytes(i) for i in range(5)]
    shared = ["id", "source", "n_images", "n_turns", "split", "orig_id", "repairs"]
    assert packed.index.select(shared).equals(in_place.index.select(shared))
    assert in_place[1].images == (ImageRef(path=(folder / "images" / "0.jpg").resolve()),)


def test_the_original_record_is_untouched(pool: Pool, good_records: list[Record]):
    assert [pool.record(i) for i in range(len(pool))] == good_records
    assert pool.record_bytes(0) == json.dumps(good_records[0], ensure_ascii=False).encode()


def test_a_repaired_sample_keeps_its_original_record(make_pool: MakePool):
    broken = record("a", image="images/0.jpg")
    for packed in (False, True):
        pool = make_pool([broken], name=f"p{packed}", packed=packed, config=IngestConfig(RecordConfig(repair="llava")))
        assert pool[0].turns[0].text == "<image>\nWhat is a?"
        assert pool.record(0) == broken
        assert pool.index["repairs"].to_pylist() == [["added_image_tag"]]


def test_auto_ids_reach_the_samples(make_pool: MakePool):
    records = [{**record("x"), "id": 5}, {**record("x"), "id": 6}]
    for packed in (False, True):
        pool = make_pool(records, name=f"p{packed}", packed=packed, config=IngestConfig(RecordConfig(id="auto")))
        assert [s.id for s in pool] == pool.ids.tolist()
        assert [i[-2:] for i in pool.ids] == ["-0", "-1"]
        assert [pool.record(i)["id"] for i in range(2)] == [5, 6]


def test_negative_numpy_and_wrong_rows(pool: Pool):
    assert pool[-1].id == "other"
    assert pool[np.int64(1)].id == "one"
    for row in (5, -6):
        with pytest.raises(IndexError, match="of a pool of 5 samples"):
            pool[row]


def test_ids_are_found(pool: Pool):
    assert [pool.position(i) for i in pool.ids] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="has no sample 'absent'"):
        pool.position("absent")
    with pytest.raises(UserError, match="has no sample 'zzz'"):
        pool.position("zzz")


def test_a_subset_is_a_view_in_the_order_requested(pool: Pool):
    view = pool.subset(["other", "text", "several"])
    assert view.ids.tolist() == ["other", "text", "several"]
    assert [s.id for s in view] == ["other", "text", "several"]
    assert view.n_images.tolist() == [1, 0, 2]
    assert view.record(2) == pool.record(2)
    assert view.position("several") == 2
    assert _loaded(view.subset(["several"])[0]) == _loaded(pool[2])
    assert len(pool.subset([])) == 0
    with pytest.raises(UserError, match="has no sample 'one'"):
        view.position("one")
    with pytest.raises(UserError, match="2 of 3 ids are not in the pool, the first is 'b'"):
        pool.subset(np.array(["one", "b", "a"], object))


def test_a_view_survives_pickling(pool: Pool):
    view = pool.subset(["several", "one"])
    again = pickle.loads(pickle.dumps(view))
    assert [_loaded(s) for s in again] == [_loaded(s) for s in view]
    assert len(pickle.dumps(view)) < 1000


def test_many_threads_may_read(pool: Pool):
    expected = [_loaded(s) for s in pool]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: _loaded(pool[i % 5]), range(200))) == expected * 40


def test_a_pool_may_move_with_its_workdir(make_pool: MakePool, good_records: list[Record], folder: Path):
    expected = [_loaded(s) for s in make_pool(good_records)]
    moved = folder.rename(folder.parent / "moved")
    assert [_loaded(s) for s in open_pool(moved / "pool")] == expected


def test_a_file_changed_under_the_pool_is_noticed(make_pool: MakePool, good_records: list[Record], folder: Path):
    make_pool(good_records)
    path = folder / "pool.json"
    path.write_text(path.read_text().replace("What is one?", "What is two?"))
    pool = open_pool(folder / "pool")
    assert pool[0].id == "text"
    with pytest.raises(UserError, match=r"pool\.json was changed after it was ingested \(sample 'one'\)"):
        pool[1]
    path.unlink()
    with pytest.raises(UserError, match=r"pool\.json, which the pool is read from: No such file"):
        open_pool(folder / "pool")[0]


def test_a_image_that_is_gone_is_named(make_pool: MakePool, good_records: list[Record], folder: Path):
    pool = make_pool(good_records)
    (folder / "images" / "0.jpg").unlink()
    with pytest.raises(UserError, match=r"sample 'one' can no longer be read: missing_image: images/0\.jpg"):
        pool[1]


def test_an_unfinished_pool_is_not_opened(tmp_path: Path):
    with pytest.raises(UserError, match="not finished"):
        open_pool(tmp_path)


def test_tfds_and_grain_read_the_packed_pool(make_pool: MakePool, good_records: list[Record]):
    import grain
    import tensorflow_datasets as tfds

    pool = make_pool(good_records, packed=True)
    source = tfds.builder_from_directory(str(pool.folder)).as_data_source(split="train")
    assert [e["id"].decode() for e in source] == pool.ids.tolist()
    assert [s.id for s in grain.MapDataset.source(pool)[::2]] == ["text", "several", "other"]


_READS_IN_A_THREAD = """
import sys, threading
from pathlib import Path
from etils import epy
from mmssr_jax.pool.pool import open_pool

pool = open_pool(Path(sys.argv[1]))
lazy, replaced = epy.lazy_imports, []
epy.lazy_imports = lambda *a, **k: (replaced.append(sys._getframe(1).f_globals["__name__"]), lazy(*a, **k))[1]
thread = threading.Thread(target=lambda: print(pool[0].id))
thread.start()
thread.join()
print(replaced)
"""


def test_reading_in_a_thread_leaves_the_imports_of_others_alone(
    make_pool: MakePool, good_records: list[Record], repo: Path
):
    """TFDS replaces `__import__` while it is imported: a checkpoint that was restored meanwhile ended the run."""
    pool = make_pool(good_records, packed=True)
    command = [sys.executable, "-c", _READS_IN_A_THREAD, str(pool.folder)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout == "text\n[]\n"


def test_an_image_that_changed_after_ingest_is_named(make_pool: MakePool, good_records: list[Record], folder: Path):
    """It would be packed into exports, or trained on, as if it had been checked."""
    make_pool(good_records)
    path = folder / "images" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    pool = open_pool(folder / "pool")
    assert pool[1].id == "one"
    with pytest.raises(UserError, match=r"images of sample 'several' were changed .* --overwrite=ingest"):
        pool[2]


def test_a_pool_without_sizes_of_images_can_be_read(make_pool: MakePool, good_records: list[Record], folder: Path):
    """As earlier versions wrote it."""
    make_pool(good_records)
    index = folder / "pool" / "index.parquet"
    files.write_parquet(index, files.read_parquet(index).drop_columns(["image_bytes"]))
    manifest = files.read_json(folder / "pool" / "manifest.json")
    del manifest["manifest_digest"]  # it had none either
    files.write_json(folder / "pool" / "manifest.json", {**manifest, "index_digest": files.file_digest(index)})
    assert open_pool(folder / "pool")[2].id == "several"


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_index_is_one_line(make_pool: MakePool, good_records: list[Record], folder: Path, packed: bool):
    """A flipped bit of a number can leave a readable table with another content."""
    make_pool(good_records, packed=packed)
    index = folder / "pool" / "index.parquet"
    damaged = bytearray(index.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    index.write_bytes(damaged)
    with pytest.raises(UserError, match=r"index\.parquet: damaged \(its content is not .*--overwrite=ingest"):
        open_pool(folder / "pool")[0]


@pytest.mark.parametrize("change", [{"layout": 3}, {"files": [1]}, {"rules": []}, {"files": None}])
def test_a_damaged_field_of_the_manifest_is_one_line(
    make_pool: MakePool, good_records: list[Record], folder: Path, change: dict[str, object]
):
    make_pool(good_records)
    manifest = files.read_json(folder / "pool" / "manifest.json")
    del manifest["manifest_digest"]
    files.write_json(folder / "pool" / "manifest.json", {**manifest, **change})
    with pytest.raises(UserError, match=r"manifest\.json: damaged|rules: expected"):
        open_pool(folder / "pool")


def test_a_cut_manifest_names_the_stage(make_pool: MakePool, good_records: list[Record], folder: Path):
    make_pool(good_records)
    manifest = folder / "pool" / "manifest.json"
    manifest.write_text(manifest.read_text()[:-9])
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON .*--overwrite=ingest"):
        open_pool(folder / "pool")


def test_other_features_of_a_packed_pool_are_one_line(make_pool: MakePool, good_records: list[Record], folder: Path):
    make_pool(good_records, packed=True)
    features = folder / "pool" / "features.json"
    features.write_text(features.read_text().replace('"role"', '"rule"'))
    with pytest.raises(UserError, match=r"damaged.*--overwrite=ingest"):
        open_pool(folder / "pool")[0]


@pytest.mark.parametrize("damage", [b"", b"\0" * 5000, None])
@pytest.mark.parametrize("pattern", ["*.array_record*", "dataset_info.json", "features.json"])
def test_a_damaged_packed_pool_is_one_line(
    make_pool: MakePool, good_records: list[Record], folder: Path, pattern: str, damage: bytes | None
):
    make_pool(good_records, packed=True)
    for path in (folder / "pool").glob(pattern):
        path.write_bytes(damage if damage is not None else path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(UserError, match=r"pool: damaged \(.*; remake .*pool with --overwrite=ingest") as caught:
        open_pool(folder / "pool")[0]
    assert "\n" not in str(caught.value)
