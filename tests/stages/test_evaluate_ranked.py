"""The evaluate stage with ranked answers: a small model against separate passes, and a table of likelihoods."""

from __future__ import annotations

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.continuations import with_continuations
from mmssr_jax.evaluation.ranking import OptionLikelihoods
from mmssr_jax.evaluation.vlm_predictor import VLMPredictor
from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.models.module_params import merge
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from tests.evaluation.tsv import b64, png, write_tsv
from tests.small import bundle, processor

IMAGES = [png(colour=(40 * k, 10, 200 - 30 * k)) for k in range(3)]
ROWS = [
    {"index": "0", "question": "What is it?", "A": "A red cat.", "B": "it", "answer": "A", "category": "pets"},
    {"index": "1", "question": "Is it a cat?", "answer": "No", "category": "pets"},
    {"index": "2", "question": "Which?", "answer": "red", "category": "colours"},
    {"index": "3", "question": "Which is it?", "answer": "a blue one", "category": "colours"},
    {
        "index": "4",
        "question": "What is it?",
        "A": "cat",
        "B": "A cat.",
        "C": "What",
        "answer": "C",
        "category": "pets",
    },
]
COLUMNS = ("index", "question", "A", "B", "C", "answer", "category", "image")
PROMPTS = PromptConfig(rows=3, length_step=32, max_length=256, images=(0, 1))


@pytest.fixture
def tsv(tmp_path):
    rows = [dict.fromkeys(COLUMNS, "") | row | {"image": b64(IMAGES[i % 3])} for i, row in enumerate(ROWS)]
    return write_tsv(tmp_path / "mixed.tsv", rows)


@pytest.fixture
def workdir(tmp_path):
    work = Workdir(tmp_path / "work")
    for run in ("first", "second"):
        files.write_json(
            work.checkpoints(run) / "manifest.json", {"stage": "train", "config": {"run": run}, "inputs": {}}
        )
    return work


def context(workdir, tsv, **section):
    section = {"benchmarks": {"b": {"path": str(tsv)}}, "runs": ("first",), "answering": "rank", **section}
    return StageContext({"evaluate": section}, workdir)


def small_model(folder, config):
    return VLMPredictor(bundle().graphdef, bundle().params, Prompter(processor(), PROMPTS))


class Table:
    """Likelihoods by option text: the number of its characters, below; interrupted after `limit` questions."""

    def __init__(self, limit=None):
        self.limit, self.asked = limit, []

    def predict(self, questions, *, max_new_tokens):
        yield from ("A" for _ in questions)

    def log_likelihoods(self, questions, answers):
        for question in questions:
            if question.images and self.limit is not None and len(self.asked) >= self.limit:
                raise KeyboardInterrupt
            self.asked += [question.index] if question.images else []
        return [
            OptionLikelihoods(np.array([-float(len(t)) for t in texts]), np.array([1 for _ in texts]))
            for texts in answers
        ]


def alone(prompt_text, images, option):
    """log p of one option by a plain causal pass of its own."""
    prompter = Prompter(processor(), PROMPTS)
    prompt = prompter.prompt(Sample("0", "s", (Turn("user", prompt_text),), images))
    ids = prompter.tokenizer.encode(option)
    example = with_continuations(prompt, [ids])
    batch = prompter.processor.collate([example], BatchShape(1, len(example), len(example.pixels), len(ids)))
    hidden, _ = merge(bundle().graphdef, bundle().params).run(
        batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until
    )
    log_p = jax.nn.log_softmax(merge(bundle().graphdef, bundle().params).logits(hidden), axis=-1)[0]
    places = np.arange(len(prompt) - 1, len(example) - 1)
    return float(log_p[places, np.asarray(ids)].sum()), len(ids)


@pytest.mark.slow
def test_the_stage_equals_separate_passes(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv, save_every=2), make_predictor=small_model)
    prompts = {
        "0": "<image>\nQuestion: What is it?\nOptions:\nA. A red cat.\nB. it\n"
        "Please select the correct answer from the options above. \n",
        "1": "<image>\nIs it a cat?",
        "2": "<image>\nWhich?\nAnswer the question using a single word or phrase.",
    }
    table = pq.read_table(workdir.predictions("first") / "b.parquet").to_pylist()
    for row in table[:3]:
        options = json.loads(row["ranked_options"])
        images = (ImageRef(data=IMAGES[int(row["index"]) % 3]),)
        passes = [alone(prompts[row["index"]], images, option) for option in options]
        assert json.loads(row["ranked_log_likelihoods"]) == pytest.approx([p for p, _ in passes], abs=1e-4)
        assert json.loads(row["ranked_tokens"]) == [n for _, n in passes]
        empty = [alone("", (), option)[0] for option in options]
        assert json.loads(row["ranked_empty_log_likelihoods"]) == pytest.approx(empty, abs=1e-4)


