"""docs/evidence.md: every number is rebuilt from the committed results; the sections on literal results."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.composition_run import composition
from configs import evidence
from docs import evidence_text, make_evidence
from mmssr_jax.evaluation.evidence_cells import ArmResult, read_results, write_results

STAGES = {"ours": {"judge": 1.0, "train_scorer": 200.0, "score": 30.0, "select": 9.0}}
# cell -> accuracy in three replicates; all others of the main table are 40, 41, 42
GIVEN = {
    "ours/base": (27.0, 26.0, 28.0),
    "ours/full": (60.0, 62.0, 61.0),
    "ours/random-p10": (40.0, 42.0, 44.0),
    "ours/matched-p10": (41.0, 44.0, 44.0),
    "ours/mmssr-p10": (44.0, 45.0, 49.0),
    "ours/oracle-p10": (50.0, 50.0, 50.0),
}


def make_cell(name: str, value: float) -> ArmResult:
    arm = evidence.Arm(*name.partition("/")[2].split("-"))
    seconds = {"full": 360.0, "base": None}.get(arm.method, 36.0)
    needs = ("judge", "train_scorer", "score", "select") if arm.scored else ("select",)
    skills = {evidence.OCR: value - 2, "stem_knowledge": value, "scene_understanding": value + 2}
    picked = {"rows": 400, "flawed": 0.25} if arm.selects else {}
    return ArmResult("f", needs, value, skills, "d", seconds=seconds, **picked)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of three replicates of the main comparison, without its scorers."""
    for number in range(3):
        values = {name: GIVEN.get(name, (40.0, 41.0, 42.0))[number] for name in make_evidence.main_names()}
        content = {"replicate": number, "config": "cafe", "libraries": {}, "scorers": {}, "stages": STAGES}
        cells = {name: make_cell(name, value) for name, value in values.items()}
        write_results(tmp_path / "main" / f"{number}.json", content, cells)
    return tmp_path


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_page_is_that_of_the_committed_results():
    text = make_evidence.PAGE.read_text(encoding="utf-8")
    assert text == make_evidence.generate(), "run: python docs/make_evidence.py"


def test_the_figures_are_those_of_the_committed_results():
    made = make_evidence.figures(read_results(make_evidence.RESULTS))
    kept = {path.name: path.read_text(encoding="utf-8") for path in make_evidence.RESULTS.glob("*.svg")}
    assert kept == made, "run: python docs/make_evidence.py"


def test_without_results_every_section_says_how_to_get_them(tmp_path: Path):
    text = make_evidence.generate(tmp_path)
    for title, family in {
        "The table": "main", "Mixture and scores": "main", "Cost and break-even": "main", "Diagnosis": "main",
        "Equal tokens": "equal_tokens", "A pool without flaws": "flaw_free", "Ablations": "ablations",
        "Transfer": "transfer", "Rivals": "rivals", "A filter by surprise": "filter",
    }.items():  # fmt: skip
        assert f"Not run yet: `{make_evidence.command(family)}`" in section(text, title)
    assert "benchmarks/ladder.py" in section(text, "The ladder")
    assert make_evidence.figures(read_results(tmp_path)) == {}


def test_the_paragraph_for_a_reader_in_a_hurry(folder: Path):
    text = make_evidence.generate(folder)
    # differences 4, 3, 5 and 1, 2, 0 and 3, 1, 5: deviations 1, 1, 2; t(2) = 4.303
    assert (
        "mmSSR's model is +4.0 (1.5 to 6.5) points from the random tenth's, 3 replicates, 95 % interval wholly above "
        "zero. Of that the mixture of sources and styles makes +1.0 (−1.5 to 3.5) and the scores make +3.0 (−2.0 to "
        "8.0). Selecting took 240 s and training 36 s, together 76.7 % of one training on everything; that is cheaper "
        "than training on everything from 0.7 trainings on; a random selection of this size costs 12.5 % of it."
    ) in " ".join(text.split())


def test_the_rows_of_the_table(folder: Path):
    text = section(make_evidence.generate(folder), "The table")
    assert "Config `cafe`, replicates 0, 1, 2; primary endpoint: +4.0 (1.5 to 6.5), not adjusted." in text
    assert "| mmSSR, ours | 46.0 | +4.0 (1.5 to 6.5) | primary | 75.4 | 3 of 3 | 400 | 25.0 % |" in text
    assert "| random | 42.0 | – | – | 68.8 | – | 400 | 25.0 % |" in text
    assert "| start | 27.0 | −15.0 (" in text
    assert text.count("| mmSSR, paper's scorer |") == 3
    assert text.index("**5 %**") < text.index("**10 %**") < text.index("**30 %**")


