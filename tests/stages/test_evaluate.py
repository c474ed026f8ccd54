"""The evaluate stage with a model that is a table of replies."""

from __future__ import annotations

import hashlib
import sys

import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation import benchmarks
from mmssr_jax.evaluation.benchmark import read_benchmark
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from mmssr_jax.synthetic.tasks import TASKS
from tests.evaluation.tsv import FakePredictor, b64, png, write_tsv
from tests.judge.api_server import ApiServer, Reply, completion

ROW = {"image": b64(png()), "A": "cat", "B": "dog", "category": "pets"}
REPLIES = {"0": "A", "1": "A", "2": "A"}


def manifest(run):
    """As of a trained run."""
    return {"stage": "train", "config": {"run": run}, "inputs": {}}


@pytest.fixture
def tsv(tmp_path):
    rows = [{"index": str(i), "question": "Which?", "answer": a, **ROW} for i, a in enumerate("AAB")]
    return write_tsv(tmp_path / "pets.tsv", rows)


@pytest.fixture
def workdir(tmp_path):
    work = Workdir(tmp_path / "work")
    for run in ("first", "second"):
        files.write_json(work.checkpoints(run) / "manifest.json", manifest(run))
    return work


class Models:
    """Makes fake predictors and records for which runs."""

    def __init__(self, replies=REPLIES):
        self.replies, self.made, self.predictors = replies, [], []

    def __call__(self, folder, config):
        self.made.append(folder.name)
        self.predictors.append(FakePredictor(self.replies))
        return self.predictors[-1]


def context(workdir, tsv, *, dry_run=False, overwrite=(), benchmark=None, **section):
    section = {"benchmarks": {"pets": benchmark or {"path": str(tsv)}}, "runs": ("first",), **section}
    return StageContext({"evaluate": section}, workdir, overwrite=frozenset(overwrite), dry_run=dry_run)


def test_predictions_then_results(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv), make_predictor=Models())
    table = pq.read_table(workdir.predictions("first") / "pets.parquet")
    assert table["prediction"].to_pylist() == ["A", "A", "A"]
    result = files.read_json(workdir.results("first"))
    assert result["run"] == "first"
    assert result["benchmarks"]["pets"]["kind"] == "mixed"
    assert result["benchmarks"]["pets"]["value"] == pytest.approx(200 / 3, abs=1e-5)


def test_a_result_names_the_form_of_its_prompts(workdir, tsv):
    """The other form is asked for, and is another result: it is not taken for the first one's."""
    evaluate_stage.run(context(workdir, tsv), make_predictor=Models())
    assert files.read_json(workdir.results("first"))["benchmarks"]["pets"]["prompt"] == "vlmevalkit"
    llava = {"path": str(tsv), "prompt": "llava"}
    with pytest.raises(UserError, match="evaluate"):
        evaluate_stage.run(context(workdir, tsv, benchmark=llava), make_predictor=Models())
    models = Models()
    evaluate_stage.run(context(workdir, tsv, benchmark=llava, overwrite=("evaluate",)), make_predictor=models)
    assert files.read_json(workdir.results("first"))["benchmarks"]["pets"]["prompt"] == "llava"
    assert all("from the given choices directly" in q.prompt for q in models.predictors[0].asked)


def test_the_same_again_loads_no_model_and_leaves_every_byte(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv), make_predictor=Models())

    def state():
        made = [p for p in sorted(workdir.root.rglob("*")) if p.is_file() and p.suffix != ".lock"]
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in made}

    before, models = state(), Models()
    evaluate_stage.run(context(workdir, tsv), make_predictor=models)
    assert models.made == []
    assert state() == before


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 5])
def test_cut_off_and_resumed_equals_uninterrupted(workdir, tsv, tmp_path, limit):
    """Interrupted after `limit` of the six answers of a run and its no-image baseline, then run again."""

    def made(work):
        folders = (work.root / "predictions", work.root / "results")
        return {p.relative_to(work.root): p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()}

    settings = {"blind": ("first",), "save_every": 2}
    whole = Workdir(tmp_path / "whole")
    files.write_json(whole.checkpoints("first") / "manifest.json", manifest("first"))
    evaluate_stage.run(context(whole, tsv, **settings), make_predictor=Models())
    with pytest.raises(KeyboardInterrupt):
        evaluate_stage.run(
            context(workdir, tsv, **settings), make_predictor=lambda folder, config: FakePredictor(REPLIES, limit)
        )
    rest = Models()
    evaluate_stage.run(context(workdir, tsv, **settings), make_predictor=rest)
    assert made(workdir) == made(whole)
    assert 6 - limit <= len(rest.predictors[0].asked) < 6 - limit + 2  # at most one part is asked for again


