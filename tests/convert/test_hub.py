"""Folders, pinned ids, and errors."""

from __future__ import annotations

import huggingface_hub
import pytest

from mmssr_jax.convert.hub import locate
from mmssr_jax.core.errors import UserError

COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_a_folder_is_itself(tmp_path):
    assert locate(str(tmp_path)) == tmp_path


def test_a_pinned_id_is_downloaded_at_its_revision(monkeypatch, tmp_path):
    request = {}

    def download(repo, *, revision, allow_patterns):
        request.update(repo=repo, revision=revision, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate(f"lmms-lab/llava-onevision-qwen2-7b-ov@{COMMIT}") == tmp_path
    assert (request["repo"], request["revision"]) == ("lmms-lab/llava-onevision-qwen2-7b-ov", COMMIT)
    assert not any(p.endswith(("bin", "pt", "py", "pkl")) for p in request["patterns"])


@pytest.mark.parametrize("source", ["no/such/folder", "owner/name", "owner/name@main", f"name@{COMMIT}"])
def test_an_unpinned_source_is_an_error(source):
    with pytest.raises(UserError, match="neither a folder nor a pinned hub id"):
        locate(source)


def test_no_network_is_one_line(monkeypatch):
    def download(*_, **__):
        raise OSError("we could not\nconnect")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"cannot be downloaded from the hub \(we could not connect\)"):
        locate(f"a/b@{COMMIT}")
