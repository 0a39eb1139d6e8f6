# SPDX-License-Identifier: Apache-2.0
"""A graph says which outputs feed which inputs, and a session needs not be told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from accelerate_core import Accelerator
from accelerate_core.errors import ModelError
from accelerate_core.testing import models

STEPS = models.recurrent_inputs(3)


def recurrent(path: Path, state: str | None) -> Path:
    model = onnx.load(str(resources.files("accelerate_core") / "data" / "tiny_recurrent.onnx"))
    if state is not None:
        model.metadata_props.add(key="accelerate.state", value=state)
    onnx.save(model, path)
    return path


def renamed(path: Path, names: Mapping[str, str]) -> Path:
    """Save the recurrent graph with other names for its tensors."""
    model = onnx.load(str(recurrent(path, None)))
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]
    onnx.save(model, path)
    return path


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}


def test_a_graph_that_says_its_state_needs_no_more(tmp_path: Path, options: Any) -> None:
    path = recurrent(tmp_path / "said.onnx", json.dumps({"h_in": "h_out"}))
    expected = [one["y"] for one in models.expected_recurrent(STEPS)]
    with Accelerator(**options) as accelerator:
        model = accelerator.accelerate_model(f"file:{path}", platform="cpu")
        with accelerator.session(model) as session:
            for inputs, right in zip(STEPS, expected, strict=True):
                np.testing.assert_array_equal(session(inputs)["y"], right)


def test_the_cache_of_a_decoder_is_its_state(
    tmp_path: Path,
    options: Any,
    make_checkpoint: Any,
    resolve: Callable[..., Any],
    run: Callable[..., Any],
) -> None:
    make_checkpoint(tmp_path / "llama", "llama", num_hidden_layers=2)
    reference = f"dir:{tmp_path / 'llama'}#decode"
    ids = np.array([[5, 3, 9, 4, 7]], np.int64)
    spec = resolve(reference)
    caches = [f"{layer}.{kind}" for layer in range(2) for kind in ("key", "value")]
    assert spec.metadata["state"] == {f"past_key_values.{c}": f"present.{c}" for c in caches}
    shapes = {one.name: one.shape for one in spec.inputs}
    empty = {
        name: np.zeros([1, shapes[name][1], 0, shapes[name][3]], np.float32)
        for name in spec.metadata["state"]
    }
    positions = np.arange(5, dtype=np.int64)[None]
    whole = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
    expected = run(spec, {**whole, **empty})["logits"]
    with Accelerator(**options) as accelerator:
        model = accelerator.accelerate_model(reference, platform="cpu")
        with accelerator.session(model) as session:
            for at in range(5):
                step = {
                    "input_ids": ids[:, at : at + 1],
                    "attention_mask": np.ones((1, at + 1), np.int64),
                    "position_ids": positions[:, at : at + 1],
                }
                outputs = session(step)
                assert set(outputs) == {"logits"}, "the cache left its worker"
                np.testing.assert_allclose(outputs["logits"][:, 0], expected[:, at], atol=1e-5)
    assert "state" not in resolve(f"dir:{tmp_path / 'llama'}#prefill").metadata


@pytest.mark.parametrize(
    ("names", "state"),
    [
        (("past_key_values.0.key", "present.0.key"), True),
        (("past_key_values.0.decoder.key", "present.0.decoder.key"), True),
        (("past_key_values.0.encoder.key", "present.0.encoder.key"), False),
        (("past_key_values.0.key", "present.1.key"), False),
    ],
)
def test_names_say_it_where_both_ends_are_there(
    tmp_path: Path, resolve: Callable[..., Any], names: tuple[str, str], state: bool
) -> None:
    path = renamed(tmp_path / "named.onnx", {"h_in": names[0], "h_out": names[1]})
    found = resolve(f"file:{path}").metadata.get("state")
    assert found == ({names[0]: names[1]} if state else None)


@pytest.mark.parametrize(
    "said", ["h_in", '["h_in"]', '{"h": "h_out"}', '{"h_in": "h"}', '{"h_in": ["h_out"]}']
)
def test_what_a_graph_says_of_state_it_does_not_have_is_refused(
    tmp_path: Path, resolve: Callable[..., Any], said: str
) -> None:
    path = recurrent(tmp_path / "wrong.onnx", said)
    with pytest.raises(ModelError, match=r"accelerate\.state") as caught:
        resolve(f"file:{path}")
    assert caught.value.info.where == str(path)
    assert {"x", "h_in", "h_out", "y"} < set(caught.value.info.accepted)


def test_where_nothing_says_it_the_words_help(tmp_path: Path, options: Any) -> None:
    path = recurrent(tmp_path / "silent.onnx", None)
    with Accelerator(**options) as accelerator:
        model = accelerator.accelerate_model(f"file:{path}", platform="cpu")
        with pytest.raises(ModelError, match="does not say which output feeds which input") as said:
            accelerator.session(model)
        assert 'state={"<input>": "<output>"}' in str(said.value)
        assert "h_in: float32[batch, 4]" in said.value.info.accepted
