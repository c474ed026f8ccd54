"""What a model is made of. Only what changes the function or its parameters; sizes by name are in `presets`."""

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
    """How a model is computed, which changes neither its function nor its parameters.

    Attributes:
      dtype: of activations and matrix products. Parameters, norms, softmax and logits are float32 whatever it is.
      remat: what of a layer is computed again in the backward pass: nothing ("none"), what stands between matrix
        products ("minimal"; costs next to nothing, and on a CPU saves more time than it takes), or all ("full").
      attention: which implementation, see `attention.attend`.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Remat = "minimal"
    attention: Attention = "auto"


FLOAT32 = Compute()


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A vision transformer with learned positions and pre-norm layers.

    The defaults are SigLIP's (arXiv 2303.15343); CLIP (arXiv 2103.00020) has a class token, a norm before the first
    layer and no bias on its patches.

    Attributes:
      image_size: side of the square input in pixels; `patch_size` divides what is used of it.
      patch_size: side of a patch in pixels.
      width, depth, heads, mlp: hidden size, layers, attention heads, size inside the MLP.
      activation: of the MLP. SigLIP uses the tanh approximation of GELU.
      eps: of the layer norms.
      patch_bias: the patch embedding has a bias.
      class_token: a learned token stands before the patches; a VLM takes the patches only.
      pre_norm: a norm before the first layer.
      final_norm: a norm after the last layer. The features of a VLM are taken before it; it is kept so that a
        checkpoint that has it survives a round trip.
      attention_pool: SigLIP's pooling head, a learned query that attends to the normed features.
      mean, std: of the pixels, on the scale 0 to 1, per colour.
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
      length: the most tokens of a text.
      end_token: id of the token whose state stands for the text; None for what stands at the last of `length` places
        (SigLIP, which was trained on padding).
      pad_token: id that texts are filled up with.
      causal: a token sees only those before it (CLIP).
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
    """Two towers and the `width` of the space they share.

    Attributes:
      vision, text, width: see above.
      siglip: as SigLIP joins them: pictures are not projected, texts are with a bias, and so are the products.
      crop: a picture's centre is cut out, instead of squeezing all of it into the square.
    """

    vision: VisionConfig
    text: ClipTextConfig
    width: int
    siglip: bool = False
    crop: bool = True

    def __post_init__(self) -> None:
        if self.siglip != self.vision.attention_pool:
            raise ValueError("SigLIP's vision tower, and no other, has a pooling head")
        if not self.siglip and not (self.vision.class_token and self.vision.final_norm):
            raise ValueError("CLIP's vision tower pools a normed class token: it needs class_token and final_norm")
        if self.siglip and self.width != self.vision.width:
            raise ValueError(f"SigLIP does not project pictures: width {self.width} must be {self.vision.width}")


@dataclasses.dataclass(frozen=True)
class MoEConfig:
    """Experts in the place of every so many-th layer's MLP; the defaults are MM1.5's (arXiv 2409.20566).

    Attributes:
      experts: how many.
      top_k: through how many each token goes.
      every: the last of so many layers has experts.
      capacity: tokens an expert takes, as a multiple of an even share; None drops nothing (as scoring demands).
      balance_loss, z_loss: weights of the router's losses, see `moe.router_losses`.
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
    """Slower rotation for longer contexts.

    Attributes:
      kind: "linear" divides every frequency by `factor`; "llama3" (Llama 3.1) only those that turn less than
        `low` times over the original length, and those between `low` and `high` in part.
      factor: by how much.
      low, high: turns over `original_length`; of "llama3".
      original_length: tokens the model was first trained on; of "llama3".
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low: float = 1.0
    high: float = 4.0
    original_length: int = 8192


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A causal decoder of Qwen2's kind (arXiv 2407.10671): RMSNorm, RoPE, grouped queries, SwiGLU.

    Attributes:
      vocab: rows of the embedding.
      width, depth, heads, kv_heads, mlp: as usual; `heads / kv_heads` query heads share one key/value head.
      head_dim: size of a head, `width // heads` if None.
      rope_theta: base of the rotary frequencies.
      rope_scaling: None for the plain ones.
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
        """`head_dim`, or what follows from width and heads."""
        return self.head_dim or self.width // self.heads


@dataclasses.dataclass(frozen=True)
class ConnectorConfig:
    """What brings patch features to the decoder; the sizes are those of the C-Abstractor.

    Attributes:
      kind: "mlp" (LLaVA: two layers with exact GELU, one token a patch) or "c_abstractor" (MM1.5).
      tokens: image tokens of one view, a square.
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
      views: how the pictures it is trained and asked on become views.
      anyres: tiles and grids of the views' mode "anyres"; a converted checkpoint brings its own, and an export hands
        them on. None is every grid up to 6 x 6, at most 9 tiles' tokens.
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
        """`views` with all that showing a picture takes: what `data.splitting.see` is given."""
        if self.views.mode != "anyres":
            return self.views
        spec = self.anyres or AnyresSpec(self.vision.image_size, self.vision.patch_size)
        return AnyresViewConfig(spec=spec, mean=self.vision.mean)

    def __post_init__(self) -> None:
        if self.views.mode == "anyres" and self.connector.kind != "mlp":
            raise ValueError("mode anyres needs one token a patch, as the connector 'mlp' gives")

    @property
    def image_tokens(self) -> int:
        """T, rows of features that one view of a picture becomes, without the newline."""
        return self.vision.tokens if self.connector.kind == "mlp" else self.connector.tokens
