"""Writes vlmevalkit.json: random answers scored by VLMEvalKit itself, with the judge switched off or scripted.

    pip install pandas numpy
    python make_vlmevalkit.py PATH_OF_A_VLMEVALKIT_CHECKOUT COMMIT > vlmevalkit.json

Only the kit's pure scoring files are loaded; its file and logging helpers are replaced by a dictionary.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_WORDS = "A B C D Z a the answer is cat dog red bike yes no Yes No. (A) C. D: 12 12% 0.12 14 1.5 two dont , ; - ?"
WORDS = _WORDS.split(" ")
OPTIONS = ["cat", "dog", "red bike", "a red", "No", "yes", "12", "The answer", "B cell"]
TABLES: dict[str, Any] = {}
rng = random.Random(20261120)


def load_kit(root: Path) -> dict[str, types.ModuleType]:
    """The kit's scoring modules."""

    def module(name: str, **content: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        made.__dict__.update(content)
        sys.modules[name] = made
        return made

    def from_file(name: str, path: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(name, root / "vlmeval" / path)
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        spec.loader.exec_module(made)
        return made

    def istype(text: Any, kind: type) -> bool:
        try:
            return isinstance(text, kind) or isinstance(ast.literal_eval(text), kind)
        except (ValueError, SyntaxError):
            return False

    def track(function, arguments, *, keys, save, **_):
        results = [function(**a) if isinstance(a, dict) else function(*a) for a in arguments]
        TABLES.setdefault(save, {}).update(zip(keys, results, strict=True))
        return results

    misc = (root / "vlmeval/smp/misc.py").read_text()
    with tempfile.TemporaryDirectory() as folder:  # the whole file wants packages that scoring does not
        part = Path(folder) / "punctuation.py"
        part.write_text("import re\n" + misc[misc.index("def process_punctuation") : misc.index("def h2r")])
        punctuation = from_file("punctuation", str(part)).process_punctuation
    quiet = types.SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)
    module("vlmeval").__path__ = [str(root / "vlmeval")]
    module("vlmeval.smp.log", get_logger=lambda *_: quiet)
    module("vlmeval.smp.file", load=TABLES.__getitem__)
    module("vlmeval.smp.vlm", build_option_str=lambda choices: "")
    module(
        "vlmeval.smp", get_logger=lambda *_: quiet, load=TABLES.__getitem__,
        dump=lambda value, path: TABLES.update({path: value}), istype=istype,
        process_punctuation=punctuation, cn_string=lambda text: False,
        d2df=lambda d: pd.DataFrame({k: [v] for k, v in d.items()}), get_pred_file_format=lambda: "tsv",
        timestr=lambda: "", listinstr=lambda names, text: any(n.lower() in text.lower() for n in names),
    )  # fmt: skip
    matching = from_file("vlmeval.utils.matching_util", "utils/matching_util.py")
    module("vlmeval.utils", can_infer=matching.can_infer, can_infer_lego=None, track_progress_rich=track)
    names = {"choice": "multiple_choice", "yn": "yorn", "vista": "mathvista", "vqa": "vqa_eval"}
    return {"match": matching, **{k: from_file(k, f"dataset/utils/{v}.py") for k, v in names.items()}}


def words(most: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, most)))


def choice(letters: str) -> str:
    return rng.choice([*letters, f"{rng.choice(letters)}.", "The answer is B", words(8), words(8)])


def match_cases(kit) -> list[list[Any]]:
    cases = []
    for _ in range(250):
        answer, choices = words(8), {c: rng.choice(OPTIONS) for c in "ABCDE"[: rng.randint(2, 5)]}
        cases.append([answer, choices, kit["match"].can_infer(answer, dict(choices)) or "Z"])
    return cases


def short_cases(kit) -> list[list[Any]]:
    """answer, references -> normal form, VQA accuracy, ANLS, relaxed accuracy."""
    cases = []
    for _ in range(150):
        references = [words(3) for _ in range(rng.randint(1, 10))]
        answer = rng.choice([words(4), rng.choice(references)])
        line = {"answer": str(references), "prediction": answer}
        vqa, anls, relaxed = (
            kit["vqa"].process_line(line, m)["match"] for m in ("vqa_score", "anls", "relaxed_accuracy")
        )
        similar = 1 - min(anls)
        scores = [float(np.mean(vqa)), similar if similar >= 0.5 else 0.0, float(max(relaxed))]
        cases.append([answer, references, kit["vqa"].process_answer(answer), *scores])
    return cases


def mmbench(kit) -> dict[str, Any]:
    rows = []
    for group in range(1, 31):
        options = rng.sample(OPTIONS, rng.choice([2, 3, 4]))
        known, category = rng.random() < 0.5, rng.choice("xy")
        for turn in range(len(options)):
            turned = dict(zip("ABCD", options[turn:] + options[:turn], strict=False))
            answer = "ABCD"[-turn % len(options)]
            prediction = answer if known or rng.random() < 0.3 else choice("ABCD")
            rows.append({"index": group + turn * 1_000_000, "question": "?", **turned, "answer": answer,
                         "category": category, "prediction": prediction})  # fmt: skip
    table = pd.DataFrame(rows)
    hits = kit["choice"].mcq_circular_eval(None, table.copy(), table, 1, "circular.pkl", "MMBench")
    return case(rows, 100 * hits["hit"].mean(), {c: 100 * g["hit"].mean() for c, g in hits.groupby("category")})


