# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a graph into fewer, larger operators; each is a function that changes a graph."""

from collections.abc import Callable, Sequence

from ..graph import Graph

#: In this order.
PASSES: Sequence[Callable[[Graph], None]] = ()


def fuse(graph: Graph) -> None:
    """Apply all fusions, then drop what nothing needs any more."""
    for apply in PASSES:
        apply(graph)
    graph.prune()
