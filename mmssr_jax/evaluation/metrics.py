"""How right one answer is: a number for one prediction and its reference. Sums over a benchmark are in score.py."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmssr_jax.evaluation.answers import normalise

Box = tuple[float, float, float, float]
RECALL_IOU = 0.5


def exact(prediction: str, references: Sequence[str]) -> float:
    """1 where the prediction equals a reference after VQA's normalisation, else 0."""
    return float(normalise(prediction) in {normalise(reference) for reference in references})


def vqa_accuracy(prediction: str, references: Sequence[str]) -> float:
    """VQA's accuracy against ten annotators: the mean over leave-one-out subsets of min(1, matches / 3).

    Source: Antol et al. 2015 (VQA), https://visualqa.org/evaluation.html; TextVQA uses the same.
    """
    answer = normalise(prediction)
    matches = [normalise(reference) == answer for reference in references]
    others = [sum(matches) - own for own in matches]
    return sum(min(1.0, count / 3) for count in others) / len(references)


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and replacements of a character."""
    previous = list(range(len(second) + 1))
    for row, a in enumerate(first, 1):
        current = [row]
        for column, b in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]


def anls(prediction: str, references: Sequence[str], *, threshold: float = 0.5) -> float:
    """Average normalised Levenshtein similarity of one answer: the best over the references, 0 below `threshold`.

    The distance ignores case and runs of blanks; it is divided by the longer of the two as written, as in the kit.

    Source: Biten et al. 2019 (ST-VQA), equation 1; VLMEvalKit, `anls_compute`.
    """
    best = 0.0
    for reference in references:
        length = max(len(reference), len(prediction))
        target, answer = (" ".join(text.lower().split()) for text in (reference, prediction))
        if abs(len(target) - len(answer)) > (1 - threshold) * length:
            continue  # below the threshold whatever the letters: spares the quadratic distance of long answers
        best = max(best, 1 - edit_distance(target, answer) / length if length else 1.0)
    return best if best >= threshold else 0.0


def relaxed_match(prediction: str, references: Sequence[str], *, tolerance: float = 0.05) -> float:
    """ChartQA's relaxed accuracy: within 5 % of a number ("12%" is 0.12), else equal text ignoring case.

    A reference that is zero has no relative tolerance: its text has to be equal.

    Source: Methani et al. 2020 and Masry et al. 2022 (ChartQA), section 5.1; pix2struct's `relaxed_correctness`.
    """
    answer = prediction.strip()
    return float(any(_relaxed(answer, reference, tolerance) for reference in references))


def _relaxed(answer: str, reference: str, tolerance: float) -> bool:
    number, target = _number(answer), _number(reference)
    if number is not None and target:
        return abs(number - target) / abs(target) <= tolerance
    return answer.lower() == reference.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def contains(prediction: str, references: Sequence[str], *, formula: bool = False) -> float:
    """OCRBench's rule: 1 where a reference is contained in the prediction.

    Case and surrounding blanks are ignored; in a formula blanks anywhere, but not case.

    Source: Liu et al. 2023 (OCRBench), https://github.com/Yuliang-Liu/MultimodalOCR.
    """

    def plain(text: str) -> str:
        text = text.strip().replace("\n", " ")
        return text.replace(" ", "") if formula else text.lower()

    return float(any(plain(reference) in plain(prediction) for reference in references))


_BOX = re.compile(r"[<\[(]\s*" + r"\s*,\s*".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"\s*[>\])]")


def boxes(text: str) -> list[Box]:
    """All boxes x1, y1, x2, y2 written as `<…>` (MM1.5), `[…]` or `(…)`, in order."""
    return [(float(m[1]), float(m[2]), float(m[3]), float(m[4])) for m in _BOX.finditer(text)]


def overlap(first: Box, second: Box) -> float:
    """Intersection over union; 0 for boxes of no area or with corners in the wrong order."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - width * height
    return width * height / union if union > 0 else 0.0


def box_recall(prediction: str, references: Sequence[str], *, threshold: float = RECALL_IOU) -> float:
    """Recall@1: 1 where the first box of the prediction overlaps a box of the references by more than `threshold`.

    Source: mm1.5 (arXiv 2409.20566) and Kazemzadeh et al. 2014 (RefCOCO): recall@1 at IoU > 0.5.
    """
    found = boxes(prediction)[:1]
    targets = [box for reference in references for box in boxes(reference)]
    return float(any(overlap(box, target) > threshold for box in found for target in targets))