def test_a_benchmark_can_be_added_later(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv), make_predictor=Models())
    both = {"pets": {"path": str(tsv)}, "again": {"path": str(tsv)}}
    models = Models()
    evaluate_stage.run(context(workdir, tsv, benchmarks=both), make_predictor=models)
    assert len(models.predictors[0].asked) == 3
    assert sorted(files.read_json(workdir.results("first"))["benchmarks"]) == ["again", "pets"]


def test_another_file_or_setting_is_refused_until_overwritten(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv), make_predictor=Models())
    changed = context(workdir, tsv, max_new_tokens=5)
    with pytest.raises(UserError, match=r"made with other settings .*max_new_tokens: 64 -> 5.*--overwrite=evaluate"):
        evaluate_stage.run(changed, make_predictor=Models())
    models = Models({**REPLIES, "2": "B"})
    evaluate_stage.run(context(workdir, tsv, max_new_tokens=5, overwrite=("evaluate",)), make_predictor=models)
    assert models.predictors[0].max_new_tokens == [5]
    assert files.read_json(workdir.results("first"))["benchmarks"]["pets"]["value"] == 100


def test_no_image_baseline_and_trained_runs(workdir, tsv):
    models = Models()
    ctx = context(workdir, tsv, runs=(), blind=("second",))
    evaluate_stage.run(ctx, make_predictor=models, trained_runs=("first", "second"))
    assert models.made == ["first", "second"]  # the baseline shares its run's model
    seeing, blind = models.predictors[1].asked[:3], models.predictors[1].asked[3:]
    digests = [{hashlib.sha256(q.images[0].read()).hexdigest() for q in part} for part in (seeing, blind)]
    assert digests[0].isdisjoint(digests[1])
    assert files.read_json(workdir.results("second_blind"))["run"] == "second_blind"
    entry = files.read_json(workdir.results("second"))["benchmarks"]["pets"]
    assert entry["blind"] == {"value": entry["value"], "gain": 0, "interval": [0, 0]}
    assert "blind" not in files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert not workdir.results("first_blind").exists()


def test_mistakes_are_one_line(workdir, tsv, tmp_path):
    with pytest.raises(UserError, match=r"runs is empty"):
        evaluate_stage.run(context(workdir, tsv, runs=()), make_predictor=Models())
    with pytest.raises(UserError, match=r"results/scorer.json is reserved"):
        evaluate_stage.run(context(workdir, tsv, runs=("scorer",)), make_predictor=Models())
    with pytest.raises(UserError, match=r"blind names 'third'"):
        evaluate_stage.run(context(workdir, tsv, blind=("third",)), make_predictor=Models())
    with pytest.raises(UserError, match=r"model 'third': neither a run"):
        evaluate_stage.run(context(workdir, tsv, runs=("third",)), make_predictor=Models())
    with pytest.raises(UserError, match=r"set either path"):
        evaluate_stage.run(context(workdir, tsv, benchmark={"kind": "yes_no"}), make_predictor=Models())
    with pytest.raises(UserError, match=r"benchmark pets .*index 0: the answer 'A' is neither Yes nor No"):
        evaluate_stage.run(
            context(workdir, tsv, benchmark={"path": str(tsv), "kind": "yes_no"}), make_predictor=Models()
        )
    with pytest.raises(UserError, match=r"'../x' must be a plain file name"):
        evaluate_stage.run(context(workdir, tsv, benchmarks={"../x": {"path": str(tsv)}}), make_predictor=Models())


