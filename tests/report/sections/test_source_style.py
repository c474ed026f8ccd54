from mmssr_jax.report.sections.source_style import source_style_blocks

from .. import fake


def heat(inputs, config, name="mmssr"):
    (block,) = source_style_blocks(inputs, name, inputs.selections[name], config)
    return block


def test_what_was_taken_of_each_cell(inputs, config):
    """Samples 0, 3, ... are scenes and yes/no, 1, 4, ... charts and coordinate, the others have no style."""
    block = heat(inputs, config)
    assert block.columns == ["all styles", "coordinate", "no style", "yes/no"]
    rows = {name: [c.shown for c in cells] for name, cells in block.rows}
    assert rows == {
        "all sources": ["12 %", "12 %", "0 %", "25 %"],  # 3 of 24: s00 and s21 of 8, s22 of 8
        "scenes": ["25 %", "", "", "25 %"],
        "charts": ["12 %", "12 %", "", ""],
        fake.HOSTILE: ["0 %", "", "0 %", ""],
    }
    hints = {name: cells[0].hint for name, cells in block.rows}
    assert hints["scenes"] == "scenes, all styles: 2 of 8 samples, 2.0 × the share of the whole pool"


def test_nothing_without_scores_or_picks(nothing, inputs, config):
    picks = inputs.selections["mmssr"]
    assert source_style_blocks(nothing, "mmssr", picks, config) == []
    assert source_style_blocks(inputs, "mmssr", picks.slice(0, 0), config) == []
