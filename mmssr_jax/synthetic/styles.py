"""The nine interaction styles by short names, in the order of core.vocabulary.STYLES."""

from mmssr_jax.core.vocabulary import STYLES

(CHOICE, COORDINATE, YES_NO, WORD, SHORT, DETAILED, COMPARISON, STEPS, SPECIFIED) = STYLES
