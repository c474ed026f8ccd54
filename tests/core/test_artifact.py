"""absent -> claimed -> sealed; what was made otherwise is refused, what was cut off goes on, nothing holds a time."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import time

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.artifact import CLAIM, MANIFEST, Artifact, input_digest, library_versions, read_manifest
from mmssr_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
    share: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


def claim(folder, settings=None, **kwargs):
    return Artifact(folder / "scores", stage="score", settings=settings or Settings(), **kwargs)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_from_absent_to_sealed(tmp_path):
    artifact = claim(tmp_path, inputs={"pool": "abc"})
    assert (artifact.done, artifact.resumed) == (False, False)
    assert list(content(artifact.path)) == [CLAIM]
    files.write_text(artifact.path / "part", "data")
    artifact.seal({"samples": 3}, kind="mmssr")
    assert artifact.done
    assert list(content(artifact.path)) == [MANIFEST, "part"]
    manifest = read_manifest(artifact.path)
    assert re.fullmatch("[0-9a-f]{16}", manifest.pop("manifest_digest"))
    assert manifest == {
        "stage": "score",
        "config": {"share": 0.5, "sizes": [1, 2]},
        "config_fingerprint": files.digest('{"share": 0.5, "sizes": [1, 2]}'),
        "inputs": {"pool": "abc"},
        "counts": {"samples": 3},
        "libraries": library_versions(),
        "kind": "mmssr",
    }


def test_a_sealed_one_is_done(tmp_path):
    claim(tmp_path).seal()
    before = content(tmp_path)
    again = claim(tmp_path)
    assert (again.done, again.resumed) == (True, False)
    assert content(tmp_path) == before


def test_one_that_was_cut_off_goes_on(tmp_path):
    first = claim(tmp_path)
    files.write_text(first.path / "part", "data")
    again = claim(tmp_path)
    assert (again.done, again.resumed) == (False, True)
    assert (again.path / "part").read_text() == "data"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("settings", "inputs", "says"),
    [
        (Settings(share=0.25), {}, "config.share: 0.5 -> 0.25"),
        (Settings(sizes=(1,)), {}, r"config.sizes: \[1, 2\] -> \[1\]"),
        (Settings(), {"pool": "new"}, "inputs.pool: None -> 'new'"),
    ],
)
def test_one_made_otherwise_is_refused_and_left_alone(tmp_path, sealed, settings, inputs, says):
    first = claim(tmp_path)
    files.write_text(first.path / "part", "data")
    if sealed:
        first.seal()
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"\A{first.path} was made with .*{says}.*--overwrite=score to remake it\Z"):
        claim(tmp_path, settings, inputs=inputs)
    assert content(tmp_path) == before


def test_many_differences_are_cut_short(tmp_path):
    claim(tmp_path, {f"x{i}": 0 for i in range(5)}).seal()
    with pytest.raises(UserError, match=r"\(config.x0: 0 -> 1; config.x1: 0 -> 1; config.x2: 0 -> 1; …\)"):
        claim(tmp_path, {f"x{i}": 1 for i in range(5)})


@pytest.mark.parametrize("sealed", [False, True])
def test_overwrite_starts_anew(tmp_path, sealed):
    first = claim(tmp_path)
    files.write_text(first.path / "part", "data")
    if sealed:
        first.seal()
    again = claim(tmp_path, Settings(share=0.25), overwrite=True)
    assert (again.done, again.resumed) == (False, False)
    assert list(content(again.path)) == [CLAIM]
    assert files.read_json(again.path / CLAIM)["config"]["share"] == 0.25


def test_a_claim_with_nothing_made_under_it_binds_nobody(tmp_path):
    claim(tmp_path)
    again = claim(tmp_path, Settings(share=0.25))
    assert not again.resumed
    assert files.read_json(again.path / CLAIM)["config"]["share"] == 0.25


def test_a_kill_between_the_manifest_and_the_end_of_the_claim_leaves_no_trace(tmp_path):
    artifact = claim(tmp_path)
    left = (artifact.path / CLAIM).read_bytes()
    artifact.seal()
    before = content(tmp_path)
    (artifact.path / CLAIM).write_bytes(left)
    assert claim(tmp_path).done
    assert content(tmp_path) == before


def test_half_written_files_of_a_killed_run_are_gone_when_it_is_sealed(tmp_path):
    artifact = claim(tmp_path)
    (artifact.path / "shards").mkdir()
    files.temporary_path(artifact.path / "shards" / "part-00000-of-00001.parquet", 9_999_999).write_text("half")
    artifact.seal()
    assert list(content(artifact.path)) == [MANIFEST]


def test_equal_work_leaves_equal_bytes_at_any_time(tmp_path, monkeypatch):
    made = []
    for name, now in (("a", 1.0), ("b", 2e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        artifact = claim(tmp_path / name)
        files.write_text(artifact.path / "part", "data")
        artifact.seal({"samples": 3, "per source": {"b": 1, "a": 2}})
        made.append(content(tmp_path / name))
    assert made[0] == made[1]
    assert not [k for k in _keys(json.loads(made[0][f"scores/{MANIFEST}"])) if "time" in k or "date" in k]


def _keys(value):
    if isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from _keys(v)


def test_the_digest_of_an_input(tmp_path):
    artifact = claim(tmp_path)
    with pytest.raises(UserError, match=rf"\A{artifact.path}: not finished or not made by this program"):
        input_digest(artifact.path)
    with pytest.raises(
        UserError,
        match=rf"\A{artifact.path}: not finished .* \(.*\); run --stages=score first\Z",
    ):
        read_manifest(artifact.path)
    (tmp_path / "else").mkdir()
    with pytest.raises(UserError, match=r"/else: not finished or not made by this program \(.*\)\Z"):
        input_digest(tmp_path / "else")
    with pytest.raises(UserError, match=r"/else: .* \(it has no manifest.json\); run --stages=ingest first\Z"):
        input_digest(tmp_path / "else", stage="ingest")
    artifact.seal()
    assert input_digest(artifact.path) == files.file_digest(artifact.path / MANIFEST)
    (tmp_path / "pool.json").write_text("[]")
    assert input_digest(tmp_path / "pool.json") == files.digest("[]")
    with pytest.raises(UserError, match="no such file"):
        input_digest(tmp_path / "absent.json")


def foreign(folder):
    """A folder of somebody else."""
    (folder / "scores").mkdir()
    (folder / "scores" / "thesis.tex").write_text("years of work")
    return folder


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_neither_filled_nor_emptied(tmp_path, overwrite):
    before = content(foreign(tmp_path))
    with pytest.raises(UserError, match=r"holds thesis\.tex and was not made by this program"):
        claim(tmp_path, overwrite=overwrite)
    assert content(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [MANIFEST, CLAIM])
def test_a_manifest_of_another_program_gives_no_right_to_its_folder(tmp_path, name, overwrite):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / name).write_text('{"name": "a web app", "version": 3}')
    before = content(tmp_path)
    with pytest.raises(UserError, match=rf"{name}.* not made by this program"):
        claim(tmp_path, overwrite=overwrite)
    assert content(tmp_path) == before


@pytest.mark.parametrize("text", ["", "null", '{\n  "config": {'])
def test_a_cut_manifest_is_overwritten_where_nothing_foreign_lies_beside_it(tmp_path, text):
    first = claim(tmp_path)
    for name in ("part-00000-of-00001.parquet", "text_ratings.npz", "tokenizer/chat_template.jinja", "README.md"):
        files.write_text(first.path / name, "data")
    first.seal()
    (first.path / MANIFEST).write_text(text)
    (first.path / "thesis.tex").write_text("years of work")
    before = content(tmp_path)
    with pytest.raises(UserError, match=r"holds thesis\.tex and was not made by this program"):
        claim(tmp_path, overwrite=True)
    assert content(tmp_path) == before
    (first.path / "thesis.tex").unlink()
    assert list(content(claim(tmp_path, overwrite=True).path)) == [CLAIM]


def test_a_manifest_with_a_flipped_bit_in_a_key_is_still_overwritten(tmp_path):
    first = claim(tmp_path)
    (first.path / "drawing.svg").write_text("<svg/>")
    first.seal()
    (first.path / MANIFEST).write_text((first.path / MANIFEST).read_text().replace('"stage"', '"stagd"'))
    assert list(content(claim(tmp_path, overwrite=True).path)) == [CLAIM]


@pytest.mark.parametrize("calls", range(6))
def test_a_kill_while_a_folder_is_emptied_leaves_it_empty(tmp_path, calls):
    """The process ends at the n-th file that is removed; no part of the old folder counts as finished."""
    first = claim(tmp_path, {"x": 1})
    for name in "abcd":
        files.write_text(first.path / name, "data")
    first.seal()
    code = (
        "import os, sys; from pathlib import Path; from mmssr_jax.core.artifact import Artifact\n"
        "left = [int(sys.argv[2])]\n"
        "def seen(event, args):\n"
        "    if event == 'os.remove':\n"
        "        left[0] -= 1\n"
        "        if left[0] < 0: os._exit(9)\n"
        "sys.addaudithook(seen)\n"
        "Artifact(Path(sys.argv[1]), stage='score', settings={'x': 2}, overwrite=True)"
    )
    subprocess.run([sys.executable, "-c", code, str(first.path), str(calls)], check=False)
    assert set(content(first.path)) <= {CLAIM}
    again = claim(tmp_path, {"x": 1})
    assert (again.done, again.resumed) == (False, False)
    files.remove_leftovers(tmp_path)
    assert list(content(tmp_path)) == [f"scores/{CLAIM}"]


def test_of_a_folder_with_outputs_only_these_are_overwritten_and_only_under_the_lock(tmp_path):
    kwargs = {"keeps": ("*.jsonl",), "outputs": ("table",), "lock": tmp_path / "score.lock"}
    first = claim(tmp_path, **kwargs)
    (first.path / "ledger.jsonl").write_text("{}")
    (first.path / "table").write_text("x")
    code = (
        "import sys; from pathlib import Path; from mmssr_jax.core.artifact import Artifact\n"
        "root = Path(sys.argv[1])\n"
        "Artifact(root / 'scores', stage='score', settings={'x': 2}, overwrite=True, keeps=('*.jsonl',),\n"
        "         outputs=('table',), lock=root / 'score.lock')"
    )
    before = content(first.path)
    second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "is working on it" in second.stderr
    assert content(first.path) == before
    first.seal()
    again = claim(tmp_path, {"x": 2}, overwrite=True, **kwargs)
    assert sorted(content(again.path)) == [CLAIM, "ledger.jsonl"]


def test_files_that_outlast_a_folder_are_no_foreign_ones(tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "ledger.jsonl").write_text("{}")
    assert not claim(tmp_path, keeps=("*.jsonl",)).done


def test_overwrite_empties_what_this_program_made(tmp_path):
    first = claim(tmp_path)
    files.write_text(first.path / "part", "data")
    first.seal()
    again = claim(tmp_path, Settings(share=0.1), overwrite=True)
    assert list(content(again.path)) == [CLAIM]


@pytest.mark.parametrize("target", ["a folder", "nothing"])
def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("x")
    (tmp_path / "scores").symlink_to(tmp_path / ("elsewhere" if target == "a folder" else "gone"))
    with pytest.raises(UserError, match="a link or a file is where score creates its folder"):
        claim(tmp_path, overwrite=True)
    assert (tmp_path / "elsewhere" / "kept").exists()


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"made": "by another program"}'])
@pytest.mark.parametrize("name", [MANIFEST, CLAIM])
def test_a_damaged_manifest_never_counts_as_finished(tmp_path, name, text):
    artifact = claim(tmp_path)
    files.write_text(artifact.path / "part", "data")
    if name == MANIFEST:
        artifact.seal()
    (artifact.path / name).write_text(text)
    for read in (lambda: claim(tmp_path), *([lambda: input_digest(artifact.path)] if name == MANIFEST else [])):
        with pytest.raises(UserError, match=name):
            read()
    remake = f"remake the folder with --overwrite={artifact.label.split()[0]}"
    mend = "give an empty or a new folder, or move its files away" if "another program" in text else remake
    with pytest.raises(UserError, match=f"{name}.*{mend}$"):
        claim(tmp_path)


def test_two_processes_at_one_folder(tmp_path):
    """The second gets one line that names the first; a holder that was killed blocks nobody."""
    code = (
        "import sys, time; from pathlib import Path; from mmssr_jax.core.artifact import Artifact\n"
        "root = Path(sys.argv[1]); Artifact(root / 'scores', stage='score', settings={}, lock=root / 'score.lock')\n"
        "a = Artifact(root / 'scores', stage='score', settings={}, lock=root / 'score.lock')\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {holder.pid} on .* is working on it"):
            Artifact(tmp_path / "scores", stage="score", settings={}, lock=tmp_path / "score.lock")
    finally:
        holder.kill()
        holder.wait()
    artifact = Artifact(tmp_path / "scores", stage="score", settings={}, lock=tmp_path / "score.lock")
    artifact.seal()
    assert Artifact(tmp_path / "scores", stage="score", settings={}, lock=tmp_path / "score.lock").done


def test_an_input_whose_name_no_file_can_have_is_one_line(tmp_path):
    with pytest.raises(UserError, match="its name is longer than a file's can be"):
        input_digest(tmp_path / ("é" * 200))


@pytest.mark.parametrize(("old", "new"), [('"samples": 3', '"samples": 2'), ("mmssr", "mmssq"), ('"kind"', '"kine"')])
def test_a_flipped_bit_of_a_manifest_is_one_line(tmp_path, old, new):
    """The manifest is what other folders record as their input."""
    artifact = claim(tmp_path)
    artifact.seal({"samples": 3, "by_number": {10: 1, 9: 2}}, kind="mmssr")
    path = artifact.path / MANIFEST
    input_digest(artifact.path)
    path.write_text(path.read_text().replace(old, new, 1))
    for read in (input_digest, read_manifest):
        with pytest.raises(UserError, match=r"manifest\.json: damaged, its content is not what was written; remake"):
            read(artifact.path)
