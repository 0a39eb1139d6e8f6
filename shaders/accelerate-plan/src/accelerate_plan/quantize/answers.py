# SPDX-License-Identifier: Apache-2.0
"""What a model answers, as vectors, and how alike two models' answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.errors import ConfigError
from accelerate_core.measuring.numbers import synthetic_inputs

from .network import Network

if TYPE_CHECKING:
    from accelerate_core.protocols import Processor
    from accelerate_core.types import Array, ModelSpec

    Inputs = Mapping[str, Array]

_SAMPLES = 4
_LENGTH = 8  # positions of made-up inputs
_HELD_OUT = 5  # every fifth text
_WHERE = "--calibrate"
_WITHOUT_TEXTS = "Use --method rtn or hqq, which need no calibration."


@attrs.frozen
class Likeness:
    """Hold cosines between the answers of two models."""

    mean: float
    percentile_5: float
    least: float
    inputs: int
    about: str  #: what the inputs are

    @classmethod
    def of(cls, cosines: Array, about: str) -> Likeness:
        """Return the facts of cosines, one an input."""
        return cls(
            float(cosines.mean()),
            float(np.percentile(cosines, 5)),
            float(cosines.min()),
            len(cosines),
            about,
        )


@attrs.frozen
class Data:
    """Hold inputs to learn from, and others to judge by."""

    calibration: Sequence[Inputs]
    held_out: Sequence[Inputs]
    about: str  #: what the held-out inputs are


def read_texts(lines: Sequence[str], processor: Processor | None) -> Data:
    """Return texts, one a line, every fifth held out; ConfigError for too few or a model of others.

    Each text is an input of its own: padding would take part in the moments.
    """
    texts = [line.strip() for line in lines if line.strip()]
    if len(texts) < _HELD_OUT:
        raise ConfigError(
            f"{len(texts)} texts are too few to calibrate with",
            where=_WHERE,
            accepted=(f"a text a line, {_HELD_OUT} or more",),
            hint="A few hundred, like those the model is used for, are good.",
        )
    if processor is None:
        raise ConfigError(
            "this model has no processor that takes texts", where=_WHERE, hint=_WITHOUT_TEXTS
        )
    try:
        encoded = [processor.encode([text]) for text in texts]
    except Exception as error:
        raise ConfigError(
            f"the model's processor takes no texts: {error}", where=_WHERE, hint=_WITHOUT_TEXTS
        ) from error
    held_out = encoded[_HELD_OUT - 1 :: _HELD_OUT]
    calibration = [one for i, one in enumerate(encoded) if i % _HELD_OUT != _HELD_OUT - 1]
    return Data(calibration, held_out, "held-out texts of the calibration file")


def made_up(spec: ModelSpec, processor: Processor | None) -> Data:
    """Return inputs to judge by where the user gave none."""
    if processor is None:
        return Data((), [synthetic_inputs(spec, 1, _LENGTH)], "made-up inputs")
    samples = processor.sample(_SAMPLES, None)
    return Data((), [processor.encode([one]) for one in samples], "the processor's samples")


class Answers:
    """Turn a model's outputs into a vector per input: embeddings where it makes those."""

    def __init__(self, network: Network, spec: ModelSpec, processor: Processor | None) -> None:
        self._network = network
        self._outputs = [one.name for one in spec.outputs]
        self._processor = processor if spec.task == "text_embedding" else None

    def of(self, inputs: Sequence[Inputs], replaced: Mapping[str, Array]) -> list[Array]:
        """Return the answer to each input, with matrices replaced."""
        return [self._vector(one, replaced) for one in inputs]

    def _vector(self, inputs: Inputs, replaced: Mapping[str, Array]) -> Array:
        outputs = self._network.run(inputs, replaced, self._outputs)
        if self._processor is not None:
            embedding: Any = self._processor.decode(outputs, inputs)
            return np.asarray(embedding, np.float64).ravel()
        floats = [one.ravel() for one in outputs.values() if one.dtype.kind == "f"]
        return np.concatenate(floats).astype(np.float64)


def cosines(these: Sequence[Array], those: Sequence[Array]) -> Array:
    """Return the cosine between each two answers."""
    return np.array(
        [
            float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
            for a, b in zip(these, those, strict=True)
        ]
    )
