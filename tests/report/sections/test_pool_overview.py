from mmssr_jax.report.blocks import Bars, KeyFigures, Note, Table
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.pool_overview import pool_section

from .. import fake
from .find import blocks, table


def test_numbers_equal_the_files(inputs, config):
    section = pool_section(inputs, config)
    (facts,) = blocks(section, KeyFigures)
    assert [(f.label, f.value, f.note) for f in facts.facts] == [
        ("samples", "24", "3 more were rejected"),
        ("sources", "3", ""),
        ("images", "12", "0.50 per sample"),
        ("turns", "54", "2.25 per sample"),
    ]
    sources, flaws = blocks(section, Bars)
    assert [(b.label, b.shown) for b in sources.rows] == [
        (fake.HOSTILE, "8 · 33.3 %"), ("charts", "8 · 33.3 %"), ("scenes", "8 · 33.3 %"),
    ]  # fmt: skip
    assert [(b.label, b.lengths, b.shown) for b in flaws.rows] == [
        ("blank picture", [1.0], "8 · 33.3 %"), ("wrong answer", [0.25], "2 · 8.3 %"),
    ]  # fmt: skip


def test_rejects_by_reason_with_an_example(inputs, config):
    rejects = table(pool_section(inputs, config), "Rejected by ingest")
    assert rejects.rows == [
        ("missing image", "2", "bad1", f"{fake.HOSTILE} is not there"),
        ("empty answer", "1", "bad3", ""),
    ]


def test_no_rejects_no_table(tmp_path, config, nothing):
    fake.add_pool(nothing.workdir)
    (nothing.workdir.pool / "rejects.jsonl").write_text("")
    section = pool_section(read_inputs(nothing.workdir, "x"), config)
    assert "Nothing was rejected" in blocks(section, Note)[0].text
    assert [t.title for t in blocks(section, Table)] == ["", ""]
