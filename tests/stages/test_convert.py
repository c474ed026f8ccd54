"""A checkpoint of others through the program: converted, scored with, exported again; and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.stages import convert, export, ingest
from mmssr_jax.stages.score import stage as score_stage
from mmssr_jax.training.bundle import load_bundle, random_bundle
from tests import small
from tests.process_group import ProcessGroup

PROCESSOR = {
    "image_processor_type": "LlavaOnevisionImageProcessor", "do_pad": True, "resample": 3,
    "rescale_factor": 0.00392156862745098, "size": {"height": 42, "width": 42}, "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip


def context(root, **sections) -> StageContext:
    return StageContext(config=sections, workdir=Workdir(root))


@pytest.fixture
def source(repo, tmp_path):
    """The golden checkpoint with a tokenizer that fits its 288 embeddings, and a preprocessor."""
    folder = tmp_path / "source"
    shutil.copytree(repo / "tests/goldens/llava_onevision/model_b", folder, ignore=shutil.ignore_patterns("*.npz"))
    train_tokenizer(["a red cat"], vocab_size=270).save(folder)
    files.write_json(folder / "preprocessor_config.json", PROCESSOR)
    return folder


def test_golden_there_and_back(source, tmp_path):
    ctx = context(
        tmp_path / "run", convert={"source": str(source)}, export={"model": "converted", "layout": "hf4"}
    )  # fmt: skip
    convert.run(ctx)
    bundle = load_bundle(ctx.workdir.checkpoints("converted"))
    assert bundle.config.vision.mean == (0.4, 0.5, 0.6)
    assert bundle.config.anyres == AnyresSpec(tile=42, patch=14)
    assert bundle.config.views.mode == "anyres"  # as it was trained
    assert bundle.tokenizer.encode("a red cat") == load_tokenizer(source).encode("a red cat")
    export.run(ctx)
    folder = tmp_path / "run/exports/converted"
    expected, found = load_file(source / "model.safetensors"), load_file(folder / "model.safetensors")
    assert sorted(found) == sorted(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor, err_msg=key)
    again = context(tmp_path / "again", convert={"source": str(folder)})
    convert.run(again)
    assert load_bundle(again.workdir.checkpoints("converted")).config == bundle.config
    convert.run(ctx)  # done before
    base = str(ctx.workdir.checkpoints("converted"))
    export.run(context(tmp_path / "lmms", export={"model": "base", "layout": "lmms"}, base=base))
    assert "model.mm_projector.0.weight" in load_file(tmp_path / "lmms/exports/converted/model.safetensors")


@pytest.mark.parametrize(("dtype", "kept"), [("stored", "bfloat16"), ("float32", "float32")])
def test_a_checkpoint_in_16_bits_stays_so(source, tmp_path, dtype, kept):
    """On disk as it was, and exactly the same numbers to whoever loads it."""
    tensors = load_file(source / "model.safetensors")
    halved = {key: tensor.astype(ml_dtypes.bfloat16) for key, tensor in tensors.items()}
    save_file(halved, source / "model.safetensors")
    ctx = context(tmp_path / "run", convert={"source": str(source), "dtype": dtype})
    convert.run(ctx)
    folder = ctx.workdir.checkpoints("converted")
    stored = ocp.StandardCheckpointer().metadata(folder.resolve() / "0" / "params").item_metadata.tree
    assert {str(x.dtype) for x in jax.tree.leaves(stored)} == {kept}
    found = load_bundle(folder).params["decoder"]["layers"]["attn"]["q"]["kernel"]
    expected = halved["language_model.model.layers.1.self_attn.q_proj.weight"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1], expected.T.astype(np.float32))


def test_transformers_reads_tokenizer_and_processor_of_an_export(source, tmp_path):
    from transformers import AutoTokenizer
    from transformers.models.llava_onevision import LlavaOnevisionImageProcessorPil

    ctx = context(tmp_path / "run", convert={"source": str(source)}, export={"model": "converted"})
    convert.run(ctx)
    export.run(ctx)
    folder = str(tmp_path / "run/exports/converted")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids("<image>") == json.loads(
        (tmp_path / "run/exports/converted/config.json").read_text()
    )["image_token_index"]  # fmt: skip
    processor = LlavaOnevisionImageProcessorPil.from_pretrained(folder)
    assert list(processor.image_mean) == [0.4, 0.5, 0.6]
    found = processor(Image.new("RGB", (42, 42), (255, 0, 51)), return_tensors="np")
    np.testing.assert_allclose(found["pixel_values"][0, 0, :, 0, 0], [1.2, -1.0, -0.8], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resample": 2}, "resample = 2 is not supported"),
        ({"size": {"shortest_edge": 42}}, "the tower takes 42 x 42"),
        ({"do_normalize": False}, "do_normalize = False is not supported"),
        ({"rescale_factor": 1.0}, "rescale_factor"),
        ({"image_mean": [0.5]}, "expected three numbers"),
        ({"do_center_crop": True}, "'do_center_crop' = True is not supported"),
    ],
)
def test_a_processor_that_we_do_not_have_is_refused(source, tmp_path, change, message):
    files.write_json(source / "preprocessor_config.json", PROCESSOR | change)
    with pytest.raises(UserError, match=message):
        convert.run(context(tmp_path / "run", convert={"source": str(source)}))


def test_a_tokenizer_that_does_not_fit_is_refused(source, tmp_path):
    small.tokenizer().save(tmp_path / "other")
    with pytest.raises(UserError, match="ids up to 559, the model embeddings for 288"):
        convert.run(context(tmp_path / "run", convert={"source": str(source), "tokenizer": str(tmp_path / "other")}))


def test_a_source_without_a_tokenizer_is_refused(source, tmp_path):
    (source / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="holds no tokenizer"):
        convert.run(context(tmp_path / "run", convert={"source": str(source)}))


@pytest.fixture(scope="module")
def model():
    """One that both layouts can express, with a tokenizer that knows the scorer's questions."""
    config = small.bundle().config
    config = VLMConfig(dataclasses.replace(config.vision, final_norm=True), config.decoder)
    return random_bundle(config, small.tokenizer(), seed=3)


