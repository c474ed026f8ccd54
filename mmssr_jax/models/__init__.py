"""Model definitions as flax nnx modules: attention, decoder, vision tower, connectors, CLIP and the VLM.

Local arrays carry their axes as a suffix, for example `q_BLNH`:

    B  batch rows                               D  model width
    L  tokens (of a query)                      F  hidden width of an MLP
    S  key tokens                               N  query heads
    V  vocabulary                               K  key/value heads; in MoE: experts per token
    I  images                                   H  size of a head
    T  tokens (features) of an image            G  groups: query heads per key/value head; repeated layer groups
    P  patches of an image                      E  experts
    Y, X  rows and columns of a feature grid    C  channels; in MoE: slots of an expert (its capacity)
    A  assignments of tokens to experts         R  rows sorted by expert; rank of a LoRA addition

Arguments that are fields of a batch (`tokens`, `pixels`, `image_index`, `positions`, `visible_until`, `starts`) keep
their names; docstrings give their shapes. In these S is also the side of an image in pixels: `pixels` is [I, S, S, 3].
"""
