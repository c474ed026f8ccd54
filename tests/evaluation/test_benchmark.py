"""The TSV format: columns, images in every form, and one clear line per mistake."""

from __future__ import annotations

import base64

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import file_digest
from mmssr_jax.evaluation.benchmark import (
    Question,
    benchmark_digest,
    check_columns,
    options,
    parse_list,
    read_benchmark,
)
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import DEFAULT_FRAMES

from .tsv import b64, png, write_tsv

RED, BLUE = png(), png(colour=(0, 0, 200))
ROW = {"index": "0", "image": b64(RED), "question": "What?", "A": "cat", "B": "None", "C": "", "answer": "A"}


def read(path, **more):
    return read_benchmark(path, required=("index", "question"), **more)


def test_a_row(tmp_path):
    (row,) = read(write_tsv(tmp_path / "b.tsv", [ROW]))
    assert row.index == "0"
    assert options(row.fields) == {"A": "cat", "B": "None"}  # an option called None stays; an empty cell is no option
    assert [image.read() for image in row.images] == [RED]
    assert "image" not in row.fields


def test_cells_with_tabs_newlines_quotes_and_more_than_the_csv_limit(tmp_path):
    question = 'a\tb\n"c"' + "x" * 200_000
    (row,) = read(write_tsv(tmp_path / "b.tsv", [{**ROW, "question": question}]))
    assert row.fields["question"] == question


def test_column_names_are_lower_case_but_for_options(tmp_path):
    (row,) = read(write_tsv(tmp_path / "b.tsv", [{**ROW, "L2-category": "x", "Split": "val"}]))
    assert (row.fields["l2-category"], row.fields["split"], row.fields["A"]) == ("x", "val", "cat")


def test_a_short_image_is_another_rows(tmp_path):
    rows = [{**ROW, "image": "1"}, {**ROW, "index": "1", "image": b64(BLUE)}]
    first, second = read(write_tsv(tmp_path / "b.tsv", rows))
    assert first.images[0].data is second.images[0].data
    assert first.images[0].read() == BLUE


@pytest.mark.parametrize("quote", ["'", '"'])
def test_several_images(tmp_path, quote):
    image = "[" + ", ".join(quote + b64(data) + quote for data in (RED, BLUE)) + "]"
    (row,) = read(write_tsv(tmp_path / "b.tsv", [{**ROW, "image": image}]))
    assert [image.read() for image in row.images] == [RED, BLUE]


def test_image_paths(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "red.png").write_bytes(RED)
    path = write_tsv(tmp_path / "b.tsv", [{"index": "0", "question": "?", "image_path": "red.png"}])
    (row,) = read(path, images=tmp_path / "pictures")
    assert row.images[0].read() == RED
    before = benchmark_digest(path, images=tmp_path / "pictures")
    (tmp_path / "pictures" / "red.png").write_bytes(BLUE)
    assert benchmark_digest(path, images=tmp_path / "pictures") != before


def test_image_path_beside_an_image_is_only_a_name(tmp_path):
    (row,) = read(write_tsv(tmp_path / "b.tsv", [{**ROW, "image_path": "absent.png"}]))
    assert row.images[0].read() == RED
    assert row.fields["image_path"] == "absent.png"


def test_a_row_without_image(tmp_path):
    first, second = read(write_tsv(tmp_path / "b.tsv", [ROW, {**ROW, "index": "1", "image": ""}]))
    assert (len(first.images), len(second.images)) == (1, 0)


BOMB = base64.b64encode(
    bytes.fromhex("89504e470d0a1a0a0000000d49484452") + (70000).to_bytes(4) * 2 + bytes.fromhex("08020000005c6d4b2e")
).decode()


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{k: v for k, v in ROW.items() if k != "question"}], "lacks the column question; it has index, image, A"),
        ([ROW, ROW], "index 0 occurs twice"),
        ([{**ROW, "index": ""}], "row 1 has no index"),
        ([{**ROW, "image": "17"}], "index 0 shares the image of row '17', which has none"),
        ([{**ROW, "image": "0"}], "index 0 shares the image of row '0'"),
        ([{**ROW, "image": "é" * 70}], "index 0: the image is not"),
        ([{**ROW, "image": b64(b"no picture" * 20)}], "index 0: the image is not readable"),
        ([{**ROW, "image": BOMB + "A" * 40}], "index 0: "),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, rows, line):
    with pytest.raises(UserError, match=r"b.tsv: ") as error:
        read(write_tsv(tmp_path / "b.tsv", rows))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "absent.png"])
