"""Where a picture's bytes come from."""

from __future__ import annotations

import pytest

from mmssr_jax.core.sample import ImageRef


def test_bytes_from_a_pool_or_from_a_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"file")
    assert ImageRef(data=b"").read() == b""
    assert ImageRef(data=b"packed").read() == b"packed"
    assert ImageRef(path=tmp_path / "a.jpg").read() == b"file"
    with pytest.raises(FileNotFoundError):
        ImageRef(path=tmp_path / "gone.jpg").read()
