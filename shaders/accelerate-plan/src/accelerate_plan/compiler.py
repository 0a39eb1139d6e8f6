# SPDX-License-Identifier: Apache-2.0
"""From a graph to the plan of it: fused, lowered, assembled. Pure; no file is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate_core.errors import Unsupported

from .assemble import Assembled, Choose, assemble
from .catalogue import Catalogue
from .fusions import fuse
from .graph import Graph
from .kernels import Device
from .lowering import LOWERINGS, Lowering


def compile_graph(
    graph: Graph,
    catalogue: Catalogue,
    device: Device,
    choose: Choose,
    *,
    about: Mapping[str, Any] | None = None,
) -> Assembled:
    """Return the plan of a graph, which fusions change; Unsupported names what is not covered."""
    fuse(graph)
    if missing := uncovered(graph):
        operators = ", ".join(sorted({one for one, _ in missing}))
        raise Unsupported(
            f"no kernel does {operators} ({len(missing)} of {len(graph.nodes)} nodes)",
            where=f"model {graph.name}, node {missing[0][1]}",
            hint="Take the engine ort, or auto, which does so by itself.",
        )
    return assemble(Lowering(graph).run(), catalogue, device, choose, about=about)


def uncovered(graph: Graph) -> list[tuple[str, str]]:
    """Return operator and label of each node that no lowering takes; fuse the graph before."""
    return [
        (node.op, node.label or node.outputs[0]) for node in graph.nodes if node.op not in LOWERINGS
    ]
