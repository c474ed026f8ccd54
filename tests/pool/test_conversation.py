from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.sample import IMAGE_TAG, Turn
from mmssr_jax.pool.conversation import Conversation, parse_conversation
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair


def _turns(*texts: Any, first: str = "human") -> list[dict[str, Any]]:
    roles = ["human", "gpt"] if first == "human" else ["gpt", "human"]
    return [{"from": roles[i % 2], "value": text} for i, text in enumerate(texts)]


def test_both_spellings_of_a_turn_are_read():
    turns = [{"from": "human", "value": "q"}, {"role": "assistant", "content": "a"}]
    expected = Conversation((Turn("user", "q"), Turn("assistant", "a")), ())
    assert parse_conversation({"conversations": turns}, repair=False) == expected


@pytest.mark.parametrize(
    ("image", "tags", "expected"),
    [
        ("a.jpg", 1, ("a.jpg",)),
        (["a.jpg"], 1, ("a.jpg",)),
        (["a.jpg", "b.jpg"], 2, ("a.jpg", "b.jpg")),
        (None, 0, ()),
        ([], 0, ()),
    ],
)
def test_image_is_a_path_a_list_or_nothing(image: Any, tags: int, expected: tuple[str, ...]):
    record = {"image": image, "conversations": _turns(IMAGE_TAG * tags + "q", "a")}
    assert parse_conversation(record, repair=False).images == expected


def test_text_and_tags_stay_as_they_stood():
    record = {"image": "a.jpg", "conversations": _turns(" q\0 ", "a \n", f"and {IMAGE_TAG}?", "é")}
    conversation = parse_conversation(record, repair=False)
    assert [t.text for t in conversation.turns] == [" q\0 ", "a \n", f"and {IMAGE_TAG}?", "é"]


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"video": 5}, Reason.BAD_VIDEO_FIELD, "its 'video' is 5"),
        ({"video": ["a\0.mp4"]}, Reason.BAD_VIDEO_FIELD, "which is not a path"),
        ({"video": "a.mp4", "image": "a.jpg"}, Reason.BAD_VIDEO_FIELD, "has both an 'image' and"),
        ({"image": 5}, Reason.BAD_IMAGE_FIELD, "its 'image' is 5"),
        ({"image": ["a.jpg", None]}, Reason.BAD_IMAGE_FIELD, "its 'image' is ['a.jpg', None]"),
        ({"image": " "}, Reason.BAD_IMAGE_FIELD, "holds ' ', which is not a path"),
        ({"image": "a\0.jpg"}, Reason.BAD_IMAGE_FIELD, "which is not a path"),
        ({"image": "\ud83d.jpg"}, Reason.BAD_IMAGE_FIELD, "which is not a path"),
        ({"conversations": None}, Reason.NO_CONVERSATION, "its 'conversations' is None"),
        ({"conversations": []}, Reason.NO_CONVERSATION, "its 'conversations' is []"),
        ({"conversations": "q"}, Reason.NO_CONVERSATION, "its 'conversations' is 'q'"),
        ({"conversations": ["q", "a"]}, Reason.BAD_TURN, "turn 1 is 'q'"),
        ({"conversations": [{"value": "q"}]}, Reason.BAD_TURN, "turn 1 has no 'from'"),
        ({"conversations": [{"from": "system", "value": "q"}]}, Reason.UNKNOWN_ROLE, "turn 1 is from 'system'"),
        ({"conversations": _turns("q", None)}, Reason.NOT_A_STRING, "the text of turn 2 is None"),
        ({"conversations": _turns("q", 3)}, Reason.NOT_A_STRING, "the text of turn 2 is 3"),
        ({"conversations": [{"from": "human"}]}, Reason.NOT_A_STRING, "the text of turn 1 is None"),
        ({"conversations": _turns("q", "\udc00")}, Reason.SURROGATE, "turn 2"),
        ({"conversations": [*_turns("q"), *_turns("q", "a")]}, Reason.ROLE_ORDER, "turn 2 is the user's"),
        ({"conversations": _turns("q", "a")[:1]}, Reason.UNANSWERED, "turn 1, the last"),
        ({"conversations": _turns("q", "a")[1:]}, Reason.ROLE_ORDER, "turn 1 is the assistant's"),
        ({"conversations": _turns("q", "")}, Reason.EMPTY_ANSWER, "turn 2"),
        ({"conversations": _turns("q", " \n\t")}, Reason.EMPTY_ANSWER, "turn 2"),
        ({"conversations": _turns("q", "a", " ", "a")}, Reason.EMPTY_QUESTION, "turn 3"),
        ({"conversations": _turns(f"{IMAGE_TAG}\n", "a"), "image": "a"}, Reason.EMPTY_QUESTION, "turn 1"),
        (
            {"conversations": _turns(f"{IMAGE_TAG}{IMAGE_TAG}q", "a"), "image": "a"},
            Reason.IMAGE_TAG_MISMATCH,
            "2 <image> tags, 1 images",
        ),
        (
            {"conversations": _turns(f"{IMAGE_TAG}q", "a"), "image": ["a", "b", "c"]},
            Reason.IMAGE_TAG_MISMATCH,
            "1 <image> tags, 3 images",
        ),
    ],
)
def test_what_breaks_the_format_is_rejected_with_its_reason(
    fields: dict[str, Any], reason: Reason, detail: str, repair: bool
):
    with pytest.raises(RejectedError) as e:
        parse_conversation({"conversations": _turns("q", "a")} | fields, repair=repair)
    assert e.value.reason == reason
    assert detail in e.value.detail
    assert "\n" not in e.value.detail


