"""Reject reasons and repairs: two closed vocabularies."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why a record was rejected; the `reason` column of `rejects.jsonl`."""

    UNREADABLE_RECORD = "unreadable_record"  # a line of a JSONL file, or a member of a shard, that does not parse
    NOT_AN_OBJECT = "not_an_object"
    MISSING_ID = "missing_id"
    BAD_ID = "bad_id"
    DUPLICATE_ID = "duplicate_id"  # one id for different contents; all its records are rejected
    DUPLICATE_RECORD = "duplicate_record"  # equal id and content; the first record is kept
    BAD_SOURCE = "bad_source"
    NO_CONVERSATION = "no_conversation"
    BAD_TURN = "bad_turn"
    UNKNOWN_ROLE = "unknown_role"
    ROLE_ORDER = "role_order"
    UNANSWERED = "unanswered"
    NOT_A_STRING = "not_a_string"
    SURROGATE = "surrogate"
    EMPTY_QUESTION = "empty_question"
    EMPTY_ANSWER = "empty_answer"
    IMAGE_TAG_MISMATCH = "image_tag_mismatch"
    BAD_IMAGE_FIELD = "bad_image_field"
    BAD_VIDEO_FIELD = "bad_video_field"
    UNSUPPORTED_MEDIA = "unsupported_media"  # audio, or a message part of an unknown type
    BAD_RATINGS = "bad_ratings"
    LOW_RATED = "low_rated"  # no turn reaches the ratings that the settings ask for
    PATH_OUTSIDE = "path_outside"
    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    MISSING_VIDEO = "missing_video"
    UNREADABLE_VIDEO = "unreadable_video"


class Repair(enum.StrEnum):
    """Changes made to a record; the `repairs` column of the index."""

    DROPPED_LEADING_TURN = "dropped_leading_turn"
    DROPPED_UNANSWERED_TURN = "dropped_unanswered_turn"
    MOVED_IMAGE_TAG = "moved_image_tag"
    ADDED_IMAGE_TAG = "added_image_tag"
    EXPANDED_IMAGE_TAG = "expanded_image_tag"  # one tag for a list `images`, repeated per image; also with "strict"
    DROPPED_IMAGE_TAG = "dropped_image_tag"
    DROPPED_LOW_RATED_TURN = "dropped_low_rated_turn"  # by `pool.turns`; once for each question with its answer
    NUMBER_AS_ID = "number_as_id"


class RejectedError(Exception):
    """One record cannot be used.

    Attributes:
      reason: the class of the defect.
      detail: one line that describes it.
    """

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
