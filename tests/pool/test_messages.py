from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.sample import IMAGE_TAG, Turn
from mmssr_jax.pool.conversation import parse_conversation
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair


def _ask(content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "a"}], **fields}


_TEXT = {"type": "text", "text": "q"}
_URL = {"type": "image_url", "image_url": {"url": "b.jpg"}}


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    ("record", "text", "images"),
    [
        (_ask([{"type": "image", "image": "a.jpg"}, _TEXT]), "<image>\nq", ("a.jpg",)),
        (_ask([_URL, _TEXT]), "<image>\nq", ("b.jpg",)),
        (_ask([{"type": "image_url", "image_url": "b.jpg"}, _TEXT]), "<image>\nq", ("b.jpg",)),
        (_ask([{"type": "image", "path": "a.jpg"}, _TEXT]), "<image>\nq", ("a.jpg",)),
        (_ask([{"type": "image", "image": "file:///x/a.jpg"}, _TEXT]), "<image>\nq", ("/x/a.jpg",)),
        (_ask([{"type": "image"}, _TEXT], images=["a.jpg"]), "<image>\nq", ("a.jpg",)),
        (_ask([{"type": "image", "text": None, "index": 0}, _TEXT], image="a.jpg"), "<image>\nq", ("a.jpg",)),
        (_ask([_URL, {"type": "image"}, _TEXT], images=["a.jpg"]), "<image>\n<image>\nq", ("b.jpg", "a.jpg")),
        (_ask([{"type": "text", "text": "<image>"}, _URL, _TEXT], images=["a.jpg"]), "<image>\n<image>\nq",
         ("a.jpg", "b.jpg")),
        (_ask("<image><image>q", images=["a.jpg", "b.jpg"]), "<image><image>q", ("a.jpg", "b.jpg")),
        (_ask([_TEXT]), "q", ()),
    ],
)  # fmt: skip
def test_parts_become_tags_and_paths(record: dict[str, Any], text: str, images: tuple[str, ...], repair: bool):
    conversation = parse_conversation(record, repair=repair)
    assert conversation.turns == (Turn("user", text), Turn("assistant", "a"))
    assert (conversation.images, conversation.repairs) == (images, ())


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (_ask([{"type": "image_url", "image_url": {"url": "https://x.org/a.jpg"}}, _TEXT]), Reason.BAD_IMAGE_FIELD,
         "'image_url' holds the URL 'https://x.org/a.jpg'; save the file"),
        (_ask([{"type": "image", "image": "data:image/png;base64,AAAA"}, _TEXT]), Reason.BAD_IMAGE_FIELD, "the URL"),
        (_ask("<image>q", image="http://x.org/a.jpg"), Reason.BAD_IMAGE_FIELD, "'image' holds the URL"),
        (_ask([{"type": "image", "image": 5}, _TEXT]), Reason.BAD_IMAGE_FIELD, "holds 5, which is not a path"),
        (_ask([{"type": "input_audio", "input_audio": {}}, _TEXT]), Reason.UNSUPPORTED_MEDIA, "part of type"),
        (_ask(["q"]), Reason.BAD_TURN, "has a part without a 'type': 'q'"),
        (_ask([{"type": "text", "text": None}]), Reason.NOT_A_STRING, "the text of turn 1 is None"),
        (_ask([_URL, {"type": "image"}, _TEXT]), Reason.IMAGE_TAG_MISMATCH, "1 tags without a path, but 0 paths"),
        (_ask([_URL, _TEXT], images=["a.jpg"]), Reason.IMAGE_TAG_MISMATCH, "0 tags without a path, but 1 paths"),
        (_ask([_URL, {"type": "video", "video": "v.mp4"}, _TEXT]), Reason.BAD_VIDEO_FIELD, "both an image and a video"),
        (_ask([_URL, _TEXT], video="v.mp4"), Reason.BAD_VIDEO_FIELD, "both an image and a video"),
        (_ask("q", audio="a.wav"), Reason.UNSUPPORTED_MEDIA, "has 'audio', which is not supported"),
        (_ask("q", audios=["a.wav"]), Reason.UNSUPPORTED_MEDIA, "has 'audios'"),
        (_ask("<video>\nq"), Reason.IMAGE_TAG_MISMATCH, "turn 1 has a <video> tag, but the record has no video"),
        (_ask("q <audio>"), Reason.IMAGE_TAG_MISMATCH, "turn 1 has a <audio> tag, but the record has no audio"),
        (_ask("<image>q", image="a.jpg", images=["b.jpg"]), Reason.BAD_IMAGE_FIELD, "'image' and 'images' differ"),
        (_ask("<image><image>q", images=["a", "b", "c"]), Reason.IMAGE_TAG_MISMATCH,
         "2 <image> tags, 3 images in 'images'"),
        ({"messages": []}, Reason.NO_CONVERSATION, "its 'messages' is []"),
    ],
)  # fmt: skip
def test_media_that_cannot_be_read_never_pass_as_text(
    record: dict[str, Any], reason: Reason, detail: str, repair: bool
):
    with pytest.raises(RejectedError) as e:
        parse_conversation(record, repair=repair)
    assert (e.value.reason, detail in e.value.detail) == (reason, True), e.value.detail


