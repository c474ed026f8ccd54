"""`verify`: a selection is computed again and every file of it is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.select import stage as select_stage
from tests.stages.select.conftest import run


def test_verify_finds_what_was_changed(workdir: Workdir) -> None:
    selections = {"main": {"budget": {"count": 10}}}

    def check() -> None:
        config = {"select": {"selections": selections, "verify": True}}
        select_stage.run(StageContext(config, workdir))

    run(workdir, selections)
    check()
    path = workdir.selection("main") / "selection.parquet"
    picks = pq.read_table(path)
    files.write_parquet(path, picks.take(list(reversed(range(10)))))
    with pytest.raises(UserError, match="the picks are in a different order"):
        check()
    files.write_parquet(path, picks.slice(1))
    with pytest.raises(UserError, match="1 only in the selection computed again"):
        check()
    files.write_parquet(path, picks)
    files.write_text(workdir.selection("main") / "ids.txt", "s00\n")
    with pytest.raises(UserError, match=r"ids\.txt contains other ids"):
        check()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("pool.json", lambda b: b.replace(b"s0", b"s1", 1), r"pool\.json is not what was written"),
        ("csv/selection.csv", lambda b: b + b"\n", r"selection\.csv is not what was written"),
        ("pool.json", lambda _: None, r"pool\.json is missing"),
        ("notes.txt", lambda _: b"mine", r"notes\.txt is not a file of the selection"),
        ("selection.parquet", lambda b: b[:-20], r"not a readable Parquet file"),
    ],
)
def test_verify_compares_every_file(
    workdir: Workdir, name: str, change: Callable[[bytes], bytes | None], words: str
) -> None:
    selections = {"main": {"budget": {"count": 10}, "formats": ("csv",)}}
    run(workdir, selections)
    config = {"select": {"selections": selections, "verify": True}}
    select_stage.run(StageContext(config, workdir))
    folder = workdir.selection("main")
    path = next(folder.rglob(Path(name).name), folder / name)
    changed = change(path.read_bytes() if path.exists() else b"")
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    with pytest.raises(UserError, match=words):
        select_stage.run(StageContext(config, workdir))
    assert not list(workdir.root.glob(".verify-*"))
