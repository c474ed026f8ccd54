import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.judge.api.token_estimates import SCHEMES, image_tokens, patch_count, scheme_of, text_tokens

# (model, width, height, detail) -> tokens, literally from the providers' documentation, September 2026.
DOCUMENTED = [
    # developers.openai.com/api/docs/guides/images-vision: worked examples and table of base tokens
    ("gpt-4o", 1024, 1024, "high", 765),
    ("gpt-4o", 2048, 4096, "high", 1105),
    ("gpt-4o", 4096, 8192, "low", 85),
    ("gpt-4o-mini", 4096, 8192, "low", 2833),
    ("gpt-5.1", 4096, 8192, "low", 70),
    ("gpt-5.4", 1024, 1024, "high", 1229),
    ("gpt-5.4", 2048, 2048, "high", 3000),
]


@pytest.mark.parametrize(("model", "width", "height", "detail", "tokens"), DOCUMENTED)
def test_documented_rows(model, width, height, detail, tokens):
    assert image_tokens(model, width, height, detail) == tokens


@pytest.mark.parametrize(
    ("width", "height", "patches"),
    [(1024, 1024, 1024), (1800, 2400, 1452)],  # OpenAI's worked examples for a budget of 1,536 patches
)
def test_documented_patches(width, height, patches):
    assert patch_count(width, height, 1536) == patches


def test_names_find_their_scheme():
    for prefix, scheme in SCHEMES:
        assert scheme_of(prefix) == scheme, f"{prefix} is hidden behind a shorter name"
    assert scheme_of("openai/gpt-4o-mini-2024-07-18") == scheme_of("gpt-4o-mini")
    assert type(scheme_of("Qwen/Qwen3-VL-8B-Instruct")).__name__ == "Unknown"


@given(
    st.sampled_from([name for name, _ in SCHEMES] + ["other"]),
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.sampled_from(["low", "high", "auto", "original"]),
)
def test_any_size_has_a_positive_count_whichever_way_it_lies(model, width, height, detail):
    assert image_tokens(model, width, height, detail) == image_tokens(model, height, width, detail) > 0


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([1536, 2500, 10_000]))
def test_a_patch_budget_holds(width, height, budget):
    if max(width, height) / min(width, height) < 30:
        assert patch_count(width, height, budget) <= budget


# Counted with OpenAI's o200k_base vocabulary.
COUNTED = [
    ("antidisestablishmentarianism", 6),
    ("2 + 2 = 4", 7),
    ("お誕生日おめでとう", 8),
    ("今天天气很好，我们去公园散步吧。这是一个测试。", 16),
    ("def f(x):\n    return x**2 + sum(i for i in range(10))\n", 19),
    (
        '{"turns":[{"role":"user","content":[{"image":1},"Statement: There is 1 tower with blocks of all 3 colours\\n'
        'Does the image support this statement? Please answer yes or no."]},{"role":"assistant","content":["No"]}]}',
        57,
    ),
]


def test_text_is_close_in_sum():
    counted = sum(n for _, n in COUNTED)
    assert abs(sum(text_tokens(t) for t, _ in COUNTED) - counted) <= 0.1 * counted


@given(st.text(max_size=200))
def test_any_text_has_a_count(text):
    assert 0 <= text_tokens(text) <= 1 + len(text)


def test_json_is_not_free():
    assert text_tokens(json.dumps({"a": [1, 2, 3]})) >= 8
