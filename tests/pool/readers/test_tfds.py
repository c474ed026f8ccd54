from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.pool.readers.tfds import Tfds
from tests.pool.conftest import Record, encoded

_TEXT = tfds.features.Text()


def _prepare(
    folder: Path, features: dict[str, Any], examples: list[dict[str, Any]], *, format: str = "array_record"
) -> Path:
    """Writes a set with TFDS itself."""

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        url_infos = None  # nothing is downloaded

        def _info(self) -> tfds.core.DatasetInfo:
            described = tfds.features.FeaturesDict(features)
            return self.dataset_info_from_configs(features=described, disable_shuffling=True, description="")

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            yield from enumerate(examples)

    builder = Small(data_dir=str(folder), file_format=format)
    builder.download_and_prepare()
    return Path(builder.data_dir)


def test_a_packed_pool_reads_back(make_pool: Callable[..., Pool], good_records: list[Record], folder: Path):
    pool = make_pool(good_records, packed=True)
    records = list(Tfds(pool.folder).records(images=True))
    assert [r.value for r in records] == good_records
    assert [r.raw for r in records] == [pool.record_bytes(i) for i in range(len(pool))]
    assert records[2].images == tuple((folder / "images" / f"{i}.jpg").read_bytes() for i in (1, 2))
    assert [r.images for r in Tfds(pool.folder).records(images=False)] == [None] * 5


def test_conversations_and_encoded_images(tmp_path: Path):
    features = {
        "id": _TEXT,
        "data_source": _TEXT,
        "image": tfds.features.Image(),
        "conversations": tfds.features.Sequence({"role": _TEXT, "content": _TEXT}),
    }
    image = encoded(0)
    turns = [{"role": "user", "content": "<image>Qué?"}, {"role": "assistant", "content": "a"}]
    example = {"id": "x", "data_source": "s", "image": io.BytesIO(image), "conversations": turns}
    (record,) = Tfds(_prepare(tmp_path, features, [example])).records(images=True)
    assert record.value == {
        "id": "x", "data_source": "s", "image": "00000000.0",
        "conversations": [{"from": "human", "value": "<image>Qué?"}, {"from": "gpt", "value": "a"}],
    }  # fmt: skip
    assert record.images == (image,)
    assert json.loads(record.raw) == record.value


def test_questions_and_answers_get_the_tags_of_their_images(tmp_path: Path):
    features = {"images": tfds.features.Sequence(tfds.features.Image()), "question": _TEXT, "answer": _TEXT}
    images = [encoded(i, format="PNG") for i in range(2)]
    examples = [
        {"images": [io.BytesIO(p) for p in images], "question": "q", "answer": "a"},
        {"images": [], "question": "q", "answer": "a"},
    ]
    two, none = Tfds(_prepare(tmp_path, features, examples)).records(images=True)
    assert two.value["conversations"][0]["value"] == "<image>\n<image>\nq"
    assert two.value["image"] == ["00000000.0", "00000000.1"]
    assert two.images == tuple(images)
    assert (none.value["conversations"][0]["value"], none.images) == ("q", ())


def test_a_split_is_chosen(make_pool: Callable[..., Pool], good_records: list[Record]):
    pool = make_pool(good_records, packed=True)
    assert [r.value["id"] for r in Tfds(pool.folder, "train[60%:]").records(images=False)] == ["null", "other"]


def test_what_tfds_cannot_read_is_one_line(tmp_path: Path, make_pool: Callable[..., Pool], good_records: list[Record]):
    with pytest.raises(UserError, match="TFDS cannot read split 'train'"):
        Tfds(tmp_path)
    with pytest.raises(UserError, match="TFDS cannot read split 'test'"):
        Tfds(make_pool(good_records, packed=True).folder, "test")
    other = _prepare(tmp_path / "other", {"label": _TEXT}, [{"label": "x"}])
    with pytest.raises(UserError, match=r"has no feature record, .* it has label"):
        Tfds(other)


@pytest.mark.parametrize("pattern", ["*.array_record*", "dataset_info.json", "features.json"])
@pytest.mark.parametrize("keep", [0, 0.3])
def test_a_damaged_file_is_one_line(
    make_pool: Callable[..., Pool], good_records: list[Record], folder: Path, pattern: str, keep: float
):
    make_pool(good_records, packed=True)
    for path in (folder / "pool").glob(pattern):
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(UserError, match=r"pool: (damaged at record 0|TFDS cannot read split)") as caught:
        list(Tfds(folder / "pool").records(images=True))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("feature", [
    {"pythonClassName": "beside_features.Text", "text": {}},
    {"python_class_name": "beside_features.Text", "text": {}},
    {"pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
     "sequence": {"feature": {"pythonClassName": "beside_features.Text", "text": {}}, "length": "-1"}},
    {"type": "beside_features.Text", "content": {}},
    {"type": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
     "content": '{"features": {"x": {"pythonClassName": "beside_features.Text", "text": {}}}}'},
])  # fmt: skip
def test_no_code_beside_a_dataset_is_run(
    make_pool: Callable[..., Pool],
    good_records: list[Record],
    folder: Path,
    feature: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
):
    make_pool(good_records, packed=True)
    path, ran = folder / "pool" / "features.json", folder / "ran"
    described = json.loads(path.read_text())
    described["featuresDict"]["features"]["id"] = feature
    path.write_text(json.dumps(described))
    (folder / "pool" / "beside_features.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.syspath_prepend(str(folder / "pool"))
    line = r"pool/features.json: names the class 'beside_features.Text', which is not part of TFDS"
    with pytest.raises(UserError, match=line):
        Tfds(folder / "pool")
    with pytest.raises(UserError, match=line):
        open_pool(folder / "pool")[0]
    assert not ran.exists()
