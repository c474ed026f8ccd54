"""Components of a phase's mixture: pools, sources, selections, captions, documents; and the validation split."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.documents import Document
from mmssr_jax.stages import ingest
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import ComponentConfig, DataConfig, GeneratedConfig, HoldOutConfig


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    root = tmp_path_factory.mktemp("mixtures")
    for name, count in (("one", 40), ("two", 20)):
        records = [
            {"id": f"{name}{n}", "source": ("charts", "signs", "chatter")[n % 3],
             "conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": f"A {n}"}]}
            for n in range(count)
        ]  # fmt: skip
        (root / f"{name}.json").write_text(json.dumps(records))
    (root / "docs.jsonl").write_text("".join(json.dumps({"id": f"d{n}", "text": f"text {n}"}) + "\n" for n in range(5)))
    config = {"pool": {"path": str(root / "one.json")}, "pools": {"two": {"path": str(root / "two.json")}}}
    made = StageContext(config=config, workdir=Workdir(root / "work"))
    ingest.run(made)
    picked = made.workdir.selection("few")
    files.write_parquet(picked / "selection.parquet", pa.table({"id": ["one5", "one3"]}))
    files.write_json(picked / "manifest.json", {"stage": "select", "config": {}, "inputs": {}})
    return made


def _data(
    context: StageContext, members: dict[str, ComponentConfig], *, share: float = 0.0, groups=None, selection=None
):
    holdout = HoldOutConfig(share=share, limit=3)
    return training_data(context, DataConfig(selection, members, groups or {}, holdout), where="config.x")


def test_without_a_mixture_it_is_the_pool_or_a_selection_of_it(context):
    whole, few = _data(context, {}), _data(context, {}, selection="few")
    assert [len(whole.samples), [s.id for s in few.samples]] == [40, ["one5", "one3"]]
    assert [sorted(whole.inputs), sorted(few.inputs)] == [["pool"], ["pool", "selection"]]


def test_components_of_every_kind(context, tmp_path: Path):
    docs = str(context.workdir.root.parent / "docs.jsonl")
    data = _data(context, {
        "whole": ComponentConfig(weight=1.0),
        "signs": ComponentConfig(weight=2.0, pool="two", sources=("sign*", "chatter")),
        "few": ComponentConfig(weight=1.0, selection="few"),
        "captions": ComponentConfig(weight=0.5, form="caption", limit=4),
        "documents": ComponentConfig(weight=0.5, documents=docs),
        "made": ComponentConfig(weight=1.0, generated=GeneratedConfig("text", size=3)),
    })  # fmt: skip
    members = {m.name: m for m in data.samples.components}
    assert {n: len(m.samples) for n, m in members.items()} == {
        "whole": 40, "signs": 13, "few": 2, "captions": 4, "documents": 5, "made": 3,
    }  # fmt: skip
    assert {s.source for s in (members["signs"].samples[n] for n in range(13))} == {"signs", "chatter"}
    assert isinstance(members["captions"].samples[0], Document)
    assert members["documents"].samples[2].text == "text 2"
    assert {"pool", "pool.two", "selection.few", "documents.documents", "documents.made"} == set(data.inputs)
    assert data.samples.shares()["signs"] == pytest.approx(2 / 6)


def test_weights_are_natural_sizes_where_none_is_given(context):
    data = _data(context, {"a": ComponentConfig(), "b": ComponentConfig(pool="two")})
    assert data.samples.shares() == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}


def test_groups_weigh_their_components(context):
    members = {
        "general": ComponentConfig(weight=1.0, group="single", sources=("charts",)),
        "math": ComponentConfig(weight=0.5, group="single", sources=("signs",)),
        "text": ComponentConfig(group="text", pool="two"),
    }
    shares = _data(context, members, groups={"single": 0.9, "text": 0.1}).samples.shares()
    assert shares == {"general": pytest.approx(0.6), "math": pytest.approx(0.3), "text": pytest.approx(0.1)}


def test_the_validation_split_depends_on_the_ids_alone(context):
    whole = _data(context, {"a": ComponentConfig(weight=1.0)}, share=0.3)
    part = _data(context, {"b": ComponentConfig(weight=1.0, sources=("signs",))}, share=0.3)
    trained = {s.id for s in (whole.samples[n] for n in range(len(whole.samples)))}
    held = set(whole.validation["a"].ids)
    assert not trained & held
    assert len(held) == 3  # the limit
    assert 20 < len(trained) < 38
    assert {part.samples[n].id for n in range(len(part.samples))} <= trained
    assert not set(part.validation["b"].ids) & trained


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": ComponentConfig(sources=("foo*",))}, r"no source matches 'foo\*'; there are charts, chatter, signs"),
        ({"a": ComponentConfig(pool="nowhere")}, "pool 'nowhere': neither"),
        ({"a": ComponentConfig(documents="no.jsonl")}, "no.jsonl"),
    ],
)
def test_missing_data_is_named(context, members, message):
    with pytest.raises(UserError, match=message):
        _data(context, members)


def test_a_phase_has_a_selection_or_a_mixture(context):
    with pytest.raises(UserError, match="either a selection or a mixture"):
        _data(context, {"a": ComponentConfig()}, selection="few")
