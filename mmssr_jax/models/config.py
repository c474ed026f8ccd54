"""Configuration of a model: only what changes the function or its parameters. `presets` has the named sizes."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from mmssr_jax.core.sample import ChatTemplate
from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.images.native import NativeViewConfig
from mmssr_jax.images.views import AnyresViewConfig, ViewConfig
from mmssr_jax.models.native_config import NativeConfig

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
      feature_layer: whose output a VLM takes, counted from the last (-1); -2 in LLaVA-1.5. The layers after it are kept
        so that a checkpoint that has them survives a round trip.
      mean, std: of the pixels on the scale 0 to 1, per channel.
      native: for a tower whose images have their native aspect ratio; `image_size` is then the side of a block in
        pixels, and only the sizes, `activation`, `eps`, `mean` and `std` count. None for square views.
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
    feature_layer: int = -1
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    native: NativeConfig | None = None

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads, self.mlp, self.patch_size) < 1:
            raise ValueError("width, depth, heads, mlp and patch_size must be positive")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.image_size < self.patch_size:
            raise ValueError(f"image_size {self.image_size} is smaller than patch_size {self.patch_size}")
        if self.attention_pool and not self.final_norm:
            raise ValueError("attention_pool reads normed features: it needs final_norm")
        if not -self.depth <= self.feature_layer <= -1:
            raise ValueError(f"feature_layer {self.feature_layer} must lie between -1 and -depth = {-self.depth}")
        if self.native is not None:
            self._check_native(self.native)

    def _check_native(self, native: NativeConfig) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(f"a block of {self.image_size} pixels is not a multiple of patch_size {self.patch_size}")
        if self.width // self.heads % 4:
            raise ValueError("rotary positions of rows and columns need a head size that is a multiple of 4")
        if list(native.deepstack) != sorted(set(native.deepstack) & set(range(self.depth))):
            raise ValueError(f"deepstack {native.deepstack} must be ascending layers from 0 to {self.depth - 1}")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches of one image."""
        return self.grid**2


@dataclasses.dataclass(frozen=True)
class MoEConfig:
    """Experts in the place of every N-th layer's MLP; the defaults are MM1.5's (arXiv 2409.20566).

    Attributes:
      experts, top_k: number of experts, and experts per token.
      every: N; the last of each N layers has experts.
      capacity: tokens per expert as a multiple of an even share; None is dropless, as a model that is not trained is.
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
    """A causal decoder as in Qwen2 (arXiv 2407.10671): RMSNorm, RoPE, grouped-query attention, SwiGLU.

    Attributes:
      vocab: rows of the embedding.
      width, depth, heads, kv_heads, mlp: as usual; `heads / kv_heads` query heads share one key/value head.
      head_dim: size of a head, `width // heads` if None.
      rope_theta, rope_scaling: base of the RoPE frequencies, and their scaling if any.
      eps: of the RMS norms.
      qkv_bias: biases on the query, key and value projections (Qwen2 has them, Llama does not).
      qk_norm: an RMS norm over each head's queries and keys before the rotation (Qwen3, arXiv 2505.09388).
      mrope: how many frequencies of a head turn by time, height and width, interleaved (Qwen3-VL); the first number is
        the rest. None for positions of one axis.
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
    qk_norm: bool = False
    mrope: tuple[int, int, int] | None = None
    tie_embeddings: bool = False
    moe: MoEConfig | None = None

    def __post_init__(self) -> None:
        if min(self.vocab, self.width, self.depth, self.heads, self.kv_heads, self.mlp) < 1:
            raise ValueError("vocab, width, depth, heads, kv_heads and mlp must be positive")
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
      kind: "mlp" (LLaVA: two layers with exact GELU, one token per patch), "c_abstractor" (MM1.5) or "merger"
        (Qwen3-VL: one token per block of patches).
      tokens: image tokens of one view, a square number.
      width, depth: channels, and blocks on either side of the pooling.
    """

    kind: Literal["mlp", "c_abstractor", "merger"] = "mlp"
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
      image_newline: the model has the learned newline that can follow the tokens of a view; LLaVA-1.5 has none.
      template: how a conversation becomes text, see `core.sample.ChatTemplate`.
      dtype, remat, attention: see `Compute`.
    """

    vision: VisionConfig
    decoder: DecoderConfig
    connector: ConnectorConfig = dataclasses.field(default_factory=ConnectorConfig)
    views: ViewConfig = dataclasses.field(default_factory=ViewConfig)
    anyres: AnyresSpec | None = None
    image_newline: bool = True
    template: ChatTemplate = "chatml"
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Remat = "minimal"
    attention: Attention = "auto"

    @property
    def compute(self) -> Compute:
        return Compute(self.dtype, self.remat, self.attention)

    @property
    def view_config(self) -> ViewConfig:
        """`views`, completed with the tiles of the mode "anyres"; what `images.preprocess` needs."""
        if self.views.mode not in ("anyres", "native"):
            return self.views
        if self.views.mode == "native":
            assert self.vision.native is not None
            block, frames = self.vision.image_size, self.vision.native.frames
            return NativeViewConfig(
                pixels=self.views.pixels, video_pixels=self.views.video_pixels, block=block, block_frames=frames
            )  # fmt: skip
        spec = self.anyres or AnyresSpec(self.vision.image_size, self.vision.patch_size)
        return AnyresViewConfig(spec=spec, mean=self.vision.mean, frames=self.views.frames)

    def __post_init__(self) -> None:
        if self.views.mode == "anyres" and self.connector.kind != "mlp":
            raise ValueError("mode anyres needs one token per patch: the connector must be 'mlp'")
        if self.views.frames == "pooled" and self.connector.kind != "mlp":
            raise ValueError("pooled frames need one token per patch: the connector must be 'mlp'")
        native = {self.vision.native is not None, self.views.mode == "native", self.connector.kind == "merger"}
        if len(native) > 1:
            raise ValueError("a native tower, the connector 'merger' and views of mode native go together")
        if not self.image_newline and (self.views.newline or self.views.mode == "anyres"):
            raise ValueError("this model has no image newline: views.newline must be false, and the mode not anyres")

    @property
    def image_tokens(self) -> int:
        """T, the features of one view of an image, without the newline."""
        return {"mlp": self.vision.tokens, "merger": 1}.get(self.connector.kind, self.connector.tokens)
