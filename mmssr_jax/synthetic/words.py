"""The vocabulary: few words, each frequent, most of which name something that some scene shows."""

from __future__ import annotations

LEAVES = ("oak", "maple", "birch", "willow", "clover")
FISH = ("tuna", "perch", "sole", "zebra")
BUTTERFLIES = ("monarch", "comet", "ringlet", "azure")
PLACES = ("beach", "city", "forest", "desert", "mountain", "street", "farm", "harbour")
SCREENS = ("login", "music", "chat", "map", "calendar", "video", "keypad", "mail")
ACTIONS = ("jump", "run", "sit", "wave", "kick", "lift", "climb", "sleep", "throw", "bow")
COUNTRIES = (
    "France", "Italy", "Germany", "Poland", "Japan", "Ukraine", "Austria", "Sweden", "Nigeria", "Belgium", "Greece",
    "Egypt", "Ireland", "Hungary",
)  # fmt: skip
CAPITALS = (
    "Paris", "Rome", "Dublin", "Brussels", "Abuja", "Berlin", "Vienna", "Budapest", "Warsaw", "Kyiv", "Tokyo",
    "Stockholm",
)  # fmt: skip
BUILDINGS = ("pyramid", "tower", "temple", "pagoda", "castle", "arch")
SOLIDS = ("triangle", "square", "pentagon", "hexagon", "octagon")
MOLECULES = ("water", "methane", "ammonia", "oxygen")
COMMON = (
    "apple", "bread", "milk", "salt", "rice", "tea", "egg", "open", "exit", "stop", "sale", "menu", "shop", "bank",
    "hotel", "taxi", "park", "zoo", "north", "south", "east", "west", "gold", "iron", "wood", "wool", "lion", "tiger",
    "horse", "eagle", "moon", "sun", "star", "river", "lake", "hill", "bridge", "piano", "drum",
)  # fmt: skip
NAMES: tuple[str, ...] = (
    *LEAVES, *FISH, *BUTTERFLIES, *PLACES, *SCREENS, *ACTIONS, *COUNTRIES, *CAPITALS, *BUILDINGS, *SOLIDS, *MOLECULES,
)  # fmt: skip
"""Answers to "Which word fits the picture?": drawn by their own kind, printed on signs, and listed in tables."""

WORDS: tuple[str, ...] = (*NAMES, *COMMON)
SHORT: tuple[str, ...] = tuple(w for w in NAMES if len(w) <= 5)


def a(phrase: str) -> str:
    """The phrase with its article: "an orange leaf"."""
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


def plural(noun: str) -> str:
    """The plural of a noun of this vocabulary: "crosses", "cacti"."""
    if noun == "cactus":
        return "cacti"
    if noun == "fish":
        return noun
    if noun in ("leaf", "butterfly"):
        return {"leaf": "leaves", "butterfly": "butterflies"}[noun]
    return noun + ("es" if noun.endswith(("s", "ch")) else "s")


def counted(count: int, noun: str) -> str:
    """ "1 star", "3 crosses"."""
    return f"{count} {noun if count == 1 else plural(noun)}"
