"""Where a picture's bytes come from."""

from __future__ import annotations

import os

import pytest

from mmssr_jax.core.sample import ImageRef


def test_bytes_from_a_pool_or_from_a_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"file")
    assert ImageRef(data=b"").read() == b""
    assert ImageRef(data=b"packed").read() == b"packed"
    assert ImageRef(path=tmp_path / "a.jpg").read() == b"file"
    with pytest.raises(FileNotFoundError):
        ImageRef(path=tmp_path / "gone.jpg").read()


def test_only_files_are_read_and_none_that_is_too_large(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with open(tmp_path / "large.png", "wb") as f:
        f.truncate((256 << 20) + 1)  # sparse: it takes no room
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(OSError, match="is not a file"):
            ImageRef(path=tmp_path / name).read()
    with pytest.raises(OSError, match="File too large"):
        ImageRef(path=tmp_path / "large.png").read()
