"""The published methods on every case of `--goldens=DIR`, folder DIR/rivals, in the format of its README."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.selection.methods import (
    clip_score,
    coincide,
    deita,
    icons,
    ppl,
    presel,
    rds_plus,
    scalselect,
    xmas,
)  # fmt: skip
from tests.selection import references

Case = dict[str, np.ndarray]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "path" not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption("--goldens")) / "rivals"
    name = metafunc.function.__name__.removeprefix("test_rival_")
    cases = sorted((folder / name).glob("*.npz"))
    if folder.is_dir() and not cases:
        raise pytest.UsageError(f"{folder / name} holds no golden (.npz)")
    metafunc.parametrize("path", cases, ids=[case.stem for case in cases])


def load(path: Path) -> Case:
    return dict(np.load(path, allow_pickle=False))


def same_rows(found: np.ndarray, expected: np.ndarray) -> None:
    assert sorted(found.tolist()) == expected.tolist()


def test_rival_ppl(path: Path) -> None:
    case = load(path)
    budget = int(case["budget"])
    assert ppl.loss_order(case["nll"])[:budget].tolist() == case["expected_top_order"].tolist()
    assert ppl.window(case["nll"], budget).tolist() == case["expected_mid_order"].tolist()


def test_rival_clip_score(path: Path) -> None:
    """At fraction 1 the official program stops; so does the function, with a reason."""
    case = load(path)
    if case["outcome"] != "ok":
        with pytest.raises(ValueError, match="below 1"):
            clip_score.datacomp_threshold(case["score"], float(case["fraction"]))
        return
    given = float(case["threshold"])
    threshold = given if np.isnan(case["fraction"]) else clip_score.datacomp_threshold(case["score"], case["fraction"])
    np.testing.assert_equal(threshold, float(case["used_threshold"]))
    assert clip_score.at_least(case["score"], threshold).tolist() == case["expected"].tolist()


def test_rival_deita(path: Path) -> None:
    case = load(path)
    if "digit_logits" in case:
        np.testing.assert_allclose(references.digit_score(case["digit_logits"]), case["score"], rtol=1e-6)
        return
    evol = references.evol_score(case["complexity"], case["quality"], case["turns"])
    np.testing.assert_allclose(evol, case["evol"], rtol=1e-12)
    order = np.argsort(-evol, kind="stable")
    budget = None if case["budget"] < 0 else int(case["budget"])
    found = deita.diverse_walk(
        order, case["embedding"], threshold=float(case["threshold"]), count=budget, batch_size=int(case["batch_size"])
    )
    assert found.tolist() == case["expected_order"].tolist()


def test_rival_coincide(path: Path) -> None:
    """Where the official program stops, the evident meaning: at most the budget, each row once."""
    case = load(path)
    count = int(case["target"])
    assert count == int(float(case["fraction"]) * len(case["cluster"]))
    found = coincide.allocate(
        case["embedding"],
        case["cluster"],
        case["centroid"],
        layers=int(case["layers"]),
        count=count,
        temperature=float(case["temperature"]),
        gamma=float(case["gamma"]),
    )
    assert len(set(found.order.tolist())) == len(found.order) == found.taken.sum() <= count
    if "expected_without_empty" in case:
        same_rows(found.order, np.sort(case["expected_without_empty"]))
    if case["outcome"] != "ok":
        return
    for name in ("transferability", "density", "score", "probability"):
        np.testing.assert_allclose(getattr(found, name), case[name], rtol=1e-5, err_msg=name)
    assert found.visit.tolist() == case["visit"].tolist()
    assert found.taken.tolist() == case["taken"].tolist()
    if "row_class" in case:  # of identical rows, rounding decides
        same_rows(case["row_class"][found.order], np.sort(case["row_class"][case["expected"]]))
    else:
        same_rows(found.order, case["expected"])


def test_rival_icons(path: Path) -> None:
    """Budget 0 selects nothing (officially the whole pool); after a NaN training row nobody has a vote."""
    case = load(path)
    percent, budget = float(case["percent"]), int(case["budget"])
    score = references.influence(
        case["train_gradient"], case["val_gradient"], case["val_task"], case["voter"], case["val_normalised"]
    )
    names = [str(case["task_name"][case["voter"] == v][0]) for v in range(score.shape[1])]
    by_name = {n if n in case["score_name"] else "mme": column for n, column in zip(names, score.T, strict=True)}
    expected = dict(zip(map(str, case["score_name"]), case["score"].T, strict=True))
    assert by_name.keys() == expected.keys()
    for name, column in by_name.items():
        np.testing.assert_allclose(column, expected[name], rtol=1e-4, atol=1e-6)
    assert icons.votes(score, percent).tolist() == case["votes"].tolist()
    found = icons.vote_order(score, percent)[:budget]
    if "tied" in case:
        assert set(case["expected"].tolist()) <= set(found.tolist()) <= {*case["expected"], *case["tied"]}
        assert len(found) == len(case["expected"]) + int(case["n_from_tied"])
    elif budget and len(case["expected"]):
        same_rows(found, case["expected"])
    else:
        assert budget == 0 or not case["votes"].any()


def test_rival_xmas(path: Path) -> None:
    """The text-only rows are drawn at random, so only their number is compared."""
    case = load(path)
    if "q_proj" in case:
        for i, length in enumerate(case["length"]):
            q, k = (case[name][i, :, :length] for name in ("q_proj", "k_proj"))
            attention = references.attention_to_image(q, k, image=slice(35, 611), text=slice(612, None))
            expected = case["attention"][i, : len(attention)]
            np.testing.assert_allclose(
                attention.astype(np.float64), expected.astype(np.float64), rtol=1e-2
            )  # half precision
            values = np.linalg.svd(attention, compute_uv=False)[:5]
            np.testing.assert_allclose(values, case["exact_values"][i], rtol=1e-6)
        return
    picture, text = np.flatnonzero(~case["text_only"]), np.flatnonzero(case["text_only"])
    values = xmas.trajectory(case["singular_values"], top=int(case["top"]))
    np.testing.assert_allclose(np.nan_to_num(values[picture]), case["trajectory"][picture], rtol=1e-6)
    unstable = xmas.instability(values)
    np.testing.assert_allclose(unstable[picture], case["instability"][picture], rtol=1e-5, atol=1e-6)
    cluster = np.where(case["text_only"], case["cluster"].max() + 1, case["cluster"])
    unstable[text] = np.arange(len(text))
    count = int(case["percent"]) * len(cluster) // 100
    found = xmas.select_stable(unstable, cluster, count)
    assert len(set(found.tolist())) == len(found) <= count
    if case["outcome"] == "ok":
        same_rows(found[~case["text_only"][found]], case["expected"])
        assert np.count_nonzero(case["text_only"][found]) == case["expected_n_text"]
        taken = np.bincount(case["cluster"][found[~case["text_only"][found]]], minlength=len(case["taken"]))
        assert taken.tolist() == case["taken"].tolist()


def test_rival_scalselect(path: Path) -> None:
    case = load(path)
    if "attention" in case:
        share = float(case["attention_share"])
        for i, (users, images) in enumerate(zip(case["n_user"], case["n_vision"], strict=True)):
            picked = references.attended_tokens(case["attention"][i, :users, :images], share)
            assert picked.tolist() == [t for t in case["picked_tokens"][i].tolist() if t >= 0]
            np.testing.assert_allclose(case["hidden"][i, picked].mean(axis=0), case["feature"][i], rtol=1e-4, atol=1e-6)
    value, k, singular = scalselect.importance(
        case["feature"],
        energy=float(case["energy"]),
        center=bool(case["center"]),
        standardize=bool(case["standardize"]),
        unit=bool(case["l2_normalize"]),
    )
    assert k == case["k"]
    np.testing.assert_allclose(singular[:k], case["singular"][:k], rtol=1e-4)
    np.testing.assert_allclose(value, case["importance"], rtol=2e-3, atol=1e-6)
    same_rows(np.argsort(-value, kind="stable")[: int(case["budget"])], case["expected"])


def test_rival_presel(path: Path) -> None:
    case = load(path)
    if "allocation" in case:
        for value, size, budget, expected in zip(
            case["value"], case["size"], case["budget"], case["allocation"], strict=True
        ):
            found = references.capped_task_quotas(value, size, int(budget), float(case["temperature"]))
            assert found.tolist() == expected.tolist()
        return
    task, reference = case["task"], case["reference"]
    value = presel.task_values(case["loss_with_question"], case["loss_without_question"], task, 10)
    np.testing.assert_allclose(value, case["task_value"], rtol=1e-12)
    if case["outcome"] != "ok":
        assert np.isnan(value).any()
        return
    for step, name in enumerate(("5", "10", "15"), 1):
        quotas = presel.task_quotas(value, step * int(0.05 * len(task)), float(case["temperature"]))
        assert quotas.tolist() == case[f"quota_{name}"].tolist()
        found = []
        for t, quota in enumerate(quotas):
            rows = np.flatnonzero(task == t)
            chosen = presel.select_typical(case["feature"][rows], case["cluster"][rows], reference[rows], int(quota))
            found += rows[chosen].tolist()
        same_rows(np.array(found, np.int64), case[f"expected_{name}"])
        assert quotas.sum() - len(found) == case["short"][step - 1]


def test_rival_rds(path: Path) -> None:
    """A budget above the pool gives all rows; officially the round robin stops with an error."""
    case = load(path)
    similarity, budget = case["similarity"], int(case["budget"])
    if "hidden" in case:
        index = references.weighted_mean(case["hidden"], case["length"])
        np.testing.assert_allclose(index, case["index"], rtol=1e-4, atol=1e-6)
        query = references.weighted_mean(case["query_hidden"], case["query_length"])
        np.testing.assert_allclose(query @ index.T, similarity, rtol=1e-4, atol=1e-6)
    found = rds_plus.order_by_tasks(similarity, case["query_task"])[:budget]
    if case["outcome"] == "ok":
        assert found.tolist() == case["expected_order"].tolist()
    else:
        assert sorted(found.tolist()) == list(range(similarity.shape[1]))
    if "expected_top_order" in case:
        assert rds_plus.order_by_maximum(similarity)[:budget].tolist() == case["expected_top_order"].tolist()


def test_rival_gdo(path: Path) -> None:
    case = load(path)
    if "nll_with" not in case:
        found = references.standardised_gap(
            case["loss_with"], case["loss_blind"], case["frame_diversity"], case["vds"], cap=float(case["cap"])
        )
        np.testing.assert_allclose(found, case["vds3"], rtol=1e-9, atol=1e-12)
        return
    with_image, blind = (
        references.answer_loss(case[f"nll_{kind}"], case[f"prompt_{kind}"], case[f"length_{kind}"])
        for kind in ("with", "blind")
    )
    with_image = np.where(case["readable"], with_image, blind)
    np.testing.assert_allclose(with_image, case["loss_with"], rtol=1e-5)
    np.testing.assert_allclose(blind, case["loss_blind"], rtol=1e-5)
    np.testing.assert_allclose(blind - with_image, case["vds"], rtol=1e-4, atol=1e-5)


def test_rival_folders_all_have_a_test(request: pytest.FixtureRequest) -> None:
    folder = Path(request.config.getoption("--goldens")) / "rivals"
    found = {p.name for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else set()
    assert found <= {name.removeprefix("test_rival_") for name in globals() if name.startswith("test_rival_")}