@pytest.mark.parametrize("layout", ["hf", "lmms"])
def test_a_converted_model_scores_as_the_one_it_came_from(model, layout, tmp_path):
    """Through the stages: the model is the same on the other side, and the program scores with it."""
    export.write(model, tmp_path / "theirs", export.ExportConfig("", layout=layout))
    for n in range(2):
        Image.new("RGB", (9, 9), (90 * n, 10, 200)).save(tmp_path / f"{n}.png")
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A red cat."}]
    records = [{"id": str(n), "image": f"{n}.png", "conversations": turns} for n in range(2)]
    (tmp_path / "pool.json").write_text(json.dumps(records))
    ctx = context(
        tmp_path / "run", pool={"path": str(tmp_path / "pool.json")},
        convert={"source": str(tmp_path / "theirs"), "views": {"mode": "single"}},
        scorer={"max_prefix": 128, "holdout": 0.0},
        score={"model": "converted", "shards": 1, "buckets": {"rows": 8, "lengths": (640, 1024), "images": (1,)}},
    )  # fmt: skip
    ingest.run(ctx)
    convert.run(ctx)
    found = load_bundle(ctx.workdir.checkpoints("converted"))
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    assert found.config == dataclasses.replace(
        model.config, anyres=AnyresSpec(small.SIZE, small.PATCH, grids=((1, 1),))
    )
    if layout == "lmms":
        return  # the same parameters again
    score_stage.run(ctx)
    table = tables.read_parts(ctx.workdir.scores)
    assert table["id"].to_pylist() == ["0", "1"]
    scores = tables.matrix(table, [c.slug for c in CAPABILITIES])
    assert ((scores >= 0) & (scores <= 5)).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-4, "the pictures differ, and so do their scores"


GROUP_CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({"stages": ("convert",), "convert": {"source": "SOURCE"}, "mesh": MESH})
"""


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [{}, {"data": 1, "fsdp": 2}], ids=["whole", "halves"])
def test_two_processes_convert_together(model, mesh, tmp_path):
    export.write(model, tmp_path / "theirs", export.ExportConfig(""))
    (tmp_path / "config.py").write_text(
        GROUP_CONFIG.replace("SOURCE", str(tmp_path / "theirs")).replace("MESH", str(mesh))
    )
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run"]
    ProcessGroup(command, 2, logs=tmp_path / "first").finish(timeout=200)
    found = load_bundle(tmp_path / "run/checkpoints/converted")
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    said = ProcessGroup(command, 2, logs=tmp_path / "again").finish(timeout=200)
    assert ["convert (converted): done before, nothing to do" in text for text in said] == [True, True]


@pytest.mark.slow
def test_a_checkpoint_that_is_not_there_ends_both_processes(tmp_path):
    (tmp_path / "config.py").write_text(GROUP_CONFIG.replace("SOURCE", "/none").replace("MESH", "{}"))
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run"]
    said = ProcessGroup(command, 2, logs=tmp_path / "logs").finish(timeout=200, status=2)
    assert [text.splitlines()[-1] for text in said] == [
        "error: /none: neither a folder nor a pinned hub id, owner/name@ followed by the 40 hex digits of a commit",
        "error: another process stopped; its error line gives the cause",
    ]