@pytest.mark.parametrize(
    "text", ["How does <video> differ from <audio> in HTML?", "Write a page with <video controls>."]
)
def test_elements_of_html_inside_a_text_are_text(text: str):
    assert parse_conversation(_ask(text), repair=False).turns[0].text == text


@pytest.mark.parametrize("field", [{"video": "v.mp4"}, {"videos": ["v.mp4"]}])
@pytest.mark.parametrize("tag", ["<video>", "<image>"])
def test_a_video_has_either_tag(field: dict[str, Any], tag: str):
    conversation = parse_conversation(_ask(f"{tag}\nq", **field), repair=False)
    assert (conversation.turns[0].text, conversation.videos) == ("<image>\nq", ("v.mp4",))


def test_a_video_part():
    conversation = parse_conversation(_ask([{"type": "video", "video": "v.mp4"}, _TEXT]), repair=False)
    assert (conversation.turns[0].text, conversation.videos) == ("<image>\nq", ("v.mp4",))


def test_equal_fields_for_images_are_read_once():
    assert parse_conversation(_ask("<image>q", image="a", images=["a"]), repair=False).images == ("a",)
    assert parse_conversation(_ask("<image>q", image="a", images=[]), repair=False).images == ("a",)


def test_one_tag_for_a_list_of_images_is_repeated_and_counted():
    conversation = parse_conversation(_ask("Look: <image> q", images=["a", "b"]), repair=False)
    assert conversation.turns[0].text == f"Look: {IMAGE_TAG}\n{IMAGE_TAG} q"
    assert conversation.repairs == (Repair.EXPANDED_IMAGE_TAG,)


def _with_system(*places: int) -> dict[str, Any]:
    turns = [{"from": "human" if i % 2 == 0 else "gpt", "value": f"t{i}"} for i in range(4)]
    for place in places:
        turns.insert(place, {"from": "system", "value": "Be brief."})
    return {"conversations": turns}


@pytest.mark.parametrize("repair", [False, True])
def test_a_system_turn_leads_or_is_named(repair: bool):
    conversation = parse_conversation(_with_system(0), repair=repair)
    assert (conversation.system, len(conversation.turns), conversation.repairs) == ("Be brief.", 4, ())
    assert parse_conversation(_with_system(), repair=repair).system is None
    for places in ((1,), (0, 1), (4,)):
        with pytest.raises(RejectedError, match=r"unknown_role: turn \d is from 'system'; only the first turn can be"):
            parse_conversation(_with_system(*places), repair=repair)


def test_a_blank_system_turn_is_none_and_an_image_in_it_is_named():
    record = _with_system(0)
    record["conversations"][0]["value"] = " \n"
    assert parse_conversation(record, repair=False).system is None
    record["conversations"][0]["value"] = "<image>"
    with pytest.raises(RejectedError, match="the system prompt, has an image or a video"):
        parse_conversation(record, repair=False)