def test_a_video_takes_the_place_of_images():
    turns = _turns(f"{IMAGE_TAG}\nq", "a")
    found = parse_conversation({"video": "a.mp4", "conversations": turns}, repair=False)
    assert (found.images, found.videos) == ((), ("a.mp4",))
    with pytest.raises(RejectedError, match="0 <image> tags, 1 videos"):
        parse_conversation({"video": "a.mp4", "conversations": _turns("q", "a")}, repair=False)


@pytest.mark.parametrize(
    ("fields", "strict", "texts", "repairs"),
    [
        (
            {"conversations": _turns("hello", "q", "a", first="gpt")},
            Reason.ROLE_ORDER,
            ["q", "a"],
            (Repair.DROPPED_LEADING_TURN,),
        ),
        ({"conversations": _turns("q", "a", "r")}, Reason.UNANSWERED, ["q", "a"], (Repair.DROPPED_UNANSWERED_TURN,)),
        (
            {"conversations": _turns("q", "a"), "image": ["a", "b"]},
            Reason.IMAGE_TAG_MISMATCH,
            [f"{IMAGE_TAG}\n{IMAGE_TAG}\nq", "a"],
            (Repair.ADDED_IMAGE_TAG,),
        ),
        (
            {"conversations": _turns(f"{IMAGE_TAG}\nq", "a")},
            Reason.IMAGE_TAG_MISMATCH,
            ["q", "a"],
            (Repair.DROPPED_IMAGE_TAG,),
        ),
        (
            {"conversations": _turns("x", f"q {IMAGE_TAG}", "a", first="gpt"), "image": "a"},
            Reason.ROLE_ORDER,
            [f"{IMAGE_TAG}\nq", "a"],
            (Repair.DROPPED_LEADING_TURN, Repair.MOVED_IMAGE_TAG),
        ),
    ],
)
def test_llava_mode_repairs_what_strict_mode_rejects(
    fields: dict[str, Any], strict: Reason, texts: list[str], repairs: tuple[Repair, ...]
):
    with pytest.raises(RejectedError) as e:
        parse_conversation(fields, repair=False)
    assert e.value.reason == strict
    conversation = parse_conversation(fields, repair=True)
    assert [t.text for t in conversation.turns] == texts
    assert conversation.repairs == repairs


def test_a_tag_among_others_in_its_turn_is_not_moved():
    text = f"between {IMAGE_TAG} and {IMAGE_TAG}"
    conversation = parse_conversation({"conversations": _turns(text, "a"), "image": ["a", "b"]}, repair=True)
    assert conversation.turns[0].text == text
    assert conversation.repairs == ()


_TEXTS = st.lists(st.sampled_from(["q", "", IMAGE_TAG, "x ", "\ud800"]), max_size=4).map("".join) | st.none()
_MESSAGES = st.lists(
    st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "x"]), "value": _TEXTS}), max_size=5
)
_IMAGES = st.none() | st.just("a") | st.lists(st.just("a"), max_size=3)


@given(_MESSAGES, _IMAGES, st.booleans())
def test_what_is_accepted_keeps_the_promise_of_a_sample(messages: list[Any], image: Any, repair: bool):
    try:
        conversation = parse_conversation({"conversations": messages, "image": image}, repair=repair)
    except RejectedError:
        return
    assert [t.role for t in conversation.turns] == ["user", "assistant"] * (len(conversation.turns) // 2)
    assert all(t.text.replace(IMAGE_TAG, "").strip() for t in conversation.turns)
    assert sum(t.text.count(IMAGE_TAG) for t in conversation.turns) == len(conversation.images)
    assert repair or conversation.repairs == ()
    again = parse_conversation(
        {"image": image and list(conversation.images),
         "conversations": [{"role": t.role, "content": t.text} for t in conversation.turns]},
        repair=repair,
    )  # fmt: skip
    assert (again.turns, again.images, again.repairs) == (conversation.turns, conversation.images, ())
