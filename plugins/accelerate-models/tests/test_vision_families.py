# SPDX-License-Identifier: Apache-2.0
"""ViT, CLIP, DETR and BLIP against transformers, on native ONNX Runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec

from .conftest import checkpoints

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
DETR = ["detr", "detr-basic", "detr-early"]
END = 11


@pytest.fixture(scope="module")
def write() -> Callable[..., Any]:
    """Write a checkpoint by name and return its torch model."""
    known = checkpoints("vision").CHECKPOINTS
    return lambda name, directory, **changes: known[name](directory, **changes)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[0]).standard_normal(shape).astype(np.float32)


def texts(batch: int, sequence: int) -> dict[str, np.ndarray]:
    """Random ids; row r ends r tokens before the last one, then padding."""
    ids = np.random.default_rng(sequence).integers(3, END, (batch, sequence))
    mask = np.ones_like(ids)
    for row in range(batch):
        end = max(sequence - 1 - row, 0)
        ids[row, end], ids[row, end + 1 :], mask[row, end + 1 :] = END, 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def inputs_for(spec: ModelSpec, batch: int = 3, sequence: int = 7) -> dict[str, np.ndarray]:
    sizes = {"batch": batch, "height": 33, "width": 47}
    known: dict[str, np.ndarray] = texts(batch, sequence)
    for tensor in spec.inputs:
        if tensor.name == "pixel_values":
            known["pixel_values"] = noise(*(sizes.get(str(n)) or int(n) for n in tensor.shape))
    return {tensor.name: known[tensor.name] for tensor in spec.inputs}


def expected(call: Callable[..., Any], inputs: dict[str, np.ndarray], **options: Any) -> Any:
    import torch

    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        return call(**tensors, **options)


def test_vit_equals_transformers(tmp_path: Path, write: Any, resolve: Any, run: Any) -> None:
    model = write("vit", tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    for batch in (1, 3):
        inputs = {"pixel_values": noise(batch, 3, 22, 18)}
        actual = run(spec, inputs)["logits"]
        wanted = expected(model, inputs).logits.numpy()
        np.testing.assert_allclose(actual, wanted, **CLOSE)
    assert spec.inputs[0].shape == ("batch", 3, 22, 18)
    assert spec.task == "vision" and spec.family == "vit"
    # The class token is stored in the row of its position.
    assert spec.parameters == sum(p.numel() for p in model.parameters()) - 21


def test_vit_without_a_classifier_gives_its_states(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write("vit-headless", tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = {"pixel_values": noise(2, 3, 22, 18)}
    actual = run(spec, inputs)["last_hidden_state"]
    np.testing.assert_allclose(actual, expected(model, inputs).last_hidden_state, **CLOSE)


def test_a_vit_for_two_labels_need_not_name_them(
    ctx: Context, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    names = {"id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    model = write("vit", tmp_path / "m", **names)
    assert "id2label" not in json.loads((tmp_path / "m" / "config.json").read_text())
    spec = resolve(f"dir:{tmp_path / 'm'}")
    inputs = {"pixel_values": noise(2, 3, 22, 18)}
    actual = run(spec, inputs)["logits"]
    np.testing.assert_allclose(actual, expected(model, inputs).logits, **CLOSE)
    labels = ctx.assets.path(spec.processor.assets[0].sha256).read_text()
    assert json.loads(labels) == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize("name", ["clip", "clip-legacy"])
def test_clip_equals_transformers(
    name: str, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write(name, tmp_path / "m")
    parts = ("", "#text", "#vision")
    both, text, vision = (resolve(f"dir:{tmp_path / 'm'}{part}") for part in parts)
    for images, batch, sequence in ((1, 1, 1), (3, 4, 7), (2, 3, 19)):
        pixels, ids = {"pixel_values": noise(images, 3, 14, 14)}, texts(batch, sequence)
        actual, wanted = run(both, {**pixels, **ids}), expected(model, {**pixels, **ids})
        assert actual["logits_per_image"].shape == (images, batch)
        for output in ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
            np.testing.assert_allclose(actual[output], wanted[output], **CLOSE)
        actual, wanted = run(text, ids), expected(model.get_text_features, ids)
        np.testing.assert_allclose(actual["text_embeds"], wanted.pooler_output, **CLOSE)
        np.testing.assert_allclose(actual["last_hidden_state"], wanted.last_hidden_state, **CLOSE)
        actual, wanted = run(vision, pixels), expected(model.get_image_features, pixels)
        np.testing.assert_allclose(actual["image_embeds"], wanted.pooler_output, **CLOSE)
        np.testing.assert_allclose(actual["last_hidden_state"], wanted.last_hidden_state, **CLOSE)
    assert [spec.task for spec in (both, text, vision)] == [
        "multimodal",
        "text_embedding",
        "vision",
    ]
    assert both.metadata["parts"] == ["model", "text", "vision"]


def test_clip_takes_the_first_end_of_a_text_or_the_largest_id(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    """Both rules at once: 2 stands in a text, and so does the largest id, in another place."""
    ids = np.array([[5, 2, 6, 11, 7, 11]])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    for name in ("clip", "clip-legacy"):
        model = write(name, tmp_path / name)
        actual = run(resolve(f"dir:{tmp_path / name}#text"), inputs)["text_embeds"]
        wanted = expected(model.get_text_features, inputs).pooler_output
        np.testing.assert_allclose(actual, wanted, **CLOSE)
    # An end token that is neither 2 nor the largest: its first place counts.
    model = write("clip", tmp_path / "six", eos_token_id=6)
    actual = run(resolve(f"dir:{tmp_path / 'six'}#text"), inputs)["text_embeds"]
    wanted = expected(model.get_text_features, inputs).pooler_output
    np.testing.assert_allclose(actual, wanted, **CLOSE)


@pytest.mark.parametrize("name", DETR)
def test_detr_equals_transformers(
    name: str, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    model = write(name, tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    for shape in ((1, 3, 41, 60), (3, 3, 32, 17), (1, 3, 9, 9)):
        inputs = {"pixel_values": noise(*shape)}
        actual, wanted = run(spec, inputs), expected(model, inputs)
        for output in ("logits", "pred_boxes"):
            np.testing.assert_allclose(actual[output], wanted[output], **CLOSE)
    assert "none" in spec.metadata["pixel_mask"]
    assert spec.task == "vision" and spec.metadata["queries"] == 7


def test_a_detr_with_the_names_of_timm_is_the_same(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    """A ResNet-50 in all but its widths, which the converted names do not change."""
    from accelerate_models.families import resnet

    directory = tmp_path / "m"
    widths = {"hidden_sizes": [8, 12, 16, 20], "depths": [3, 4, 6, 3], "out_features": ["stage4"]}
    model = write("detr", directory, **widths)
    path = directory / "model.safetensors"
    save_file({timm_name(name): value for name, value in load_file(path).items()}, path)
    config = json.loads((directory / "config.json").read_text())
    config |= {"backbone": "resnet50", "use_timm_backbone": True, "backbone_config": None}
    (directory / "config.json").write_text(json.dumps(config))
    narrow = {**resnet._DEFAULTS, "embedding_size": 5, "hidden_sizes": widths["hidden_sizes"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "_DEFAULTS", narrow)
        spec = resolve(f"dir:{directory}")
    inputs = {"pixel_values": noise(1, 3, 41, 60)}
    actual, wanted = run(spec, inputs), expected(model, inputs)
    for output in ("logits", "pred_boxes"):
        np.testing.assert_allclose(actual[output], wanted[output], **CLOSE)


def timm_name(name: str) -> str:
    """Rename a tensor of transformers' ResNet: counted from 1, and flat."""
    name = re.sub(r"embedder\.embedder\.convolution", "conv1", name)
    name = re.sub(r"embedder\.embedder\.normalization", "bn1", name)
    block = r"encoder\.stages\.(\d)\.layers\.(\d)\."
    for kind, short in (("convolution", "conv"), ("normalization", "bn")):
        index = "0" if short == "conv" else "1"
        name = re.sub(
            rf"{block}layer\.(\d)\.{kind}",
            lambda m, s=short: f"layer{int(m[1]) + 1}.{m[2]}.{s}{int(m[3]) + 1}",
            name,
        )
        name = re.sub(
            rf"{block}shortcut\.{kind}",
            lambda m, i=index: f"layer{int(m[1]) + 1}.{m[2]}.downsample.{i}",
            name,
        )
    return name


