"""Configuration of CLIP and SigLIP: both towers and their shared space."""

from __future__ import annotations

import dataclasses

from mmssr_jax.models.config import Activation, VisionConfig


@dataclasses.dataclass(frozen=True)
class ClipTextConfig:
    """The text tower of CLIP or SigLIP: a transformer with learned positions; the defaults are CLIP's.

    Attributes:
      vocab: rows of the embedding.
      width, depth, heads, mlp: as in `VisionConfig`.
      length: maximum tokens of a text.
      end_token: id of the token whose state represents the text; None for the last of `length` positions (SigLIP).
      pad_token: id of the padding.
      causal: attention is causal (CLIP).
      activation, eps: of the MLP and of the layer norms.
    """

    vocab: int
    width: int
    depth: int
    heads: int
    mlp: int
    length: int = 77
    end_token: int | None = 49407
    pad_token: int = 49407
    causal: bool = True
    activation: Activation = "quick_gelu"
    eps: float = 1e-5


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Two towers and the `width` of their shared space.

    Attributes:
      vision, text, width: see above.
      siglip: as SigLIP: images are not projected; the projection of texts and the similarities have a bias.
      crop: images are resized and centre-cropped, instead of resized to the square without their aspect ratio.
    """

    vision: VisionConfig
    text: ClipTextConfig
    width: int
    siglip: bool = False
    crop: bool = True

    def __post_init__(self) -> None:
        if self.siglip != self.vision.attention_pool:
            raise ValueError("attention_pool must be set for SigLIP's vision tower, and for no other")
        if not self.siglip and not (self.vision.class_token and self.vision.final_norm):
            raise ValueError("CLIP's vision tower pools a normed class token: it needs class_token and final_norm")
        if self.siglip and self.width != self.vision.width:
            raise ValueError(f"SigLIP does not project images: width {self.width} must be {self.vision.width}")
