"""Image-text similarities: truncated texts, cosines by hand, the mean over images, NaN without an image."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmssr_jax.convert.import_hf import load_clip
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.images.resize import centre_view, square_view
from mmssr_jax.models.module_params import merge
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.scoring.feature_kinds.similarity import ImageTextPair, PairTokenizer, SimilarityExtractor, load_pair
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.scorer import Buckets
from tests.small import PAIR_MARKS, image_text_pair, one_part

START, END = PAIR_MARKS
LENGTH = 12  # of the small pairs


@pytest.fixture(scope="module", params=["clip_pair", "siglip_pair"])
def folder(request: pytest.FixtureRequest, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_text_pair(tmp_path_factory.mktemp(request.param), repo / "tests" / "goldens", request.param)


@pytest.fixture(scope="module")
def pair(folder: Path) -> ImageTextPair:
    return load_pair(folder)


def _image(seed: int, width: int, height: int) -> ImageRef:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    return ImageRef(data=buffer.getvalue())


def _sample(name: str, question: str, answer: str, *images: ImageRef) -> Sample:
    return Sample(name, "s", (Turn("user", "<image>\n" * len(images) + question), Turn("assistant", answer)), images)


IMAGES = (_image(0, 40, 28), _image(1, 28, 61))
SAMPLES = (
    _sample("one", "Ab", "c", IMAGES[0]),
    _sample("none", "ab", "c"),
    _sample("two", "abcdef", "ghijklmnop", *IMAGES),
    _sample("silent", "", "", IMAGES[0]),
)


def test_tokens(pair: ImageTextPair):
    tokens, cut = pair.tokenizer("ab c")
    pad = pair.config.text.pad_token
    assert tokens.tolist() == [START, 10, 11, 12, END] + [pad] * (LENGTH - 5)
    assert cut == 0
    tokens, cut = pair.tokenizer("abcdefghijklmnop")  # the end stays
    assert tokens.tolist() == [START, *range(10, 20), END]
    assert cut == 6
    assert END not in pair.tokenizer("</s>")[0][1:2]  # spelled out in a sample it is text


def _write(pair: ImageTextPair, folder: Path, *, devices: int, images: tuple[int, ...]) -> None:
    extractor = SimilarityExtractor(pair, mesh=make_mesh(devices=jax.devices()[:devices]), max_pixels=10_000)
    buckets = Buckets(2, (128,), images)
    with one_part(folder) as job:
        write_features(SAMPLES, extractor, folder, name="similarity", job=job, buckets=buckets)


def test_columns(pair: ImageTextPair, tmp_path: Path):
    _write(pair, tmp_path, devices=2, images=(0, 1, 2))
    table = pq.read_table(tmp_path / "part-00000-of-00001.parquet")
    assert table.schema.names == ["id", "similarity", "similarity_cut"]
    assert table["id"].to_pylist() == [s.id for s in SAMPLES]
    assert table["similarity_cut"].to_pylist() == [0, 0, 6, 0]
    found = table["similarity"].to_numpy()
    model = merge(pair.graphdef, pair.params)
    view = centre_view if pair.config.crop else square_view
    pixels = np.stack([view(Image.open(io.BytesIO(p.data)), 28) for p in IMAGES])
    texts = model.embed_texts(np.stack([pair.tokenizer(t)[0] for t in ("abc", "abcdefghijklmnop")]))
    cosines = np.asarray(model.embed_images(pixels) @ texts.T)
    np.testing.assert_allclose(found[[0, 2]], [cosines[0, 0], cosines[:, 1].mean()], atol=1e-5)
    assert np.isnan(found[[1, 3]]).all()
    assert abs(found[0] - found[2]) > 1e-3


def test_too_many_images_are_a_reject(pair: ImageTextPair, tmp_path: Path):
    _write(pair, tmp_path, devices=1, images=(1,))
    assert pq.read_table(tmp_path / "part-00000-of-00001.parquet")["id"].to_pylist() == ["one", "none", "silent"]
    assert "at most 1 fit" in (tmp_path / "part-00000-of-00001.rejects.jsonl").read_text()


def test_the_middle_of_a_image():
    image = Image.fromarray(np.arange(28 * 60, dtype=np.uint8).reshape(28, 60)).convert("RGB")
    np.testing.assert_array_equal(centre_view(image, 28), np.asarray(image)[:, 16:44])
    np.testing.assert_array_equal(centre_view(image.rotate(90, expand=True), 28).shape, (28, 28, 3))


def test_what_a_folder_must_hold(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="pair's tokenizer is needed"):
        PairTokenizer(tmp_path / "tokenizer.json", length=12, pad=0)
    shutil.copytree(folder, tmp_path / "pair")
    (tmp_path / "pair" / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 32}}))
    with pytest.raises(UserError, match="the tower takes 28 x 28"):
        load_clip(tmp_path / "pair")