def test_mistakes_are_found_before_a_model_is_loaded(workdir, tsv):
    models = Models()
    late = {"pets": {"path": str(tsv)}, "late": {"path": "absent.tsv"}}
    with pytest.raises(UserError, match=r"absent.tsv: no such file"):
        evaluate_stage.run(context(workdir, tsv, benchmarks=late), make_predictor=models)
    with pytest.raises(UserError, match=r"model 'third'"):
        evaluate_stage.run(context(workdir, tsv, runs=("first", "third")), make_predictor=models)
    with pytest.raises(UserError, match=r"group 'g': x is not evaluated; runs are first"):
        evaluate_stage.run(context(workdir, tsv, groups={"g": ("x",)}), make_predictor=models)
    assert models.made == []


def test_dry_run_says_what_lacks_and_writes_nothing(workdir, tsv, tmp_path, caplog):
    before = sorted(workdir.root.rglob("*"))
    lacking = write_tsv(tmp_path / "lacking.tsv", [{"index": "0", "question": "?", "A": "cat", "B": "dog"}])
    both = {"pets": {"path": str(tsv)}, "lacking": {"path": str(lacking)}, "absent": {"path": "absent.tsv"}}
    caplog.set_level("INFO")
    with pytest.raises(UserError, match=r"2 of 3 benchmarks cannot be used: .*lacking.tsv: lacks the column answer"):
        evaluate_stage.run(context(workdir, tsv, benchmarks=both, dry_run=True), make_predictor=Models())
    assert "pets: kind mixed, 3 questions, 3 images, 1 categories" in caplog.text
    assert "absent.tsv: no such file" in caplog.text
    judged = {"vet": {"path": str(tsv), "kind": "mmvet"}}
    evaluate_stage.run(context(workdir, tsv, benchmarks=judged, dry_run=True))
    assert "vet: kind mmvet, 3 questions, 3 images, 1 categories; exact match, no judge: set " in caplog.text
    evaluate_stage.run(context(workdir, tsv, benchmarks=judged, dry_run=True, judge={"model": "gpt-4o"}))
    assert "1 categories, graded by gpt-4o" in caplog.text
    assert sorted(workdir.root.rglob("*")) == before


def test_two_exports_to_one_file_are_refused(workdir, tsv):
    both = {"pets": {"path": str(tsv)}, "again": {"path": str(tsv)}}
    with pytest.raises(
        UserError, match=r"benchmarks 'pets' and 'again' would be exported to the same file; set .*again"
    ):
        evaluate_stage.run(context(workdir, tsv, benchmarks=both, export=True), make_predictor=Models())


def test_groups_are_compared_with_seeds_and_no_image_baselines(workdir, tsv):
    groups = {"seeing": ("first", "second"), "blind": ("second_blind",)}
    ctx = context(
        workdir, tsv, runs=("first", "second"), blind=("second",), groups=groups, baseline="blind",
        averages={"general": ("pets",)},
    )  # fmt: skip
    evaluate_stage.run(ctx, make_predictor=Models())
    comparison = files.read_json(workdir.results("comparison"))
    assert comparison["groups"]["seeing"]["runs"] == ["first", "second"]
    assert comparison["differences"]["seeing"]["pets"]["mean"] == 0
    assert comparison["groups"]["seeing"]["averages"]["general"]["mean"] == pytest.approx(200 / 3, abs=1e-5)
    averages = files.read_json(workdir.results("first"))["averages"]
    assert averages == {"all": pytest.approx(200 / 3, abs=1e-5), "general": pytest.approx(200 / 3, abs=1e-5)}


