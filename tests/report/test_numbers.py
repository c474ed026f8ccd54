import pytest

from mmssr_jax.report import numbers


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.count(12345), "12,345"),
        (numbers.count(None), "–"),
        (numbers.with_noun(1, "source"), "1 source"),
        (numbers.with_noun(1500, "source"), "1,500 sources"),
        (numbers.fixed(0.8512), "0.85"),
        (numbers.fixed(-0.004), "0.00"),
        (numbers.fixed(-1.5, 1), "−1.5"),
        (numbers.fixed(float("nan")), "–"),
        (numbers.signed(0.05), "+0.05"),
        (numbers.signed(-0.001), "+0.00"),
        (numbers.percent(0.1234), "12.3 %"),
        (numbers.format_interval([0.8, 0.91]), "0.80 to 0.91"),
        (numbers.format_interval([None, None]), "–"),
        (numbers.seconds(4.26), "4.3 s"),
        (numbers.seconds(75), "1 min 15 s"),
        (numbers.seconds(7500), "2 h 5 min"),
        (numbers.readable("fine_grained_recognition"), "fine-grained recognition"),
        (numbers.readable("my_own"), "my own"),
    ],
)
def test_numbers_are_written_for_people(shown, expected):
    assert shown == expected


def test_capabilities_stand_in_the_order_of_the_rubric():
    assert numbers.in_order(["zeta", "humanities", "alpha", "scene_understanding"]) == [
        "scene_understanding", "humanities", "alpha", "zeta",
    ]  # fmt: skip
