"""LLaVA-1.5 through the program: converted, answering in its template, exported in its three layouts and read again."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import transformers
from PIL import Image
from safetensors.numpy import load_file

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.vlm_predictor import VLMPredictor
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.models.presets import LLAVA15_VIEWS, preset
from mmssr_jax.scoring.encoder import ScorerEncoder
from mmssr_jax.stages import convert, export
from mmssr_jax.training.bundle import ModelBundle, load_bundle
from tests import small
from tests.data.test_vicuna import core


def context(root, **sections) -> StageContext:
    return StageContext(config=sections, workdir=Workdir(root))


@pytest.fixture(scope="module")
def source(shared, tmp_path_factory):
    """The golden checkpoint as the hub has it, with a tokenizer for its 304 embeddings and Hugging Face's processor."""
    folder = tmp_path_factory.mktemp("llava15") / "source"
    golden = shared / "goldens" / "llava15" / "model_a_hub"
    shutil.copytree(golden, folder, ignore=shutil.ignore_patterns("*.npz"))
    core(image=True, vocab_size=300).save(str(folder / "tokenizer.json"))
    processor = {
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": True, "crop_size": {"height": 56, "width": 56},
        "size": {"shortest_edge": 56}, "resample": 3, "rescale_factor": 0.00392156862745098,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def converted(root, **settings) -> ModelBundle:
    ctx = context(root, convert={**settings, "source": str(settings["source"])})
    convert.run(ctx)
    return load_bundle(ctx.workdir.checkpoints("converted"))


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory) -> ModelBundle:
    return converted(tmp_path_factory.mktemp("converted"), source=source)


def test_converted_as_it_was_trained(bundle, source, tmp_path):
    config = bundle.config
    assert (config.template, config.image_newline, config.views) == ("vicuna", False, LLAVA15_VIEWS)
    assert (config.vision.feature_layer, config.image_tokens) == (-2, 16)
    cropped = converted(tmp_path, source=source, views={"fit": "crop"})
    assert cropped.config.views == dataclasses.replace(LLAVA15_VIEWS, fit="crop")


def test_what_a_model_without_a_newline_cannot_have(bundle):
    with pytest.raises(ValueError, match=r"no image newline: views\.newline must be false"):
        dataclasses.replace(bundle.config, views=dataclasses.replace(LLAVA15_VIEWS, newline=True))


def test_it_answers_and_learns_in_its_template(bundle):
    prompter = Prompter(bundle.processor(), PromptConfig(rows=1, length_step=256, images=(1,)))
    question = Question("0", "<image>\nWhat is it?", (small.picture(9, 9, 200),), {})
    (answer,) = VLMPredictor(bundle.graphdef, bundle.params, prompter).predict([question], max_new_tokens=4)
    assert isinstance(answer, str)
    one = Sample("a", "s", (Turn("user", "<image>\nWhat?"), Turn("assistant", "A cat.")), question.images)
    example = bundle.processor().encode_chat(one, max_length=512)
    assert example.loss_target[-1] == bundle.tokenizer.end


@pytest.mark.parametrize("layout", ["hf", "hf4", "lmms"])
def test_there_and_back(bundle, source, layout, tmp_path):
    """Each layout is read again to the same model; that of the hub has the hub's tensors."""
    export.write(bundle, tmp_path / "theirs", export.ExportConfig("", layout=layout))
    again = converted(tmp_path / "again", source=tmp_path / "theirs")
    assert again.config == bundle.config
    jax.tree.map(np.testing.assert_array_equal, again.params, bundle.params)
    if layout == "hf4":
        expected, found = (load_file(f / "model.safetensors") for f in (source, tmp_path / "theirs"))
        assert sorted(found) == sorted(expected)
        for key, tensor in expected.items():
            np.testing.assert_array_equal(found[key], tensor, err_msg=key)


def test_transformers_opens_what_is_exported(bundle, tmp_path):
    """Its processor shows an image as many tokens as ours, in the same conversation."""
    export.write(bundle, tmp_path, export.ExportConfig("", layout="hf"))
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    image = Image.new("RGB", (90, 60), (200, 10, 10))
    parts = [{"type": "image", "image": image}, {"type": "text", "text": "What is it?"}]
    messages = [
        {"role": "user", "content": parts}, {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]  # fmt: skip
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    found = processor(text=text, images=[image], return_tensors="np", add_special_tokens=False)
    turns = (Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A cat."), Turn("user", "Why?"))
    prompt = bundle.processor().encode_prompt(Sample("0", "", turns, (small.picture(200, 10, 10),)))
    ids, ours = found["input_ids"][0], np.asarray(prompt.tokens)
    is_image = ids == bundle.tokenizer.image
    assert is_image.sum() == bundle.config.image_tokens
    assert len(ids) == len(ours)
    np.testing.assert_array_equal(ids[~is_image], ours[~is_image])


def test_the_presets_are_the_published_sizes():
    seven, thirteen = preset("llava15_7b"), preset("llava15_13b")
    assert (seven.decoder.width, seven.decoder.depth, seven.decoder.mlp, seven.decoder.vocab) == (
        4096,
        32,
        11008,
        32064,
    )
    assert (thirteen.decoder.width, thirteen.decoder.depth, thirteen.decoder.mlp) == (5120, 40, 13824)
    for model in (seven, thirteen):
        assert (model.image_tokens, model.vision.image_size, model.vision.depth) == (576, 336, 24)
        assert (model.vision.feature_layer, model.template, model.views.fit) == (-2, "vicuna", "pad")
        assert (model.decoder.eps, model.decoder.rope_theta, model.decoder.qkv_bias) == (1e-5, 1e4, False)


def test_it_is_no_scorer(bundle):
    """One line says what is missing."""
    with pytest.raises(UserError, match="the tokenizer"):
        ScorerEncoder(bundle.processor(), (), max_prefix=400)
