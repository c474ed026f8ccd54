"""Benchmark files that public reports show, kept beside the repository in `shared/cases/tsv`; see its README."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation.benchmark import read_benchmark
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.selection.screening.decontaminate import Decontaminate
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from mmssr_jax.stages.select.screener import _questions

COLUMNS = ("index", "question", "answer", "image")
CUT = r"cut_jpeg\.tsv: index 0: the image is not readable \(image file is truncated"


@pytest.fixture
def tsv(shared: Path) -> Path:
    if not (shared / "cases" / "tsv").is_dir():
        pytest.skip("there are no cases beside the repository")
    return shared / "cases" / "tsv"


def moved(tsv: Path, folder: Path) -> Path:
    """A copy of the TSV whose absolute path leads to the cases."""
    path = folder / "abs_path.tsv"
    path.write_text((tsv / "abs_path.tsv").read_text().replace("/data/cases", str(tsv.parent)))
    return path


@pytest.mark.parametrize("images", ["tsv", "/"])
def test_an_absolute_path_inside_of_the_images_folder(tsv: Path, tmp_path: Path, images: str):
    rows = read_benchmark(moved(tsv, tmp_path), required=COLUMNS, images=tsv if images == "tsv" else Path(images))
    assert [image.path.name for row in rows for image in row.images if image.path] == ["a.png"]


def test_an_absolute_path_outside_of_the_images_folder_is_named(tsv: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"index 0: image_path '.*a\.png' is not readable .*is outside of the images"):
        read_benchmark(moved(tsv, tmp_path), required=COLUMNS)


def test_line_breaks_in_base64_are_white_space(tsv: Path):
    (row,) = read_benchmark(tsv / "b64_wrapped.tsv", required=COLUMNS)
    assert open_rgb(row.images[0].read()).size == (64, 48)


def test_a_cut_jpeg_is_found_when_it_is_read(tsv: Path):
    with pytest.raises(UserError, match=CUT):
        read_benchmark(tsv / "cut_jpeg.tsv", required=COLUMNS)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_cut_jpeg_is_found_before_anything_is_answered(tsv: Path, tmp_path: Path, dry_run: bool):
    benchmark = {"path": str(tsv / "cut_jpeg.tsv"), "kind": "multiple_choice"}
    section = {"benchmarks": {"cut": benchmark}, "runs": ("first",)}
    work = Workdir(tmp_path / "work")
    manifest = {"stage": "train", "config": {"run": "first"}, "inputs": {}}
    files.write_json(work.checkpoints("first") / "manifest.json", manifest)
    with pytest.raises(UserError, match=CUT):
        evaluate_stage.run(StageContext({"evaluate": section}, work, dry_run=dry_run), make_predictor=pytest.fail)


def test_decontamination_names_the_row_of_a_cut_jpeg(tsv: Path):
    with pytest.raises(UserError, match=CUT):
        _questions(Decontaminate(benchmarks=(str(tsv / "cut_jpeg.tsv"),)))
