"""Configuration of a model: only what changes the function or its parameters. `presets` has the named sizes."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.images.views import AnyresViewConfig, ViewConfig

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Attention = Literal["auto", "xla", "splash", "cudnn"]
Remat = Literal["none", "minimal", "full"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu"]


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a model is computed; changes neither its function nor its parameters.

    Attributes:
      dtype: of activations and matrix products. Parameters, norms, softmax and logits are always float32.
      remat: what of a layer is recomputed in the backward pass: nothing ("none"), everything between matrix products
        ("minimal"; costs next to nothing, and on a CPU saves more time than it takes), or the whole layer ("full").
      attention: which implementation, see `attention.api.attend`.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Remat = "minimal"
    attention: Attention = "auto"


FLOAT32 = Compute()


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A vision transformer with learned positions and pre-norm layers.

    The defaults are SigLIP's (arXiv 2303.15343); CLIP (arXiv 2103.00020) has a class token, a norm before the first
    layer and no bias in the patch embedding.

    Attributes:
      image_size: side of the square input in pixels; a remainder of the division by `patch_size` is cropped.
      patch_size: side of a patch in pixels.
      width, depth, heads, mlp: hidden size, number of layers, attention heads, hidden size of the MLP.
      activation: of the MLP. SigLIP uses the tanh approximation of GELU.
      eps: of the layer norms.
      patch_bias: the patch embedding has a bias.
      class_token: a learned token precedes the patches; a VLM uses the patches only.
      pre_norm: a norm before the first layer.
      final_norm: a norm after the last layer. A VLM takes the features before it; it is kept so that a checkpoint that
        has it survives a round trip.
      attention_pool: SigLIP's pooling head, a learned query that attends to the normed features.
      mean, std: of the pixels on the scale 0 to 1, per channel.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    mlp: int
    activation: Activation = "gelu_tanh"
    eps: float = 1e-6
    patch_bias: bool = True
    class_token: bool = False
    pre_norm: bool = False
    final_norm: bool = False
    attention_pool: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.image_size < self.patch_size:
            raise ValueError(f"image_size {self.image_size} is smaller than patch_size {self.patch_size}")
        if self.attention_pool and not self.final_norm:
            raise ValueError("attention_pool reads normed features: it needs final_norm")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches of one image."""
        return self.grid**2


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


@dataclasses.dataclass(frozen=True)
class MoEConfig:
    """Experts in the place of every N-th layer's MLP; the defaults are MM1.5's (arXiv 2409.20566).

    Attributes:
      experts, top_k: number of experts, and experts per token.
      every: N; the last of each N layers has experts.
      capacity: tokens per expert as a multiple of an even share; None is dropless (scoring needs it).
      balance_loss, z_loss: weights of the router losses, see `moe.RouterLosses`.
    """

    experts: int = 64
    top_k: int = 2
    every: int = 2
    capacity: float | None = None
    balance_loss: float = 0.01
    z_loss: float = 0.001

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(f"top_k {self.top_k} must lie between 1 and experts {self.experts}")
        if self.every < 1 or (self.capacity is not None and self.capacity <= 0):
            raise ValueError("every and capacity must be positive")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Lower RoPE frequencies for longer contexts.

    Attributes:
      kind: "linear" divides every frequency by `factor`; "llama3" (Llama 3.1) only those with fewer than `low`
        rotations over the original length, and those between `low` and `high` partially.
      factor: the divisor.
      low, high: rotations over `original_length`; of "llama3".
      original_length: context length of the original training; of "llama3".
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low: float = 1.0
    high: float = 4.0
    original_length: int = 8192


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A causal decoder as of Qwen2 (arXiv 2407.10671): RMSNorm, RoPE, grouped-query attention, SwiGLU.

    Attributes:
      vocab: rows of the embedding.
      width, depth, heads, kv_heads, mlp: as usual; `heads / kv_heads` query heads share one key/value head.
      head_dim: size of a head, `width // heads` if None.
      rope_theta, rope_scaling: base of the RoPE frequencies, and their scaling if any.
      eps: of the RMS norms.
      qkv_bias: biases on the query, key and value projections (Qwen2 has them, Llama has not).
      tie_embeddings: the output projection is the embedding.
      moe: experts in some of the layers; None for a dense decoder.
    """

    vocab: int
    width: int
    depth: int
    heads: int
    kv_heads: int
    mlp: int
    head_dim: int | None = None
    rope_theta: float = 1_000_000.0
    rope_scaling: RopeScaling | None = None
    eps: float = 1e-6
    qkv_bias: bool = True
    tie_embeddings: bool = False
    moe: MoEConfig | None = None

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.head_dim is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; give head_dim")
        if self.head_size % 2:
            raise ValueError(f"rotary embeddings need an even head size, not {self.head_size}")
        if self.moe is not None and self.depth % self.moe.every:
            raise ValueError(f"depth {self.depth} is not a multiple of moe.every {self.moe.every}")

    @property
    def head_size(self) -> int:
        """`head_dim`, or its default."""
        return self.head_dim or self.width // self.heads


@dataclasses.dataclass(frozen=True)
class ConnectorConfig:
    """The connector between patch features and decoder; the sizes are those of the C-Abstractor.

    Attributes:
      kind: "mlp" (LLaVA: two layers with exact GELU, one token per patch) or "c_abstractor" (MM1.5).
      tokens: image tokens of one view, a square number.
      width, depth: channels, and blocks on either side of the pooling.
    """

    kind: Literal["mlp", "c_abstractor"] = "mlp"
    tokens: int = 144
    width: int = 1024
    depth: int = 3

    def __post_init__(self) -> None:
        if math.isqrt(self.tokens) ** 2 != self.tokens:
            raise ValueError(f"tokens {self.tokens} is not a square")
        if self.depth < 2:
            raise ValueError("depth must be at least 2")


@dataclasses.dataclass(frozen=True)
class VLMConfig:
    """Tower, connector and decoder.

    Attributes:
      vision, decoder, connector: the parts.
      views: how images become views, in training and inference.
      anyres: tiles and grids for the view mode "anyres"; a converted checkpoint has its own, which an export writes
        back. None is every grid up to 6 x 6, with at most the tokens of 9 tiles.
      dtype, remat, attention: see `Compute`.
    """

    vision: VisionConfig
    decoder: DecoderConfig
    connector: ConnectorConfig = dataclasses.field(default_factory=ConnectorConfig)
    views: ViewConfig = dataclasses.field(default_factory=ViewConfig)
    anyres: AnyresSpec | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Remat = "minimal"
    attention: Attention = "auto"

    @property
    def compute(self) -> Compute:
        return Compute(self.dtype, self.remat, self.attention)

    @property
    def view_config(self) -> ViewConfig:
        """`views`, completed with the tiles of the mode "anyres"; what `images.preprocess` needs."""
        if self.views.mode != "anyres":
            return self.views
        spec = self.anyres or AnyresSpec(self.vision.image_size, self.vision.patch_size)
        return AnyresViewConfig(spec=spec, mean=self.vision.mean)

    def __post_init__(self) -> None:
        if self.views.mode == "anyres" and self.connector.kind != "mlp":
            raise ValueError("mode anyres needs one token per patch: the connector must be 'mlp'")

    @property
    def image_tokens(self) -> int:
        """T, the features of one view of an image, without the newline."""
        return self.vision.tokens if self.connector.kind == "mlp" else self.connector.tokens