def test_a_synthetic_benchmark_is_generated_once(workdir):
    bench = {"synthetic": {"questions": 30, "seed": 5}}
    models = Models(dict.fromkeys(map(str, range(30)), "yes"))
    evaluate_stage.run(context(workdir, None, benchmark=bench), make_predictor=models)
    path = workdir.root / "benchmarks" / "pets" / "pets.tsv"
    entry = files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert entry["questions"] == 30
    assert {name for name, group in entry["groups"]["type"].items() if group["value"] > 0} == {"yes/no"}
    assert 0 < entry["more"]["chance"] < 50
    before = path.stat().st_mtime_ns
    evaluate_stage.run(context(workdir, None, benchmark=bench), make_predictor=models)
    assert path.stat().st_mtime_ns == before


def test_the_gain_over_the_no_image_baseline_is_reported(workdir, tsv, caplog):
    class Seeing(FakePredictor):
        """Right with the image, always "B" with a gray one."""

        def predict(self, questions, *, max_new_tokens):
            for q in questions:
                grey = hashlib.sha256(q.images[0].read()).hexdigest() != hashlib.sha256(png()).hexdigest()
                yield "B" if grey else q.fields["answer"]

    caplog.set_level("INFO")
    ctx = context(workdir, tsv, blind=("first",))
    evaluate_stage.run(ctx, make_predictor=lambda folder, config: Seeing({}))
    entry = files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert entry["blind"]["value"] == pytest.approx(100 / 3, abs=1e-5)
    assert entry["blind"]["gain"] == pytest.approx(200 / 3, abs=1e-5)
    assert 0 <= entry["blind"]["interval"][0] <= entry["blind"]["interval"][1] <= 100
    assert "first on pets: accuracy 100.00 (100.00 to 100.00, n 3); chance 50.00; no image 33.33" in caplog.text


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_synthetic_task_is_asked_and_scored_by_its_own_kind(workdir, task):
    """Whoever gives every reference has the full number, or the best CIDEr there is."""

    class Knowing(FakePredictor):
        def predict(self, questions, *, max_new_tokens):
            yield from (q.fields["answer"] for q in questions)

    bench = {"synthetic": {"task": task, "questions": 6}, "instruction": "", "frames": 4}
    bench |= {} if task != "few_shot" else {"frames": None}
    evaluate_stage.run(context(workdir, None, benchmark=bench), make_predictor=lambda folder, config: Knowing({}))
    entry = files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert entry["kind"] == TASKS[task].kind
    assert entry["value"] > 500 if entry["metric"] == "CIDEr" else entry["value"] == 100
    assert set(entry["categories"]) <= set(TASKS[task].categories)


ODD = """
from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import require_answers
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.score import mean_score


def score(answered):
    return mean_score("length match", answered, lambda f: float(len(f["prediction"]) == len(f["answer"])))


BENCHMARK = Benchmark(("index", "question", "answer"), require_answers, question_prompts.question_only, score)
"""


def test_a_new_benchmark_is_one_file(workdir, tmp_path, monkeypatch):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd_length.py").write_text(ODD)
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path / "plugins")])
    rows = [{"index": str(i), "question": "Say.", "answer": a} for i, a in enumerate(("A", "word", "B"))]
    bench = {"path": str(write_tsv(tmp_path / "odd.tsv", rows)), "kind": "odd_length"}
    models = Models()
    evaluate_stage.run(context(workdir, None, benchmark=bench), make_predictor=models)
    assert [q.prompt for q in models.predictors[0].asked] == ["Say."] * 3
    entry = files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert (entry["kind"], entry["metric"], entry["value"]) == (
        "odd_length", "length match", pytest.approx(200 / 3, abs=1e-5),
    )  # fmt: skip
    sys.modules.pop(f"{benchmarks.__name__}.odd_length")


def test_an_unknown_task_names_the_known(workdir):
    bench = {"synthetic": {"task": "smelling"}}
    with pytest.raises(UserError, match=r"pets.synthetic.task: there is no task 'smelling'; known are capabilities, "):
        evaluate_stage.run(context(workdir, None, benchmark=bench), make_predictor=Models())


def test_few_shot_and_export(workdir, tsv):
    models = Models()
    bench = {"path": str(tsv), "shots": {"count": 2}, "kit_name": "PETS"}
    evaluate_stage.run(context(workdir, tsv, benchmark=bench, export=True), make_predictor=models)
    assert all(len(q.images) == 3 for q in models.predictors[0].asked)
    exported = workdir.predictions("first") / "vlmevalkit" / "first_PETS.tsv"
    assert exported.read_text().splitlines()[0].endswith('"prediction"')


