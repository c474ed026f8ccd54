import dataclasses

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.sections.selection_overlap import overlap_sections

from .find import table


def test_the_overlap_appears_once_it_is_known(inputs, tmp_path):
    inputs = dataclasses.replace(inputs, workdir=Workdir(tmp_path))
    assert overlap_sections(inputs) == []
    row = {"method": "random", "target_data": False, "samples": 1200, "total_variation": 0.25, "mean_tokens": None}
    result = {"selections": {"a": row, "b": {**row, "mean_tokens": 40.4, "target_data": True}}, "names": ["a", "b"]}
    files.write_json(inputs.workdir.results("selections"), {**result, "jaccard": [[1.0, 0.125], [0.125, 1.0]]})
    (section,) = overlap_sections(inputs)
    assert table(section, "").rows == [
        ("a", "random", "no", "1,200", "25.0 %", "–"),
        ("b", "random", "yes", "1,200", "25.0 %", "40"),
    ]
    (heat,) = section.blocks[1:]
    assert [(name, [cell.shown for cell in cells]) for name, cells in heat.rows] == [
        ("a", ["1.00", "0.12"]),
        ("b", ["0.12", "1.00"]),
    ]