def test_result_and_table(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv, blind=("first",)), make_predictor=lambda folder, config: Table())
    table = pq.read_table(workdir.predictions("first") / "b.parquet")
    assert table.column_names[:4] == ["index", "question", "answer", "prediction"]
    assert table["prediction"].to_pylist() == ["B", "No", "red", "red", "A"]
    entry = files.read_json(workdir.results("first"))["benchmarks"]["b"]
    assert (entry["answering"], entry["rank_by"], entry["value"]) == ("rank", "texts", 40)
    assert entry["ranked"]["acc"] == {"value": 40, "interval": entry["interval"]}
    assert entry["ranked"]["nll"]["value"] == pytest.approx((10 + 2 + 3 + 10 + 4) / 5)
    assert entry["more"]["chance"] == pytest.approx(100 * (4 / 2 + 1 / 3) / 5, abs=1e-5)
    assert set(entry["ranked"]) == {
        "acc", "acc_norm", "acc_mutual_info", "acc_per_token", "acc_minus_blank", "nll", "nll_per_token",
    }  # fmt: skip
    assert entry["blind"]["gain"] == 0
    assert "acc_minus_blank" not in files.read_json(workdir.results("first_blind"))["benchmarks"]["b"]["ranked"]


def test_one_benchmark_is_ranked_by_letters_and_another_written(workdir, tsv):
    both = {"letters": {"path": str(tsv), "answering": "rank", "rank_by": "letters"}, "written": {"path": str(tsv)}}
    ctx = context(workdir, tsv, benchmarks=both, answering="write")
    evaluate_stage.run(ctx, make_predictor=lambda folder, config: Table())
    table = pq.read_table(workdir.predictions("first") / "letters.parquet").to_pylist()
    assert [json.loads(row["ranked_options"]) for row in table[:2]] == [["A", "B"], ["Yes", "No"]]
    assert table[4]["prediction"] == "A"
    benchmarks = files.read_json(workdir.results("first"))["benchmarks"]
    assert benchmarks["letters"]["rank_by"] == "letters"
    assert not {"answering", "rank_by", "ranked"} & set(benchmarks["written"])
    assert "ranked_options" not in pq.read_table(workdir.predictions("first") / "written.parquet").column_names


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 8])
def test_cut_off_and_resumed_equals_uninterrupted(workdir, tsv, tmp_path, limit):
    def made(work):
        folders = (work.root / "predictions", work.root / "results")
        return {p.relative_to(work.root): p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()}

    settings = {"blind": ("first",), "save_every": 2}
    whole = Workdir(tmp_path / "whole")
    files.write_json(
        whole.checkpoints("first") / "manifest.json", {"stage": "train", "config": {"run": "first"}, "inputs": {}}
    )
    evaluate_stage.run(context(whole, tsv, **settings), make_predictor=lambda folder, config: Table())
    with pytest.raises(KeyboardInterrupt):
        evaluate_stage.run(context(workdir, tsv, **settings), make_predictor=lambda folder, config: Table(limit))
    rest = Table()
    evaluate_stage.run(context(workdir, tsv, **settings), make_predictor=lambda folder, config: rest)
    assert made(workdir) == made(whole)
    assert 10 - limit <= len(rest.asked) <= 10 - limit + 1  # at most one part is repeated


def test_another_way_of_ranking_is_another_prediction(workdir, tsv):
    evaluate_stage.run(context(workdir, tsv), make_predictor=lambda folder, config: Table())
    evaluate_stage.run(context(workdir, tsv, max_new_tokens=3), make_predictor=None)  # has no effect on ranked answers
    with pytest.raises(UserError, match=r"rank_by: 'texts' -> 'letters'"):
        evaluate_stage.run(context(workdir, tsv, rank_by="letters"), make_predictor=lambda folder, config: Table())
    with pytest.raises(UserError, match=r"answering"):
        evaluate_stage.run(context(workdir, tsv, answering="write"), make_predictor=lambda folder, config: Table())


def test_a_benchmark_without_options_is_refused_before_any_prediction(workdir, tsv):
    bench = {"path": str(tsv), "kind": "ocrbench"}
    with pytest.raises(
        UserError, match=r"benchmarks.b: kind 'ocrbench' has no options to rank; .* answering=\"write\""
    ):
        evaluate_stage.run(context(workdir, tsv, benchmarks={"b": bench}), make_predictor=None)


def test_options_that_do_not_fit_name_the_question(workdir, tsv):
    config = PromptConfig(rows=3, length_step=8, max_length=72, images=(0, 1))

    def narrow(folder, _):
        return VLMPredictor(bundle().graphdef, bundle().params, Prompter(processor(), config))

    with pytest.raises(UserError, match=r"index 0: .* tokens and 1 images do not fit"):
        evaluate_stage.run(context(workdir, tsv), make_predictor=narrow)


def test_questions_about_one_image_are_resampled_together(workdir, tsv):
    """With all questions about one image no interval over questions is left."""
    rows = [dict.fromkeys(COLUMNS, "") | row | {"image": b64(IMAGES[0])} for row in ROWS]
    path = write_tsv(tsv.with_name("one.tsv"), rows)
    for cluster, name in ((False, "first"), (True, "second")):
        ctx = context(workdir, path, runs=(name,), cluster_by_image=cluster)
        evaluate_stage.run(ctx, make_predictor=lambda folder, config: Table())
    entries = [files.read_json(workdir.results(name))["benchmarks"]["b"] for name in ("first", "second")]
    assert entries[0]["interval"][0] < 40 < entries[0]["interval"][1]
    assert entries[1]["interval"] == entries[1]["ranked"]["acc"]["interval"] == [40, 40]
