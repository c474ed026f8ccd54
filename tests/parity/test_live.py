"""Against the installed transformers, with random models in both directions. Needs torch (the bench extra)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.convert.export_hf import export_vlm
from mmssr_jax.convert.import_hf import load_vlm
from mmssr_jax.images.anyres import WeightedIndex, video_feature_index
from tests.parity import reference
from tests.parity.checks import ATOL, compiled, features_and_logits, greedy_tokens, loaded

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e .[bench]")

SIZES = {
    "untied": reference.Size(),
    "tied": reference.Size(image=56, text=(40, 3, 5, 1, 64), tied=True, theta=1e4),
}


@pytest.fixture(scope="module", params=SIZES)
def written(request, tmp_path_factory):
    """A folder of cases and the model they came from."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, reference.write_llava(folder, SIZES[request.param], seed=3)


@pytest.mark.parametrize("case", reference.CASES)
def test_a_fresh_model(written, case):
    folder, _ = written
    path: Path = folder / f"case_{case}.npz"
    for name, found, expected in features_and_logits(path):
        np.testing.assert_allclose(found, expected, atol=ATOL, rtol=0, err_msg=name)
    if case != "several_and_padding":
        _, found, expected = greedy_tokens(path)
        np.testing.assert_array_equal(found, expected)


def test_video_frames_are_pooled(written):
    folder, model = written
    config, (_, params) = loaded(folder)
    side = config.model.vision.image_size
    frames = np.random.default_rng(0).normal(size=(3, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        found = model.model.get_video_features(
            torch.tensor(frames)[None], vision_feature_layer=-1, vision_feature_select_strategy="full"
        )
        expected = getattr(found, "pooler_output", found)[0].numpy()  # the newline at its end
    rows, weights = video_feature_index(3, config.anyres)
    tokens, index = np.zeros((1, len(rows)), np.int32), WeightedIndex(rows[None], weights[None])
    ours = np.asarray(compiled(folder)[0](params, tokens, frames.transpose(0, 2, 3, 1), index))[0]
    np.testing.assert_allclose(ours, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("layout", ["hf", "hf4", "hf5_memory"])
def test_transformers_loads_our_export(written, layout, tmp_path):
    from transformers import LlavaOnevisionForConditionalGeneration

    folder, model = written
    config, (_, params) = load_vlm(folder)
    export_vlm(config, params, tmp_path, layout=layout)
    again, report = LlavaOnevisionForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    expected, found = model.state_dict(), again.state_dict()
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    with np.load(folder / "case_several_and_padding.npz") as case:
        inputs = {k: torch.tensor(case[k]) for k in ("input_ids", "attention_mask", "pixel_values", "image_sizes")}
        inputs["batch_num_images"] = torch.tensor([2])
        with torch.no_grad():
            np.testing.assert_array_equal(again.eval()(**inputs).logits.numpy(), case["logits"])