def test_a_judged_benchmark_with_and_without_its_judge(workdir, tsv):
    vet = {"vet": {"path": str(tsv), "kind": "mmvet"}, "pets": {"path": str(tsv)}}
    evaluate_stage.run(context(workdir, tsv, benchmarks=vet), make_predictor=Models())
    entry = files.read_json(workdir.results("first"))["benchmarks"]["vet"]
    assert entry["note"] == "exact match, no judge"
    assert "judge" not in entry
    with ApiServer(lambda call: Reply(body=completion("0.5"))) as server:
        judge = {"model": "gpt-4o", "base_url": server.url}
        evaluate_stage.run(context(workdir, tsv, benchmarks=vet, judge=judge), make_predictor=Models())
    benchmarks = files.read_json(workdir.results("first"))["benchmarks"]
    assert benchmarks["vet"]["value"] == 50
    assert benchmarks["vet"]["judge"]["name"] == "gpt-4o"
    assert benchmarks["vet"]["note"] == ""
    assert "judge" not in benchmarks["pets"]


def test_mathvista_asks_its_judge_only_where_the_text_does_not_tell(workdir, tmp_path):
    """A letter and a number stand for themselves; of a sentence the judge says which answer it gives."""
    whole = {"index": "0", "image": ROW["image"], "question": "How many?", "answer": "14", "question_type": "free_form"}
    whole |= {"answer_type": "integer", "choices": "[]", "answer_option": "", "task": "count"}
    choice = {**whole, "index": "2", "answer": "dog", "question_type": "multi_choice", "answer_type": "text"}
    choice |= {"choices": "['cat', 'dog']", "answer_option": "B"}
    tsv = write_tsv(tmp_path / "math.tsv", [whole, {**whole, "index": "1"}, choice])
    said = {"0": "14", "1": "There are fourteen of them.", "2": "B"}
    math = {"math": {"path": str(tsv), "kind": "mathvista"}}
    evaluate_stage.run(context(workdir, tsv, benchmarks=math), make_predictor=Models(said))
    entry = files.read_json(workdir.results("first"))["benchmarks"]["math"]
    assert (entry["value"], entry["note"]) == (pytest.approx(200 / 3, abs=1e-5), "exact match, no judge")
    with ApiServer(lambda call: Reply(body=completion("14"))) as server:
        judge = {"model": "gpt-4o", "base_url": server.url}
        for _ in range(2):  # the second time the ledger answers
            evaluate_stage.run(context(workdir, tsv, benchmarks=math, judge=judge), make_predictor=Models(said))
        assert len(server.calls) == 1
    entry = files.read_json(workdir.results("first"))["benchmarks"]["math"]
    assert (entry["value"], entry["note"], entry["judge"]["name"]) == (100, "", "gpt-4o")


def test_the_real_benchmark_end_to_end(workdir, shared):
    """All 70 questions of shared/pool, answered as an oracle that misses every tenth would."""
    path = shared / "pool" / "benchmark.tsv"
    rows = read_benchmark(path, required=("index", "answer"))
    replies = {r.index: "no idea" if i % 10 == 0 else f"{r.fields['answer']}." for i, r in enumerate(rows)}
    models = Models(replies)
    evaluate_stage.run(context(workdir, path, save_every=32), make_predictor=models)
    entry = files.read_json(workdir.results("first"))["benchmarks"]["pets"]
    assert entry["value"] == 90
    assert {name: group["n"] for name, group in entry["categories"].items()} == {
        "bccd-count": 6, "chart-type": 8, "clothing-class": 8, "flags": 6, "grocery-fine": 14, "nlvr-true-false": 14,
        "tabmwp-table": 14,
    }  # fmt: skip
    assert all(q.prompt.startswith("<image>\nQuestion: ") for q in models.predictors[0].asked)
