"""Metrics of a single prediction against its references; score.py aggregates them over a benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rapidfuzz.distance.Levenshtein import distance as edit_distance

from mmssr_jax.evaluation.answers import normalise
from mmssr_jax.images.coordinates import iou

Box = tuple[float, float, float, float]
RECALL_IOU = 0.5


def exact(prediction: str, references: Sequence[str]) -> float:
    """1 if the prediction equals a reference after VQA's normalisation, else 0."""
    return float(normalise(prediction) in {normalise(reference) for reference in references})


def vqa_accuracy(prediction: str, references: Sequence[str], *, normaliser: Callable[[str], str] = normalise) -> float:
    """VQA's accuracy against ten annotators: the mean over leave-one-out subsets of min(1, matches / 3).

    Args:
      prediction: the model's answer.
      references: the annotators' answers.
      normaliser: of all answers.

    Source: Antol et al. 2015 (VQA), https://visualqa.org/evaluation.html; TextVQA uses the same.
    """
    answer = normaliser(prediction)
    matches = [normaliser(reference) == answer for reference in references]
    matches_without = [sum(matches) - match for match in matches]
    return sum(min(1.0, count / 3) for count in matches_without) / len(references)


def anls(prediction: str, references: Sequence[str], *, threshold: float = 0.5) -> float:
    """Normalised Levenshtein similarity of one answer: the maximum over the references, 0 below `threshold`.

    The distance ignores case and repeated white space; as in VLMEvalKit, it is divided by the length of the longer
    text before these are normalised.

    Source: Biten et al. 2019 (ST-VQA), equation 1; VLMEvalKit, `anls_compute`.
    """
    best = 0.0
    for reference in references:
        length = max(len(reference), len(prediction))
        target, answer = (" ".join(text.lower().split()) for text in (reference, prediction))
        best = max(best, 1 - edit_distance(target, answer) / length if length else 1.0)
    return best if best >= threshold else 0.0


def relaxed_match(prediction: str, references: Sequence[str], *, tolerance: float = 0.05) -> float:
    """ChartQA's relaxed accuracy: within 5 % of a number ("12%" is 0.12); for other text, equality ignoring case.

    A reference of zero admits no relative tolerance: its text has to be equal.

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
    """OCRBench's rule: 1 if a reference is contained in the prediction, else 0.

    Case and surrounding white space are ignored; in a formula all spaces are ignored, but case is significant.

    Source: Liu et al. 2023 (OCRBench), https://github.com/Yuliang-Liu/MultimodalOCR.
    """

    def plain(text: str) -> str:
        text = text.strip().replace("\n", " ")
        return text.replace(" ", "") if formula else text.lower()

    return float(any(plain(reference) in plain(prediction) for reference in references))


_BOX = re.compile(r"[<\[(]\s*" + r"\s*,\s*".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"\s*[>\])]")


def boxes(text: str) -> list[Box]:
    """All boxes x1, y1, x2, y2 in a text, written as `<…>` (MM1.5), `[…]` or `(…)`, in order."""
    return [(float(m[1]), float(m[2]), float(m[3]), float(m[4])) for m in _BOX.finditer(text)]


def box_recall(prediction: str, references: Sequence[str], *, threshold: float = RECALL_IOU) -> float:
    """Recall@1: 1 if the IoU of the prediction's first box with a reference box exceeds `threshold`, else 0.

    Source: mm1.5 (arXiv 2409.20566) and Kazemzadeh et al. 2014 (RefCOCO): recall@1 at IoU > 0.5.
    """
    predicted = boxes(prediction)[:1]
    targets = [box for reference in references for box in boxes(reference)]
    return float(any(iou(box, target) > threshold for box in predicted for target in targets))
