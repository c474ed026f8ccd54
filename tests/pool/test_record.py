from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmssr_jax.pool.config import RecordConfig
from mmssr_jax.pool.reasons import Reason, RejectedError
from mmssr_jax.pool.record import Record, image_refs, video_refs

_RECORD = Record(file=0, number=0, offset=0, raw=b"{}", value={})


def _refs(names: tuple[str, ...], root: Path, *, follow_links: bool = False) -> list[Path | None]:
    return [r.path for r in image_refs(_RECORD, names, root, follow_links=follow_links)]


@pytest.mark.parametrize("follow_links", [False, True])
def test_names_are_relative_to_the_images_folder(folder: Path, follow_links: bool):
    names = ("images/0.jpg", "./images/1.jpg")
    expected = [folder / "images" / "0.jpg", folder / "images" / "1.jpg"]
    assert _refs(names, folder, follow_links=follow_links) == expected


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize(
    "name", ["../../../../../../../../etc/passwd", "/etc/passwd", "../secret.jpg", "images/../../secret.jpg"]
)
def test_no_name_leaves_the_images_folder(folder: Path, name: str, follow_links: bool):
    root = folder / "images"
    (folder / "secret.jpg").write_bytes(b"secret")
    with pytest.raises(RejectedError) as e:
        _refs((name,), root, follow_links=follow_links)
    assert e.value.reason == Reason.PATH_OUTSIDE
    assert repr(name) in e.value.detail


def test_a_link_out_of_the_folder_is_followed_only_on_request(folder: Path):
    (folder / "secret.jpg").write_bytes(b"secret")
    (folder / "images" / "link.jpg").symlink_to(folder / "secret.jpg")
    with pytest.raises(RejectedError) as e:
        _refs(("link.jpg",), folder / "images")
    assert e.value.reason == Reason.PATH_OUTSIDE
    assert _refs(("link.jpg",), folder / "images", follow_links=True) == [folder / "images" / "link.jpg"]


@pytest.mark.parametrize("name", ["images/gone.jpg", "images"])
def test_what_is_no_file_is_missing(folder: Path, name: str):
    with pytest.raises(RejectedError) as e:
        _refs((name,), folder)
    assert e.value.reason == Reason.MISSING_IMAGE


def test_a_name_too_long_for_a_file_is_no_crash(folder: Path):
    with pytest.raises(RejectedError):
        _refs(("x" * 5000,), folder)


def test_embedded_images_need_no_file(folder: Path):
    record = Record(file=0, number=0, offset=0, raw=b"{}", value={}, images=(b"a", b"b"))
    assert [r.data for r in image_refs(record, ("x", "y"), folder, follow_links=False)] == [b"a", b"b"]
    with pytest.raises(RejectedError, match="the record names 1 images, but embeds 2"):
        image_refs(record, ("x",), folder, follow_links=False)


def _frames(folder: Path, root: Path, *, follow_links: bool = False) -> list[str]:
    rules = RecordConfig(frames=2, follow_links=follow_links)
    (video,) = video_refs((folder.relative_to(root).as_posix(),), root, rules)
    return [image.path.name for image in video if image.path is not None]


def test_no_frame_leaves_the_images_folder(tmp_path: Path):
    (tmp_path / "private.png").write_bytes(b"private")
    clip = tmp_path / "pool" / "clip"
    clip.mkdir(parents=True)
    (clip / "0.png").symlink_to(tmp_path / "private.png")
    with pytest.raises(RejectedError) as e:
        _frames(clip, tmp_path / "pool")
    assert (e.value.reason, e.value.detail) == (Reason.PATH_OUTSIDE, "path 'clip/0.png' leaves its folder")
    assert _frames(clip, tmp_path / "pool", follow_links=True) == ["0.png", "0.png"]


def test_pipes_and_devices_are_no_frames(tmp_path: Path):
    os.mkfifo(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to("/dev/zero")
    (tmp_path / "2.png").write_bytes(b"a frame")
    (tmp_path / "3.png").mkdir()
    assert _frames(tmp_path, tmp_path.parent) == ["2.png", "2.png"]
    (tmp_path / "2.png").unlink()
    with pytest.raises(RejectedError) as e:
        _frames(tmp_path, tmp_path.parent, follow_links=True)
    assert e.value.reason == Reason.UNREADABLE_VIDEO
