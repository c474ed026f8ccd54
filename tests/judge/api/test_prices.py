import pytest

from mmssr_jax.judge.api.prices import PRICES, Price, cost, price_of


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-audio-preview", None),
        ("my-model", None),
    ],
)
def test_dated_names_have_the_price_of_their_model(model, name):
    assert price_of(model, PRICES) == ({p.model: p for p in PRICES}[name] if name else None)


def test_cost_of_one_answer():
    price = Price("m", input=2.0, output=10.0, cached=0.5)
    usage = {"prompt_tokens": 1_000_000, "cached_tokens": 400_000, "completion_tokens": 100_000}
    assert cost(usage, price) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    assert cost(usage, price, batch=True) == pytest.approx(1.2)
    assert cost(usage, None) == 0.0
    assert cost({"prompt_tokens": 10, "cached_tokens": 99}, Price("m", 1.0, 1.0)) == pytest.approx(1e-5)


def test_prices_are_not_negative():
    with pytest.raises(ValueError, match="negative"):
        Price("m", -1.0, 2.0)
