"""Goldens from transformers and torch, in the format of tests/goldens/llava_onevision/README.md.

    pip install -e .[test,bench]
    python -m tests.parity.reference OUT        writes OUT/llava_onevision/{small_gqa,small_tied,clip_pair,siglip_pair}
    pytest tests/parity --goldens=OUT

The live tests call the same functions. Random weights are scaled such that activations are of order 1: a default
initialisation would hide mistakes.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmssr_jax.images.anyres import AnyresSpec, anyres_layout, single_layout

IMAGE_TOKEN = 90


@dataclasses.dataclass(frozen=True)
class Size:
    """Dimensions of a small LLaVA-OneVision."""

    image: int = 42
    patch: int = 14
    vision: tuple[int, int, int, int] = (32, 2, 4, 48)  # width, depth, heads, mlp
    text: tuple[int, int, int, int, int] = (48, 2, 6, 2, 80)  # width, depth, heads, kv_heads, mlp
    vocab: int = 96
    tied: bool = False
    theta: float = 1e6


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A row: text before each image and after the last, image sizes (height, width); a single image becomes tiles."""

    texts: tuple[int, ...]
    images: tuple[tuple[int, int], ...] = ()


CASES: dict[str, tuple[Prompt, ...]] = {
    "text": (Prompt((9,)),),
    "tiles": (Prompt((3, 6), ((60, 130),)),),
    "shrunk": (Prompt((2, 5), ((250, 243),)),),
    "several_and_padding": (Prompt((2, 1, 4), ((30, 50), (80, 20))), Prompt((5,))),
}


def llava_model(size: Size, *, seed: int) -> Any:
    """A random model in float32, eager attention."""
    import torch
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    width, depth, heads, mlp = size.vision
    vision = SiglipVisionConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=mlp,
        image_size=size.image, patch_size=size.patch, vision_use_head=False,
    )  # fmt: skip
    width, depth, heads, kv_heads, mlp = size.text
    text = Qwen2Config(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=mlp, vocab_size=size.vocab, tie_word_embeddings=size.tied,
        rope_parameters={"rope_type": "default", "rope_theta": size.theta},
    )  # fmt: skip
    pinpoints = [[r * size.image, c * size.image] for r in range(1, 7) for c in range(1, 7)]
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN, video_token_index=IMAGE_TOKEN + 1,
        image_grid_pinpoints=pinpoints, vision_feature_layer=-1, tie_word_embeddings=size.tied,
    )  # fmt: skip
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    randomise(model)
    return model