def test_blip_equals_transformers(tmp_path: Path, write: Any, resolve: Any, run: Any) -> None:
    model = write("blip", tmp_path / "m")
    matching = resolve(f"dir:{tmp_path / 'm'}")
    contrastive = resolve(f"dir:{tmp_path / 'm'}#contrastive")
    for images, batch, sequence in ((1, 1, 1), (3, 3, 7), (1, 3, 7), (3, 1, 19)):
        inputs = {"pixel_values": noise(images, 3, 14, 14), **texts(batch, sequence)}
        pairs = max(images, batch)
        paired = {
            name: np.repeat(value, pairs, axis=0) if len(value) == 1 else value
            for name, value in inputs.items()
        }
        actual = run(matching, inputs)["itm_score"]
        wanted = expected(model, paired).itm_score
        np.testing.assert_allclose(actual, wanted, **CLOSE)
        actual = run(contrastive, inputs)["similarity"]
        wanted = expected(model, inputs, use_itm_head=False).itm_score
        np.testing.assert_allclose(actual, wanted, **CLOSE)
    assert matching.task == "multimodal"


@pytest.mark.parametrize("reference", ["vit", "clip", "clip#text", "detr", "blip"])
def test_fp16_takes_and_gives_the_same_types(
    reference: str, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    name, _, part = reference.partition("#")
    write(name, tmp_path / "m")
    place = f"dir:{tmp_path / 'm'}" + (f"#{part}" if part else "")
    full, half = (resolve(place, precision=precision) for precision in ("fp32", "fp16"))
    inputs = inputs_for(half)
    actual, wanted = run(half, inputs), run(full, inputs)
    for output, value in wanted.items():
        assert actual[output].dtype == np.float32
        assert np.linalg.norm(actual[output] - value) / np.linalg.norm(value) < 2e-2
        assert not np.array_equal(actual[output], value)
    assert half.assets[1].size_bytes < 0.6 * full.assets[1].size_bytes
    assert half.inputs == full.inputs and half.outputs == full.outputs


@pytest.mark.parametrize(
    "reference",
    ["vit", "vit-headless", "clip", "clip#text", "clip#vision", *DETR, "blip", "blip#contrastive"],
)
def test_fixed_sizes_leave_nothing_dynamic(
    reference: str, tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    """WebNN takes every node only if no shape is computed once the sizes are fixed."""
    import onnxruntime

    name, _, part = reference.partition("#")
    write(name, tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}" + (f"#{part}" if part else ""))
    run(spec, inputs_for(spec))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    free = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    for dimension in free:
        options.add_free_dimension_override_by_name(dimension, 17)
    onnxruntime.InferenceSession(tmp_path / "run" / spec.sha256 / "model.onnx", options)
    fixed = onnx.load(tmp_path / "fixed.onnx", load_external_data=False).graph
    dynamic = {"Shape", "Slice", "Range", "Expand", "Concat", "Where", "ConstantOfShape", "Sin"}
    assert not {node.op_type for node in fixed.node} & dynamic
    assert free <= {"batch", "text_batch", "sequence", "height", "width"}


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("vit", ["embeddings", "encoder.layer.0", "encoder.layer.1", "classifier"]),
        (
            "clip",
            [
                "text_model.embeddings",
                *(f"text_model.encoder.layers.{index}" for index in range(2)),
                "text_projection",
                "vision_model.embeddings",
                *(f"vision_model.encoder.layers.{index}" for index in range(3)),
                "visual_projection",
            ],
        ),
        (
            "detr",
            [
                *(
                    f"model.backbone.conv_encoder.model.{part}"
                    for part in (
                        "embedder",
                        "encoder.stages.0.layers.0",
                        "encoder.stages.0.layers.1",
                        "encoder.stages.1.layers.0",
                    )
                ),
                "input_projection",
                *(f"model.{side}coder.layers.{i}" for side in ("en", "de") for i in range(2)),
                "class_labels_classifier",
                "bbox_predictor",
            ],
        ),
    ],
)
def test_nodes_carry_their_block(
    name: str, blocks: list[str], tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    write(name, tmp_path / "m")
    spec = resolve(f"dir:{tmp_path / 'm'}")
    assert [block["name"] for block in spec.metadata["blocks"]] == blocks
    json.dumps(spec.metadata)
    run(spec, inputs_for(spec))
    onnx.checker.check_model(tmp_path / "run" / spec.sha256 / "model.onnx", full_check=True)


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("vit", {"image_size": 30}, "position_embeddings"),
        ("vit", {"image_size": [22, 18, 3]}, "image_size"),
        ("vit", {"patch_size": [23, 4]}, "patch_size"),
        ("vit", {"id2label": {}}, "id2label"),
        ("clip", {"vision_config": 3}, "vision_config"),
        ("blip", {"text_config": {"num_hidden_layers": 2, "hidden_size": 20}}, "heads"),
        ("detr", {"dilation": True}, "dilation"),
        ("detr", {"position_embedding_type": "learned"}, "position_embedding_type"),
        ("detr", {"d_model": 18}, "d_model"),
        ("detr", {"backbone_config": {"model_type": "swin"}}, "model_type"),
        ("detr", {"backbone_config": {"depths": [1]}}, "depths"),
        ("detr", {"backbone_config": {"out_features": ["stage9"]}}, "out_features"),
        ("detr", {"backbone_config": {"hidden_sizes": "many"}}, "hidden_sizes"),
    ],
)
def test_a_config_no_graph_follows_is_refused(
    name: str,
    changes: dict[str, Any],
    word: str,
    tmp_path: Path,
    write: Any,
    resolve: Any,
    left_over: Any,
) -> None:
    write(name, tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ModelError, match=word) as caught:
        resolve(f"dir:{tmp_path / 'm'}")
    assert caught.value.info.where and caught.value.info.accepted
    assert left_over() == []


def test_a_tower_may_leave_out_its_defaults(
    tmp_path: Path, write: Any, resolve: Any, run: Any
) -> None:
    """As older versions of transformers wrote them."""
    model = write("clip", tmp_path / "m", eos_token_id=49407)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    for section, keys in (
        ("text_config", ("eos_token_id", "hidden_act", "layer_norm_eps")),
        ("vision_config", ("num_channels", "hidden_act")),
    ):
        for key in keys:
            del config[section][key]
    path.write_text(json.dumps(config))
    inputs = {"pixel_values": noise(1, 3, 14, 14), **texts(1, 5)}
    actual = run(resolve(f"dir:{tmp_path / 'm'}"), inputs)["logits_per_image"]
    np.testing.assert_allclose(actual, expected(model, inputs).logits_per_image, **CLOSE)