def mmmu(kit) -> dict[str, Any]:
    rows = []
    for index in range(60):
        row: dict[str, Any] = {
            "index": index,
            "question": "?",
            "category": rng.choice("xy"),
            "prediction": choice("AB"),
        }
        if rng.random() < 0.3:
            rows.append({**row, "answer": rng.choice(["12", "B", "red bike", "['0.12', '12%']"])})
        else:
            rows.append({**row, "A": "cat", "B": "dog", "C": "red bike", "answer": rng.choice("ABC")})
    table = pd.DataFrame(rows)
    hits = kit["choice"].mcq_vanilla_eval(None, table.copy(), table, 1, "plain.pkl", "MMMU_DEV_VAL")
    return case(rows, 100 * hits["hit"].mean(), {c: 100 * g["hit"].mean() for c, g in hits.groupby("category")})


def mme(kit) -> dict[str, Any]:
    categories = [
        "OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene",
        "code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation",
    ]  # fmt: skip
    said = ["Yes", "No", "yes.", "No, it is", "Yes and no", "maybe"]
    rows: list[dict[str, Any]] = []
    for category in categories:
        for image in range(rng.randint(1, 3)):
            for answer in ("Yes", "No"):
                rows.append({"index": len(rows), "category": category, "image_path": f"{image}.png", "answer": answer,
                             "prediction": rng.choice(said)})  # fmt: skip
    table = pd.DataFrame(rows)
    table["score"] = [kit["yn"].YOrN_Extraction(r["prediction"]) == r["answer"] for r in rows]
    TABLES["mme"] = table
    rating = kit["yn"].MME_rating("mme").iloc[0]
    return case(rows, rating["perception"] + rating["reasoning"], {c: rating[c] for c in categories})


def pope(kit) -> dict[str, Any]:
    sets = ["adversarial", "random,popular", "popular"]
    rows = [
        {"index": i, "category": rng.choice(sets), "answer": rng.choice(["Yes", "No"]),
         "prediction": rng.choice(["Yes", "No", "maybe"])} for i in range(40)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table["extracted"] = [kit["yn"].YOrN_Extraction(r["prediction"]) for r in rows]
    table["score"] = table["extracted"] == table["answer"]
    TABLES["pope"] = table
    rating = kit["yn"].POPE_rating("pope").set_index("split")["Overall"]
    return case(rows, rating["Overall"], {c: rating[c] for c in ("adversarial", "popular", "random")})


def mathvista(kit) -> dict[str, Any]:
    rows, scored = [], []
    for index in range(60):
        row: dict[str, Any] = {"index": index, "question": "?", "task": rng.choice("xy"), "skills": "['s']",
                               "prediction": rng.choice([words(6), "14", "1.5", "B"])}  # fmt: skip
        kind = rng.choice(["choice", "integer", "float"])
        if kind == "choice":
            row |= {"question_type": "multi_choice", "answer_type": "text", "choices": str(rng.sample(OPTIONS, 3)),
                    "answer": "x", "answer_option": rng.choice("ABC")}  # fmt: skip
        else:
            row |= {"question_type": "free_form", "answer_type": kind, "choices": "[]",
                    "answer": {"integer": "14", "float": "1.5"}[kind], "answer_option": "_"}  # fmt: skip
        reply = rng.choice(["14", "1.5", "A", "B", "C", "dog", "x"])
        judge = types.SimpleNamespace(generate=lambda prompt, temperature, reply=reply: reply)
        found = kit["vista"].MathVista_auxeval(judge, pd.Series(row))
        scored.append({**row, **found})
        rows.append(row if found["log"] == "Prefetch succeed" else {**row, "grade": reply})
    TABLES["vista"] = pd.DataFrame(scored)
    accuracy = kit["vista"].MathVista_acc("vista").set_index("Task&Skill")["acc"]
    return case(rows, accuracy["Overall"], {})


def case(rows: list[dict[str, Any]], value: float, categories: dict[str, float]) -> dict[str, Any]:
    return {
        "rows": [{k: str(v) for k, v in row.items()} for row in rows],
        "value": float(value),
        "categories": {k: float(v) for k, v in categories.items()},
    }


def main() -> None:
    kit = load_kit(Path(sys.argv[1]))
    made = {f.__name__: f(kit) for f in (mmbench, mmmu, mme, pope, mathvista)}
    golden = {"kit_commit": sys.argv[2], "match": match_cases(kit), "short": short_cases(kit), "benchmarks": made}
    print(json.dumps(golden, indent=None, separators=(",", ":")))


if __name__ == "__main__":
    main()
