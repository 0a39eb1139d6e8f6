# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a graph into fewer, larger operators; each is a function that changes a graph."""

from collections.abc import Callable, Sequence

from ..graph import Graph
from .activations import fuse_activations
from .affine import fuse_affine
from .attention import fuse_attention
from .clean import clean
from .convolutions import unfold_convolutions
from .embedding import fuse_embeddings
from .large import cut_large
from .linear import fuse_linear, merge_linear
from .norms import fuse_norms
from .quantized import read_quantized
from .rotary import fuse_rotary

#: In this order.
PASSES: Sequence[Callable[[Graph], None]] = (
    clean,
    read_quantized,
    fuse_activations,
    unfold_convolutions,
    fuse_norms,
    fuse_rotary,
    fuse_attention,
    fuse_embeddings,
    fuse_linear,
    fuse_affine,
    merge_linear,
    cut_large,
)


def fuse(graph: Graph) -> None:
    """Apply all fusions; after each, drop what nothing needs any more."""
    for apply in PASSES:
        apply(graph)
        graph.sort()
        graph.prune()