def test_a_row_of_fewer_replicates_says_so(folder: Path):
    path = folder / "main" / "2.json"
    saved = json.loads(path.read_text())
    del saved["cells"]["ours/top-p30"]
    path.write_text(json.dumps(saved))
    text = section(make_evidence.generate(folder), "The table")
    assert text.count("| top (2 of 3 replicates) | 40.5 |") == 1
    assert text.count(" replicates) |") == 1


def test_split_cost_and_diagnosis(folder: Path):
    text = make_evidence.generate(folder)
    assert "| 10 % | +4.0 (1.5 to 6.5) | +1.0 (−1.5 to 3.5) | +3.0 (−2.0 to 8.0) |" in section(
        text, "Mixture and scores"
    )
    assert "| mmSSR, ours, p10 | 240 | 36 | 76.7 % | 0.7 |" in section(text, "Cost and break-even")
    assert "| random, p10 | 9 | 36 | 12.5 % | 0.0 |" in section(text, "Cost and break-even")
    assert "Not needed" in section(text, "Diagnosis")


def test_a_filter_is_set_beside_random_and_mmssr(folder: Path):
    for number, values in enumerate(((46.0, 47.0), (45.0, 48.0), (49.0, 52.0))):
        path = folder / "main" / f"{number}.json"
        saved = json.loads(path.read_text())
        for method, value in zip(("unsurprising", "mmssr_unsurprising"), values, strict=True):
            saved["cells"][f"ours/{method}-p10"] = {**saved["cells"]["ours/mmssr-p10"], "value": value, "flawed": 0.07}
        for method, value in (("random", 50.0), ("unsurprising", 48.0 + number)):
            saved["cells"][f"flaws_0/{method}-p10"] = {**saved["cells"]["ours/mmssr-p10"], "value": value}
        path.write_text(json.dumps(saved))
    text = section(make_evidence.generate(folder), "A filter by surprise")
    # random 40, 42, 44; mmSSR 44, 45, 49
    assert "| 10 % | random among them | 46.7 | +4.7 (0.9 to 8.5) | +0.7 (−2.2 to 3.5) | 7.0 % | 3 |" in text
    assert "| 10 % | mmSSR among them | 49.0 | +7.0 (4.5 to 9.5) | +3.0 (3.0 to 3.0) | 7.0 % | 3 |" in text
    assert "What mmSSR's rule adds to random within them: +2.3 (−0.5 to 5.2) at 10 %." in text
    assert "In a pool without flaws, beside its random tenth: random among them −1.0 (−3.5 to 1.5)." in text
    assert "60 % of the pool" in " ".join(text.split())


def test_cells_without_results_are_named(folder: Path):
    """One cell of the transfers and one of the rivals were run: the others are named once, with the command."""
    path = folder / "main" / "0.json"
    saved = json.loads(path.read_text())
    saved["cells"]["ours/icons-p10"] = saved["cells"]["ours/mmssr-p10"]
    path.write_text(json.dumps(saved))
    text = make_evidence.generate(folder)
    rivals = section(text, "Rivals")
    others = [name for name in evidence.rivals() if name != "icons"]
    assert f"Not run yet ({len(others)}): {'; '.join(others)}; `{make_evidence.command('rivals')}`." in rivals
    assert rivals.count("Not run yet") == 1
    transfer = section(text, "Transfer")
    assert (
        transfer.index("**Another model**") < transfer.index("**A capability added**") < transfer.index("Asked for OCR")
    )
    assert "Not run yet" not in section(text, "The table")


def test_a_lost_gain_is_diagnosed(folder: Path):
    path = folder / "main" / "2.json"
    saved = json.loads(path.read_text())
    saved["cells"]["ours/mmssr-p10"]["value"] = 30.0  # 4, 3, -14
    path.write_text(json.dumps(saved))
    text = make_evidence.generate(folder)
    assert "95 % interval not apart from zero" in text
    diagnosis = section(text, "Diagnosis")
    assert "| the scorer: the truth in its place (oracle − mmSSR) | +10.3 (" in diagnosis
    assert "| the training: twice the steps (mmSSR − random) | not run |" in diagnosis
    # 50 in all three, beside the 40, 41, 42 of a random selection without flaws
    assert "| the rule: evening out where nothing is flawed (oracle − unflawed) | +9.0 (6.5 to 11.5) |" in diagnosis


def test_the_ladder_is_computed_from_its_values(folder: Path):
    values = {"clean": [60.0, 62.0], "base": [25.0, 26.0], "whole": [50.0, 50.0], "unflawed": [45.0, 46.0],
              "random": [41.0, 42.0], "oracle": [38.0, 40.0]}  # fmt: skip
    saved = {"config": "beef", "seeds": ["0", "1"], "values": values}
    (folder / "ladder.json").write_text(json.dumps(saved))
    text = section(make_evidence.generate(folder), "The ladder")
    assert "Config `beef`, seeds 0, 1." in text
    assert "| the skills are learnable | +35.5 (29.1 to 41.9) | 30 | no |" in text


