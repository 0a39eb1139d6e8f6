# SPDX-License-Identifier: Apache-2.0
"""Which output of a graph is the next value of which input, where the graph says it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import onnx

from accelerate_core.errors import ModelError

#: Metadata key of a graph: a JSON object of state outputs by the inputs they feed.
STATE_KEY = "accelerate.state"
#: As transformers' exporters name a decoder's cache.
_PAST = re.compile(r"past_key_values\.(\d+\..+)")
#: What it keeps of the encoder's answer is given to each run, and made by the first one only.
_OF_ENCODER = ".encoder."


def state_of(model: onnx.ModelProto, where: str) -> dict[str, str]:
    """Return the state outputs by the inputs they feed; empty where nothing says so.

    ModelError where the graph's metadata names what it does not have.
    """
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    for entry in model.metadata_props:
        if entry.key == STATE_KEY:
            return _declared(entry.value, inputs, outputs, where)
    named = {
        name: f"present.{match[1]}"
        for name in inputs
        if _OF_ENCODER not in name and (match := _PAST.fullmatch(name))
    }
    return named if set(named.values()) <= set(outputs) else {}


def _declared(text: str, inputs: list[str], outputs: list[str], where: str) -> dict[str, str]:
    try:
        pairs = json.loads(text)
    except ValueError:
        pairs = None
    if (
        not isinstance(pairs, Mapping)
        or not set(pairs) <= set(inputs)
        or not all(made in outputs for made in pairs.values())
    ):
        raise ModelError(
            f"its metadata {STATE_KEY} is no JSON object of outputs by inputs: {text[:80]!r}",
            where=where,
            accepted=('{"<input>": "<output>"}', *inputs, *outputs),
            hint="Name inputs and outputs that the graph has, or leave the entry out.",
        )
    return dict(pairs)