_FIELDS = ("image", "images", "video", "videos", "audio", "audios")
_VALUES = st.sampled_from(["a.jpg", ["a.jpg"], ["a.jpg", "b.jpg"], [], None, "", 3, ["http://x/a.jpg"], [None]])
_TAGS = st.lists(st.sampled_from(["<image>", "<video>", "<audio>"]), max_size=3)


@given(st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=3), _TAGS, st.booleans(), st.booleans())
@settings(max_examples=500, deadline=None)
def test_no_combination_of_media_and_tags_passes_as_text(
    fields: dict[str, Any], tags: list[str], in_messages: bool, repair: bool
):
    """What is accepted has a tag for each medium, and no tag of another in front."""
    turns = [{"role": "user", "content": "\n".join([*tags, "What?"])}, {"role": "assistant", "content": "That."}]
    key = "messages" if in_messages else "conversations"
    try:
        found = parse_conversation({**fields, key: turns}, repair=repair)
    except RejectedError:
        return
    given_media = {name for name in _FIELDS if fields.get(name)}
    assert not {"audio", "audios"} & given_media
    assert bool(found.images) == bool({"image", "images"} & given_media)
    assert bool(found.videos) == bool({"video", "videos"} & given_media)
    assert found.turns[0].text.count(IMAGE_TAG) == len(found.images) + len(found.videos)
    assert "<video>" not in found.turns[0].text
    assert not found.turns[0].text.startswith("<audio>")


_WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def _with_tools() -> dict[str, Any]:
    return {
        "tools": [_WEATHER],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            {"role": "assistant", "content": "I look.", "tool_calls": [
                {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}},
                {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            ]},
            {"role": "tool", "content": "18"},
            {"role": "tool", "content": [{"type": "text", "text": "3"}]},
            {"role": "assistant", "content": "18 and 3."},
        ],
    }  # fmt: skip


def test_tools_become_text_of_the_turns():
    """As the chat templates of Qwen2.5 and Qwen3 write them; what functions return is one turn of the user's."""
    found = parse_conversation(_with_tools(), repair=False)
    assert found.system is not None
    assert found.system.startswith("Be brief.\n\n# Tools\n\nYou may call one or more functions")
    assert (
        '<tools>\n{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}\n</tools>'
    ) in found.system
    assert [(turn.role, turn.text) for turn in found.turns] == [
        ("user", "Weather in Rome and Oslo?"),
        ("assistant", 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
                      '<tool_call>\n{"name": "weather", "arguments": {"city":"Oslo"}}\n</tool_call>'),
        ("user", "<tool_response>\n18\n</tool_response>\n<tool_response>\n3\n</tool_response>"),
        ("assistant", "18 and 3."),
    ]  # fmt: skip


@pytest.mark.parametrize("tools", [[], "", None, "[]"])
def test_no_tools_leave_the_system_message(tools: Any):
    assert parse_conversation({**_with_system(0), "tools": tools}, repair=False).system == "Be brief."
    assert parse_conversation({**_with_system(), "tools": tools}, repair=False).system is None


def test_an_image_that_a_function_returned_is_the_users():
    record = _with_tools()
    record["messages"][3]["content"] = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "seen"}]
    found = parse_conversation(record, repair=False)
    assert found.images == ("a.png",)
    assert found.turns[2].text.startswith("<tool_response>\n<image>\nseen\n</tool_response>\n")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tools": "hammer"}, "its 'tools' is 'hammer', expected a list of objects"),
        ({"tools": [1]}, "its 'tools' is .*, expected a list of objects"),
        ({"tools": "[" * 100_000}, "its 'tools' is .*, expected a list of objects"),
        ({"calls": "weather"}, "the 'tool_calls' of turn 3 is 'weather', expected a list"),
        (
            {"calls": [{"function": {"name": "weather"}}]},
            "a tool call of turn 3 is .*expected a function with name and",
        ),
        ({"calls": [{"function": {"name": "w", "arguments": "\ud800"}}]}, "turn 3 holds a lone surrogate"),
    ],
)
def test_tools_that_cannot_be_read(change: dict[str, Any], match: str):
    record = _with_tools()
    if "calls" in change:
        record["messages"][2]["tool_calls"] = change["calls"]
    else:
        record |= change
    with pytest.raises(RejectedError, match=match):
        parse_conversation(record, repair=False)
