"""The set `village`: what there is in a village, of cut paper, one thing or two above each other."""

from __future__ import annotations

from benchmarks.outside_sets import village_items as items
from benchmarks.outside_sets.cut_paper import mount
from benchmarks.outside_sets.picture_set import Family, PictureSet, Source, Topic, mixed_source
from mmssr_jax.synthetic.scene import (  # fmt: skip
    ACTIVITY,
    ATTRIBUTE,
    CAUSAL,
    COMPARE,
    FINE,
    HUMANITIES,
    LOGIC,
    OCR,
    SCENE,
    SPATIAL,
)
from mmssr_jax.synthetic.styles import CHOICE, DETAILED, SHORT, WORD, YES_NO

FAMILIES = {
    "card": Family(items.card, {
        "suit": Topic(("Of which suit is the card{where}?", "The suit{where}?"), "The card{where} belongs to the {a}.",
                      items.SUITS, {FINE: 1}),
        "number": Topic(("How many symbols are printed on the card{where}?",), "The card{where} is worth {a}.",
                        items.NUMBERS[:5], {LOGIC: 1}),
    }, ("Which card has the higher value?",), {FINE: 1}),
    "forecast": Family(items.forecast, {
        "sky": Topic(("What does the map{where} forecast?", "What is on its way, going by the map{where}?"),
                     "The map{where} promises {a}.", tuple(items.PACK), {SCENE: 1}),
        "coast": Topic(("Which coast of the island{where} is marked?",), "It is the {a} of the island{where}.",
                       tuple(items.COASTS), {SPATIAL: 1}),
        "pack": Topic(("Visitors to the island{where} should take what?",), "For the island{where} take {a}.",
                      tuple(items.PACK.values()), {CAUSAL: 3}),
    }, (), {SPATIAL: 1}),
    "bed": Family(items.bed, {
        "crop": Topic(("What has the gardener planted{where}?", "Identify the crop{where}."),
                      "In the bed{where} grow {a}.", items.CROPS, {FINE: 1}),
        "plants": Topic(("How many plants grow in the bed{where}?",), "The bed{where} has {a} in all.", items.NUMBERS,
                        {LOGIC: 1}),
    }, ("Which bed is planted more densely?",), {SCENE: 1}),
    "garment": Family(items.garment, {
        "kind": Topic(("What hangs from the rail{where}?", "Which garment is that{where}?"), "On the rail{where}: {a}.",
                      tuple(items.GARMENTS), {FINE: 1}),
        "pattern": Topic(("Is the cloth{where} plain, striped or dotted?",), "The cloth{where} is {a}.", items.PATTERNS,
                         {FINE: 1}),
        "fabric": Topic(("Which dye was used for the cloth{where}?",), "The cloth{where} was dyed {a}.",
                        tuple(items.FABRICS), {ATTRIBUTE: 1}),
    }, (), {ATTRIBUTE: 1}),
    "stall": Family(items.stall, {
        "animal": Topic(("Who lives in the stall{where}?", "Which animal is kept{where}?"),
                        "The stall{where} houses a {a}.", tuple(items.COATS), {FINE: 1}),
        "doing": Topic(("How does the animal{where} spend its time?",), "The animal{where} is {a}.",
                       tuple(items.DOINGS), {ACTIVITY: 2}),
        "faces": Topic(("Towards which side is the nose of the animal{where}?",), "Its nose{where} points {a}.",
                       ("left", "right"), {SPATIAL: 1}),
    }, (), {ACTIVITY: 1}),
    "map": Family(items.road_map, {
        "goal": Topic(("Where does one get by the road from the house{where}?", "Where does the road{where} end?"),
                      "The road{where} takes you to the {a}.", items.GOALS, {SPATIAL: 1}),
        "crossed": Topic(("What does the road{where} cross?",), "On its way the road{where} crosses {a}.",
                         items.CROSSED, {LOGIC: 1}),
    }, (), {SPATIAL: 1}),
    "hob": Family(items.hob, {
        "lit": Topic(("Which ring of the cooker{where} glows?",), "The {a} ring{where} glows.", tuple(items.RINGS),
                     {SPATIAL: 1}),
        "pot": Topic(("On which ring{where} did the cook put the pot?",), "The pot{where} is on the {a} ring.",
                     tuple(items.RINGS), {SPATIAL: 1}),
        "soup": Topic(("What happens to the soup{where}?",), "The soup{where} {a}.", items.SOUPS, {CAUSAL: 3}),
    }, (), {CAUSAL: 1}),
    "shop": Family(items.shop, {
        "sign": Topic(("Which word is painted over the shop{where}?", "Copy the sign{where}."),
                      'Over the shop{where} one reads "{a}".', items.SIGNS, {OCR: 3}),
        "awning": Topic(("The awning{where} is white and which other colour?",), "The awning{where} is white and {a}.",
                        tuple(items.FABRICS), {ATTRIBUTE: 1}),
        "door": Topic(("Is the shop door{where} open or shut?",), "The shop door{where} is {a}.", items.DOORS,
                      {SCENE: 1}),
    }, (), {HUMANITIES: 1}),
}  # fmt: skip

SOURCES = {
    "farm diary": Source({"stall": 3.0, "bed": 2.0}, {WORD: 3.0, SHORT: 2.0, CHOICE: 1.0}, 0.7),
    "high street": Source({"shop": 3.0, "garment": 2.0}, {WORD: 2.0, CHOICE: 1.0, YES_NO: 1.0}, 1.0),
    "bulletin": Source({"forecast": 2.0, "map": 2.0}, {WORD: 2.0, SHORT: 1.0, DETAILED: 1.0}, 1.2),
    "parlour": Source({"card": 2.0, "hob": 2.0}, {WORD: 2.0, CHOICE: 2.0, YES_NO: 1.0}, 0.6),
    "letters": mixed_source(FAMILIES),
}  # fmt: skip

VILLAGE = PictureSet(
    "village", FAMILIES, SOURCES,
    {ATTRIBUTE: 2, SPATIAL: 2, SCENE: 2, LOGIC: 2, FINE: 2, ACTIVITY: 2, HUMANITIES: 2, COMPARE: 1},
    (SPATIAL, SCENE, FINE, COMPARE), mount, 0.3,
    {WORD: "{q} A word or two will do.", CHOICE: "Pick the letter.\n{o}\n{q}", SHORT: "Please reply in a sentence: {q}",
     YES_NO: "{c} Correct or incorrect?", DETAILED: "Tell a blind friend what is here."},
    ("Correct", "Incorrect"), sides={"top": " at the top", "bottom": " at the bottom"}, option="({letter}) {value}",
)  # fmt: skip
