"""Extraction of the answer from a model's free text, by VLMEvalKit's rules for evaluation without a judge."""

from __future__ import annotations

import re
from collections.abc import Mapping

NO_CHOICE = "Z"  # VLMEvalKit's letter for "no option"; never correct

_SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
_LAST_TOKENS = 4


def match_choice(answer: str, choices: Mapping[str, str]) -> str:
    """The letter of the option that an answer selects, or "Z".

    Three rules are tried in order: exactly one option letter occurs among the answer's tokens, first within the last
    four; a letter follows "answer is"; exactly one option's text is contained in the answer (case-insensitive; only in
    answers up to twice the length of all options together). Known flaws of the rules are reproduced, so that numbers
    are comparable across papers: a stray article "A" selects option A ("A cat"), and so does the first letter of the
    word after "answer is" ("the answer is blue" selects B).

    Args:
      answer: the model's text.
      choices: the options by letter, A to Z.

    Source: VLMEvalKit, `vlmeval/utils/matching_util.py` (`can_infer`), with the judge switched off.
    """
    return infer_choice(answer, choices) or NO_CHOICE


def infer_choice(answer: str, choices: Mapping[str, str]) -> str | None:
    """Like `match_choice`, but None where VLMEvalKit would query a judge; "Z" where the answer refuses to choose."""
    return _match_letter(answer, choices) or _match_text(answer, choices)


def _match_letter(answer: str, choices: Mapping[str, str]) -> str | None:
    if any(refusal in answer for refusal in _REFUSALS):
        return NO_CHOICE
    tokens = answer.translate(_SEPARATORS).split()
    letters = [letter for letter in choices if letter in tokens]
    if len(letters) == 1 and tokens.index(letters[0]) >= len(tokens) - _LAST_TOKENS:
        return letters[0]
    if not letters and NO_CHOICE in tokens:
        return NO_CHOICE
    stated = _ANSWER_IS.search(answer)
    return stated[1].upper() if stated and stated[1].upper() in choices else None


def _match_text(answer: str, choices: Mapping[str, str]) -> str | None:
    if len(answer) > 2 * sum(len(text) for text in choices.values()):
        return None
    matches = [letter for letter, text in choices.items() if text.lower() in answer.lower()]
    return matches[0] if len(matches) == 1 else None


def yes_or_no(answer: str) -> str:
    """ "Yes" or "No" if the answer contains exactly one of the two words, else "Unknown".

    Source: VLMEvalKit, `YOrN_Extraction`.
    """
    words = strip_punctuation(answer.lower()).split()
    if ("yes" in words) == ("no" in words):
        return "Unknown"
    return "Yes" if "yes" in words else "No"


_PUNCTUATION = (
    ";",
    "/",
    "[",
    "]",
    '"',
    "{",
    "}",
    "(",
    ")",
    "=",
    "+",
    "\\",
    "_",
    "-",
    ">",
    "<",
    "@",
    "`",
    ",",
    "?",
    "!",
)
_DIGIT_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"(?<!\d)\.(?!\d)")
_PERIODS_REMOVED = 32  # the reference passes a regex flag, whose value is 32, as the count of `sub`


def strip_punctuation(text: str) -> str:
    """Removes punctuation by VQA's rule.

    A sign next to a space is deleted; so is every sign if the text has a digit-comma-digit. Other signs become spaces.

    Source: the VQA evaluation (https://github.com/GT-Vision-Lab/VQA), as implemented by VLMEvalKit.
    """
    return remove_punctuation(text, period=_PERIOD)


def remove_punctuation(text: str, *, period: re.Pattern[str]) -> str:
    """`strip_punctuation` with another rule for periods; implementations of VQA's evaluation differ in it."""
    result = text
    for sign in _PUNCTUATION:
        drop = f"{sign} " in text or f" {sign}" in text or _DIGIT_COMMA.search(text) is not None
        result = result.replace(sign, "" if drop else " ")
    return period.sub("", result, count=_PERIODS_REMOVED)


_NUMBERS = ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORD_VALUES = {word: str(max(0, place - 1)) for place, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
    where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
    y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# Keys: each contraction with one apostrophe missing: "dont", "couldn'tve", "couldnt've".
_REPAIRS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS.split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}


def normalise(answer: str) -> str:
    """Normalises a short answer as VQA does: lower case, no punctuation or articles, digits for number words.

    `"The Two dogs."` -> `"2 dogs"`. Source: as `strip_punctuation`.
    """
    return replace_words(strip_punctuation(answer.replace("\n", " ").replace("\t", " ").strip()))


def replace_words(text: str) -> str:
    """The second half of VQA's normalisation: lower case, number words as digits, no articles, apostrophes repaired."""
    words = [_WORD_VALUES.get(word, word) for word in text.lower().split()]
    return " ".join(_REPAIRS.get(word, word) for word in words if word not in _ARTICLES)