def randomise(model: Any) -> None:
    """Scales near 1, biases and embeddings of order 0.3 to 1, matrices that keep the size of what they act on."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.0, 0.2)
                if "norm" in name and name.endswith("weight"):
                    parameter.add_(1.0)
            elif "embed" in name:
                parameter.normal_(0.0, 0.7)
            else:
                parameter.normal_(0.0, 1.4 / math.sqrt(math.prod(parameter.shape[1:])))
        model.tie_weights()


def llava_case(model: Any, size: Size, prompts: tuple[Prompt, ...], *, seed: int) -> dict[str, np.ndarray]:
    """One case: inputs, image features, logits, 16 greedy tokens where no row is padded."""
    import torch

    rng = np.random.default_rng(seed)
    spec = AnyresSpec(size.image, size.patch)
    rows, pixels, sizes, tiles, lengths = [], [], [], [], []
    for prompt in prompts:
        ids: list[int] = []
        for i, text in enumerate(prompt.texts):
            ids += rng.integers(1, IMAGE_TOKEN, text).tolist()
            if i < len(prompt.images):
                single = len(prompt.images) > 1
                layout = single_layout(spec) if single else anyres_layout(*prompt.images[i], spec)
                ids += [IMAGE_TOKEN] * layout.tokens
                pixels.append(rng.normal(size=(layout.tiles, 3, size.image, size.image)).astype(np.float32))
                sizes.append(prompt.images[i])
                tiles.append(layout.tiles)
                lengths.append(layout.tokens)
        rows.append(ids)
    L = max(map(len, rows))
    ids = np.array([r + [0] * (L - len(r)) for r in rows])
    mask = np.array([[1] * len(r) + [0] * (L - len(r)) for r in rows])
    case = {
        "input_ids": ids, "attention_mask": mask, "image_sizes": np.array(sizes).reshape(-1, 2),
        "num_tiles": np.array(tiles, int), "feature_lens": np.array(lengths, int),
        "images_per_row": np.array([len(p.images) for p in prompts]),
    }  # fmt: skip
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if pixels:
        padded = np.zeros((len(pixels), max(tiles), *pixels[0].shape[1:]), np.float32)
        for i, p in enumerate(pixels):
            padded[i, : len(p)] = p
        case["pixel_values"] = padded
        inputs |= {"pixel_values": torch.tensor(padded), "image_sizes": torch.tensor(sizes)}
        inputs["batch_num_images"] = torch.tensor([len(p.images) for p in prompts if p.images])
    with torch.no_grad():
        case["logits"] = model(**inputs).logits.numpy()
        if pixels:
            features = model.model.get_image_features(
                inputs["pixel_values"], inputs["image_sizes"], batch_num_images=inputs["batch_num_images"]
            )
            features = getattr(features, "pooler_output", features)
            case["image_features"] = torch.cat(list(features)).numpy()
        if mask.all():
            answer = model.generate(**inputs, max_new_tokens=16, min_new_tokens=16, do_sample=False, pad_token_id=0)
            case["generated"] = answer[:, L:].numpy()
    return case


def write_llava(folder: Path, size: Size, *, seed: int) -> Any:
    """A folder of all `CASES`; returns the model."""
    model = llava_model(size, seed=seed)
    model.save_pretrained(folder)
    for n, (name, prompts) in enumerate(CASES.items()):
        np.savez_compressed(folder / f"case_{name}.npz", **llava_case(model, size, prompts, seed=seed + n))
    return model


def write_clip(folder: Path, *, seed: int) -> Any:
    """A small CLIP with both towers, and one case: images, texts with padding, both embeddings; returns the model."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    vision = CLIPVisionConfig(hidden_size=32, image_size=28, patch_size=14, **sizes)
    text = CLIPTextConfig(hidden_size=24, vocab_size=60, max_position_embeddings=12, eos_token_id=59, **sizes)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16, attn_implementation="eager"
    )
    torch.manual_seed(seed)
    model = CLIPModel(config).eval()
    randomise(model)
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 59, (3, 10))
    for row, end in enumerate((9, 4, 6)):
        ids[row, end] = 59
    return _write_pair(folder, model, ids, rng)


def write_siglip(folder: Path, *, seed: int) -> Any:
    """The same of a small SigLIP, whose texts are read at their last place, padding included; returns the model."""
    import torch
    from transformers import SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    vision = SiglipVisionConfig(image_size=28, patch_size=14, **sizes)
    text = SiglipTextConfig(vocab_size=60, max_position_embeddings=12, **sizes)
    config = SiglipConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), attn_implementation="eager"
    )  # fmt: skip
    torch.manual_seed(seed)
    model = SiglipModel(config).eval()
    randomise(model)
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, 60, (3, 12))
    ids[1, 5:], ids[2, 9:] = 1, 1
    return _write_pair(folder, model, ids, rng)


def _write_pair(folder: Path, model: Any, ids: np.ndarray, rng: np.random.Generator) -> Any:
    """The model of a pair, and its embeddings of two images and of the texts; returns the model."""
    import torch

    model.save_pretrained(folder)
    pixels = rng.normal(size=(2, 3, 28, 28)).astype(np.float32)
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids), pixel_values=torch.tensor(pixels))
    case = {"input_ids": ids, "pixel_values": pixels}
    case |= {"image_embeds": out.image_embeds.numpy(), "text_embeds": out.text_embeds.numpy()}
    np.savez_compressed(folder / "case.npz", **case)
    return model


def main(out: Path) -> None:
    write_llava(out / "llava_onevision" / "small_gqa", Size(), seed=0)
    write_llava(out / "llava_onevision" / "small_tied", Size(text=(40, 3, 5, 1, 64), tied=True, theta=1e4), seed=9)
    write_clip(out / "llava_onevision" / "clip_pair", seed=5)
    write_siglip(out / "llava_onevision" / "siglip_pair", seed=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
