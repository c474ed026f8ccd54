from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Cards
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.sections.gallery import choose, gallery_section

from .. import fake
from .find import blocks


def test_best_picks_with_the_reason(inputs, config):
    chosen = choose(inputs, config)
    assert [(s.id, s.heading) for s in chosen[:3]] == [
        ("s00", "scene understanding"), ("s21", "scene understanding"), ("s22", "fine-grained recognition"),
    ]  # fmt: skip
    assert chosen[0].why == (
        "Scores 4.80 here, the highest in the pool. Pick 1 of 3: selected in round 1 for scene understanding, "
        "as the best remaining sample of yes/no in scenes."
    )
    assert chosen[2].why.startswith("Scores 4.40 here, rank 2 of 24. Pick 2 of 3")


def test_the_lowest_are_not_selected_and_of_different_sources(inputs):
    best = fake.scores().max(axis=1)
    lowest = [s for s in choose(inputs, ReportConfig(lowest=7)) if s.heading.startswith("Scored lowest")]
    assert [s.id for s in lowest] == ["s12", "s11", "s13", "s10", "s14", "s09"]  # two of each of three sources
    assert lowest[0].why == f"Not selected: no capability scores above {best[12]:.2f}."


def test_without_a_selection_the_best_of_the_pool(tmp_path, config):
    workdir = Workdir(tmp_path)
    fake.add_scores(workdir)
    chosen = choose(read_inputs(workdir, "x"), config)
    assert [s.id for s in chosen[:4]] == ["s00", "s01", fake.IDS[-1], "s22"]
    assert chosen[0].why == "Scores 4.80 here, the highest in the pool."


def test_cards_show_images_text_scores_and_flaws(inputs, config):
    samples = {s.id: fake.sample(s.id) for s in choose(inputs, config)}
    cards = [c for b in blocks(gallery_section(inputs, config, samples), Cards) for c in b.cards]
    first = cards[0]
    assert first.sample == "s00"
    assert len(first.images) == 1
    assert first.turns == [("user", "What is <b>s00</b>?"), ("assistant", f"It is {fake.HOSTILE} & more.")]
    assert first.tags == ["scene understanding 4.8", "fine-grained recognition 0.0", "rhyme 0.0"]
    assert first.warnings == []
    assert next(c for c in cards if c.sample == "s12").warnings == ["flaw: blank picture"]


def test_long_text_many_turns_and_bad_images_are_reported(inputs, config):
    pictures = tuple(ImageRef(data=fake.picture() if i else b"broken") for i in range(6))
    turns = (Turn("user", "x" * 1000), Turn("assistant", "y")) * 3
    sample = Sample("s00", "scenes", turns, pictures)
    section = gallery_section(inputs, config, {"s00": sample})
    card = blocks(section, Cards)[0].cards[0]
    assert len(card.images) == 3
    assert card.warnings == ["1 unreadable image"]
    assert card.tags[-1] == "6 images"
    assert card.turns[0][1] == "x" * (config.text_limit - 1) + "…"
    assert card.turns[-1] == ("user", "[2 more turns]")


def test_a_sample_that_is_gone_is_named(inputs, config):
    card = blocks(gallery_section(inputs, config, {}), Cards)[0].cards[0]
    assert card.turns == [("user", "[this sample is no longer in the pool]")]