def test_image_path_stays_in_its_folder(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(RED)
    (tmp_path / "in").mkdir()
    path = write_tsv(tmp_path / "in" / "b.tsv", [{"index": "0", "question": "?", "image_path": name}])
    with pytest.raises(UserError, match=r"index 0: image_path .* is not readable"):
        read(path)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"no such file"):
        read(tmp_path / "absent.tsv")
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(UserError, match=r"is empty"):
        read(tmp_path / "empty.tsv")
    (tmp_path / "latin.tsv").write_bytes("index\tquestion\n0\tcaf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"not a readable UTF-8 TSV"):
        read(tmp_path / "latin.tsv")
    (tmp_path / "cut.tsv").write_text("index\tquestion\n0\n")
    with pytest.raises(UserError, match=r"cut.tsv:2: 1 cells where the header has 2"):
        read(tmp_path / "cut.tsv")


def test_columns(tmp_path):
    path = write_tsv(tmp_path / "b.tsv", [{**ROW, "L2-Category": "x"}])
    assert check_columns(path, ("index", "image", "A")) == [*ROW, "l2-category"]
    with pytest.raises(UserError, match=r"b.tsv: lacks the column hint, B2; it has index, image, "):
        check_columns(path, ("hint", "index", "B2"))
    named = write_tsv(tmp_path / "named.tsv", [{"index": "0", "image_path": "x.png"}])
    assert check_columns(named, ("image",)) == ["index", "image_path"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("[1, 2.5]", ["1", "2.5"]),
        ("[true]", ["True"]),  # JSON where Python does not read it
        ("plain", ["plain"]),
        ("[not a list", ["[not a list"]),
        ("[__import__('os').getcwd()]", ["[__import__('os').getcwd()]"]),  # read, never run
    ],
)
def test_parse_list(text, items):
    assert parse_list(text) == items


def test_a_question_has_a_tag_for_each_image(tmp_path):
    (row,) = read(write_tsv(tmp_path / "b.tsv", [ROW]))
    with pytest.raises(UserError, match=r"index 0: the text has 0 <image> tags for 1 images"):
        Question("0", "no tag", row.images, row.fields)


def test_a_folder_of_frames_is_a_video(tmp_path):
    clip = tmp_path / "videos" / "clip"
    clip.mkdir(parents=True)
    colours = [(10 * k, 0, 0) for k in range(5)]
    for k, colour in enumerate(colours):
        (clip / f"frame_{k + 7}.png").write_bytes(png(colour=colour))
    row = {k: v for k, v in ROW.items() if k != "image"}
    path = write_tsv(tmp_path / "b.tsv", [{**row, "video_path": "clip"}, {**row, "index": "1"}])
    check_columns(path, ("index", "image"))  # a video stands for an image
    shown, none = read(path, images=tmp_path / "videos", frames=3)
    assert [image.read() for image in shown.images] == [png(colour=colours[k]) for k in (0, 2, 4)]
    assert none.images == ()
    before = benchmark_digest(path, images=tmp_path / "videos")
    (clip / "frame_7.png").write_bytes(png(colour=(1, 2, 3)))
    assert benchmark_digest(path, images=tmp_path / "videos") != before


def test_a_benchmark_with_the_frame_rate_of_its_videos(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: pip install -e .[video]")
    from tests.images.test_frames import write_video  # a module that is skipped as a whole without PyAV

    write_video(tmp_path / "a.mp4", 40)  # 4 s
    row = {k: v for k, v in ROW.items() if k != "image"}
    path = write_tsv(tmp_path / "b.tsv", [{**row, "video_path": "a.mp4"}])
    (shown,) = read(path, frame_rate=FrameRate())
    assert [image.clip[1] for image in shown.images] == list(range(8))
    (evenly,) = read(path)
    assert len(evenly.images) == DEFAULT_FRAMES


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gone", r"b\.tsv: index 0: video_path 'gone' is not readable"),
        ("../b", r"b\.tsv: index 0: video_path '\.\./b' is not readable"),
        ("empty", r"b\.tsv: index 0: video_path 'empty' is not readable \(.*a folder without images\)"),
    ],
)
def test_a_video_that_cannot_be_read(tmp_path, name, line):
    (tmp_path / "videos" / "empty").mkdir(parents=True)
    row = {k: v for k, v in ROW.items() if k != "image"}
    with pytest.raises(UserError, match=line):
        read(write_tsv(tmp_path / "b.tsv", [{**row, "video_path": name}]), images=tmp_path / "videos")


def test_the_digest_is_of_the_images_that_a_row_names_beside_an_empty_image_cell(tmp_path):
    (tmp_path / "a.png").write_bytes(png(colour=(0, 0, 0)))
    path = tmp_path / "b.tsv"
    path.write_text("index\timage\timage_path\tquestion\n0\t\ta.png\tWhy?\n")
    before = benchmark_digest(path)
    (tmp_path / "a.png").write_bytes(png(colour=(9, 9, 9)))
    assert benchmark_digest(path) != before


def test_paths_beside_inline_images_are_names_only(tmp_path):
    """MME has both; its digest is that of the file, as it was before paths were read."""
    path = tmp_path / "b.tsv"
    path.write_text(f"index\timage\timage_path\tquestion\n0\t{b64(png())}\tnot/there.png\tWhy?\n")
    assert benchmark_digest(path) == file_digest(path)
