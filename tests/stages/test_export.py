"""An export is what transformers' Auto classes open; with torch, its model computes what ours does."""

from __future__ import annotations

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
import transformers
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.models import module_params
from mmssr_jax.stages import convert, export
from mmssr_jax.training.bundle import load_bundle, random_bundle
from tests import small


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model that the default config starts from and so every run of it, exported."""
    work = Workdir(tmp_path_factory.mktemp("work"))
    ctx = StageContext({"export": {"model": "base"}, "base": "base_tiny"}, work)
    export.run(ctx)
    return load_bundle(export.model_folder(ctx, "base")), work.export("base_tiny")


def test_the_auto_classes_open_a_run_of_the_default_config(exported):
    bundle, folder = exported
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.model_type == "llava_onevision"
    assert config.text_config.vocab_size == bundle.config.decoder.vocab
    assert config.image_grid_pinpoints == [[128, 128]]
    generation = transformers.GenerationConfig.from_pretrained(folder)
    assert generation.eos_token_id == [bundle.tokenizer.im_end, bundle.tokenizer.pad]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids("<image>") == config.image_token_id == bundle.tokenizer.image
    processor = json.loads((folder / "processor_config.json").read_text())
    assert processor == {
        "image_token": "<image>", "num_image_tokens": 64, "processor_class": "LlavaOnevisionProcessor",
        "video_token": "<video>", "vision_aspect_ratio": "anyres_max_9", "vision_feature_select_strategy": "full",
    }  # fmt: skip
    assert json.loads((folder / "video_preprocessor_config.json").read_text())["size"] == {"height": 128, "width": 128}


@pytest.mark.parametrize("generation", [True, False])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_chat_template_gives_the_tokens_that_the_model_was_trained_on(exported, system, generation):
    bundle, folder = exported
    turns = [Turn("user", "Look at\nthis."), Turn("assistant", "A cat."), Turn("user", "Why?")]
    turns += [] if generation else [Turn("assistant", "It's so.")]
    processor = bundle.processor()
    sample = Sample("0", "", tuple(turns), system=system)
    example = processor.encode_prompt(sample) if generation else processor.encode_chat(sample, max_length=1000)
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": t.role, "content": [{"type": "text", "text": t.text}]} for t in turns]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = tokenizer.apply_chat_template(messages, add_generation_prompt=generation, return_dict=False)
    assert list(found) == list(example.tokens)


def test_parts_of_a_message_stand_on_lines_of_their_own(exported):
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported[1])
    parts = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "What?"}]
    text = tokenizer.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    assert text.endswith("<|im_start|>user\n<image>\n<video>\nWhat?<|im_end|>\n")


def test_the_export_read_back_is_the_same_function(exported, tmp_path):
    """Transformers' tower has a norm that ours lacks; nothing else differs."""
    bundle, folder = exported
    ctx = StageContext({"convert": {"source": str(folder), "views": {"mode": "single"}}}, Workdir(tmp_path))
    convert.run(ctx)
    found = load_bundle(tmp_path / "checkpoints" / "converted")
    norm = found.params["vision"].pop("norm")
    np.testing.assert_array_equal(norm["scale"], 1)
    np.testing.assert_array_equal(norm["bias"], 0)
    jax.tree.map(np.testing.assert_array_equal, found.params, bundle.params)
    assert found.tokenizer.encode("What is it?") == bundle.tokenizer.encode("What is it?")


def test_the_video_token_is_the_tokenizers(tmp_path):
    """Where there is room for one, it is added; the id after the image's is an ordinary word's."""
    config, tokenizer = small.bundle().config, small.tokenizer()
    vocab = tokenizer.vocab_size + 8
    roomy = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, vocab=vocab))
    export.write(random_bundle(roomy, tokenizer, seed=0), tmp_path / "a", export.ExportConfig(""))
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "a")
    video = opened.convert_tokens_to_ids("<video>")
    assert json.loads((tmp_path / "a" / "config.json").read_text())["video_token_index"] == video
    assert video == tokenizer.vocab_size
    assert opened("<video>", add_special_tokens=False)["input_ids"] == [video]
    full = random_bundle(config, tokenizer, seed=0)
    assert full.config.decoder.vocab == tokenizer.vocab_size, "every embedding is another token's"
    export.write(full, tmp_path / "b", export.ExportConfig(""))
    assert "video_token_index" not in json.loads((tmp_path / "b" / "config.json").read_text())


def test_transformers_computes_what_we_do(exported):
    """Two images: transformers shows several images as one view each, as the model was trained."""
    torch = pytest.importorskip("torch", reason="the live check needs torch")
    pytest.importorskip("torchvision", reason="LLaVA-OneVision's processor needs torchvision")
    bundle, folder = exported
    draw = np.random.default_rng(0)
    images = [Image.fromarray(draw.integers(0, 255, (128, 128, 3), dtype=np.uint8)) for _ in range(2)]
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "What is it?"}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    inputs = processor(text=text, images=[images], return_tensors="pt")
    with torch.no_grad():
        theirs = model(**inputs).logits[0, -1].numpy()
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        encoded.append(ImageRef(data=buffer.getvalue()))
    prompter = Prompter(bundle.processor(), PromptConfig(rows=1, length_step=1, images=(2,)))
    prompt = prompter.prompt(Sample("0", "", (Turn("user", "<image>\n<image>\nWhat is it?"),), tuple(encoded)))
    assert len(prompt.tokens) == inputs["input_ids"].shape[1]
    batch = prompter.batch([prompt], prompter.shape(prompt))
    length = batch.tokens.shape[1]
    positions, visible = np.arange(length)[None], np.full((1, length), length, np.int32)
    ours = module_params.merge(bundle.graphdef, bundle.params)
    hidden = ours(batch.tokens, batch.pixels, batch.image_index, positions, visible)
    np.testing.assert_allclose(ours.logits(hidden[0, -1]), theirs, atol=1e-4)