def test_figures_are_files_of_their_own(folder: Path):
    made = make_evidence.figures(read_results(folder))
    assert set(made) == {"budgets.svg", "skills.svg"}
    for text in made.values():
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "mmSSR, ours" in [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "![Accuracy by budget" in make_evidence.generate(folder)


def test_every_ablation_of_the_page_is_one_that_is_run():
    planned = {f"{v}/{a}" for family in evidence.FAMILIES.values() for v, arms in family.items() for a in arms}
    shown = {key.partition(" ")[2] for key in evidence_text.LABELS if key.startswith("ablation ")}
    assert shown <= planned
    pools = {key.partition(" ")[2] for key in evidence_text.LABELS if key.startswith("pool ")}
    assert all({f"{pool}/mmssr-p10", f"{pool}/random-p10"} <= planned for pool in pools)


def first_results(folder: Path) -> None:
    """Two replicates of the first comparison, and what their selections and those of a later one consist of."""
    for number, gain in enumerate((-3.0, -5.0)):
        values = {f"ours/{m}-p10": 40.0 + plus for m, plus in
                  {"random": 0.0, "matched": 1.0, "mmssr": gain, "unflawed": 6.0}.items()}  # fmt: skip
        values |= {"flaws_0/random-p10": 50.0, "flaws_0/mmssr-p10": 40.0 + number}
        content = {"replicate": number, "config": "cafe", "libraries": {}, "scorers": {}, "stages": STAGES}
        cells = {name: make_cell(name, value) for name, value in values.items()}
        write_results(folder / "first" / "main" / f"{number}.json", content, cells)
    one = {"flawed": 0.1, "empty": 3, "answers": 3.0, "level": 1.5}
    composed = {"0": {"mmssr-p10": one}, "1": {"mmssr-p10": {**one, "empty": 4, "answers": 3.5}}}
    composed["7"] = {"mmssr-p10": {**one, "empty": 0}, "random-p10": {**one, "empty": None}}
    (folder / "composition.json").write_text(json.dumps(composed))


def test_the_first_comparison_has_a_section_of_its_own(folder: Path):
    before = section(make_evidence.generate(folder), "The table")
    first_results(folder)
    text = make_evidence.generate(folder)
    assert section(text, "The table") == before, "its results are in no other table"
    first = section(text, "The first comparison")
    assert "| 10 % | −4.0 (−16.7 to 8.7) | +1.0 (1.0 to 1.0) | −5.0 (−17.7 to 7.7) | +6.0 (6.0 to 6.0) |" in first
    assert "it lost more (−9.5 (−15.9 to −3.1))" in " ".join(first.split())
    assert "Replicates 0, 1." in first
    assert "| mmSSR | 10.0 % | 3.5 | 3.2 | 1.50 |" in first
    later = section(text, "What the selections consist of")
    assert "Replicates 7." in later
    assert "| random | 10.0 % | – | 3.0 | 1.50 |" in later
    assert "| mmSSR, ours | 10.0 % | 0.0 | 3.0 | 1.50 |" in later


def test_rivals_of_the_first_comparison_count(folder: Path):
    first_results(folder)
    path = folder / "first" / "main" / "0.json"
    saved = json.loads(path.read_text())
    saved["cells"]["ours/icons-p10"] = {**saved["cells"]["ours/random-p10"], "value": 38.0}
    path.write_text(json.dumps(saved))
    rivals = section(make_evidence.generate(folder), "Rivals")
    assert "| icons | 38.0 | −2.0 | 25.0 % | 1 |" in rivals
    assert "| mmSSR, ours | 46.0 | +4.0 (1.5 to 6.5) | 25.0 % | 3 |" in rivals, "this comparison's alone"


def test_what_a_selection_consists_of():
    truth = {
        "a": {"id": "a", "flaw": "", "kind": evidence.OCR, "difficulty": 1},
        "b": {"id": "b", "flaw": "", "kind": evidence.OCR, "difficulty": 3},
        "c": {"id": "c", "flaw": "blank_image", "kind": evidence.OCR, "difficulty": 3},
        "d": {"id": "d", "flaw": "", "kind": "stem_knowledge", "difficulty": 2},
    }
    picks = [{"id": i, "capability": evidence.OCR} for i in "abcd"]
    found = composition(picks, truth, {"a": "x", "b": "y", "c": "z", "d": "x"})
    # two different answers of one skill, one of another, none of the other twelve: (2 + 1) / 14
    assert found == {"flawed": 0.25, "empty": 13, "answers": 0.21, "level": 2.0}
    without = [{**pick, "capability": None} for pick in picks[:2]]
    assert composition(without, truth, {"a": "x", "b": "x"}) == {
        "flawed": 0.0, "empty": None, "answers": 0.07, "level": 2.0,
    }  # fmt: skip
