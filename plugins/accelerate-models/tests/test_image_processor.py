# SPDX-License-Identifier: Apache-2.0
"""Images to tensors and back, against the Pillow image processors of transformers.

The reference is `transformers.<Class>ImageProcessorPil`, its backend without torchvision, fed what
`transformers.image_utils.load_image` reads from a path, as its own pipelines do.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_models import DirectorySource
from PIL import Image

from accelerate_core import Accelerator
from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context, Processor
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import ModelSpec

from .conftest import checkpoints

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
KINDS = {
    "vit": "ViTImageProcessorPil",
    "clip": "CLIPImageProcessorPil",
    "blip": "BlipImageProcessorPil",
    "detr": "DetrImageProcessorPil",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a checkpoint once; nobody changes what is in it."""
    done: dict[str, Path] = {}

    def call(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name)
            checkpoints("vision").CHECKPOINTS[name](done[name])
        return done[name]

    return call


@pytest.fixture
def processor_of(ctx: Context, resolve: Any) -> Callable[[str], Processor]:
    def call(reference: str) -> Processor:
        # Through JSON, as a spec travels.
        spec = from_plain(json.loads(json.dumps(to_plain(resolve(reference)))), ModelSpec)
        assert spec.processor is not None
        return DirectorySource().model_create(None, ctx).processor(spec.processor)

    return call


@pytest.fixture
def changed(written: Any, tmp_path: Path) -> Callable[..., Path]:
    """Copy a checkpoint with another preprocessor_config.json; None takes a key out."""
    import shutil

    def call(name: str, **changes: Any) -> Path:
        directory = tmp_path / "changed"
        shutil.copytree(written(name), directory)
        path = directory / "preprocessor_config.json"
        settings = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
        return directory

    return call


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth and sharp: what a filter does shows, and so does where a cut is made."""
    rng = np.random.default_rng(height)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = 120 + 100 * np.sin(rows / 7) * np.cos(columns / 5)
    image = smooth[..., None] + rng.integers(-20, 20, (height, width, channels))
    return image.clip(0, 255).astype(np.uint8)


def reference(name: str, images: Any, directory: Path) -> np.ndarray:
    import transformers

    processor = getattr(transformers, KINDS[name]).from_pretrained(directory)
    options = {"do_convert_rgb": True}
    return processor(images, return_tensors="np", **options)["pixel_values"]


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(37, 53), (64, 41), (16, 16), (5, 90), (300, 200)])
def test_pixels_equal_transformers(
    name: str, size: tuple[int, int], written: Any, processor_of: Any
) -> None:
    image = picture(*size)
    actual = processor_of(f"dir:{written(name)}")
    raw = image if name in ("vit", "detr") else (image, "the cat")
    pixels = actual.encode(raw)["pixel_values"]
    assert pixels.dtype == np.float32 and pixels.shape[:2] == (1, 3)
    np.testing.assert_allclose(pixels, reference(name, image, written(name)), **CLOSE)


@pytest.mark.parametrize(
    "changes",
    [
        {"resample": 0},
        {"resample": 1},
        {"resample": 3},
        {"resample": 5},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 0.01, "image_mean": [0.1, 0.2, 0.3], "image_std": 0.7},
        {"size": {"height": 40, "width": 11}, "do_center_crop": True, "crop_size": [22, 18]},
        {"image_processor_type": "ViTImageProcessorFast"},
        {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor"},
        {"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": [22, 18]},
        {"size": {"shortest_edge": 30, "longest_edge": 33}, "do_center_crop": True},
        {"size": {"max_height": 33, "max_width": 27}, "do_center_crop": True},
    ],
)
def test_what_a_file_says_is_done(changes: Any, changed: Any, processor_of: Any) -> None:
    if changes.get("do_center_crop"):
        changes = {**changes, "crop_size": {"height": 22, "width": 18}}
    directory = changed("vit", **changes)
    for size in ((37, 53), (53, 37)):
        pixels = processor_of(f"dir:{directory}").encode(picture(*size))["pixel_values"]
        wanted = reference("vit", picture(*size), directory)
        np.testing.assert_allclose(pixels, wanted, **CLOSE)


def test_a_section_of_processor_config_will_do(
    changed: Any, processor_of: Any, written: Any
) -> None:
    """transformers 5 writes one file for the processors of images and texts."""
    directory = changed("clip")
    section = json.loads((directory / "preprocessor_config.json").read_text())
    (directory / "preprocessor_config.json").unlink()
    (directory / "processor_config.json").write_text(json.dumps({"image_processor": section}))
    raw = (picture(37, 53), "the cat")
    one, other = (
        processor_of(f"dir:{place}").encode(raw) for place in (directory, written("clip"))
    )
    np.testing.assert_array_equal(one["pixel_values"], other["pixel_values"])


@pytest.mark.parametrize("name", ["clip", "detr"])
def test_numbers_of_older_files_mean_edges(
    name: str, changed: Any, processor_of: Any, written: Any
) -> None:
    older = {
        "clip": {"size": 16, "crop_size": 14},
        "detr": {"size": 32, "max_size": 50},
    }
    image = picture(37, 90)
    raw = (image, "the cat") if name == "clip" else image
    one, other = (
        processor_of(f"dir:{place}").encode(raw)["pixel_values"]
        for place in (changed(name, **older[name], resample=None), written(name))
    )
    np.testing.assert_array_equal(one, other)


def test_what_an_image_may_be(written: Any, processor_of: Any, tmp_path: Path) -> None:
    directory = written("vit")
    processor = processor_of(f"dir:{directory}")
    colour, grey, clear = picture(37, 53), picture(37, 53, 1), picture(37, 53, 4)
    file = saved(tmp_path / "a.png", Image.fromarray(colour))
    wanted = reference("vit", Image.fromarray(colour), directory)
    for raw in (colour, Image.fromarray(colour), file, str(file), [colour], (file,)):
        np.testing.assert_allclose(processor.encode(raw)["pixel_values"], wanted, **CLOSE)
    for raw in (grey, grey[..., 0], Image.fromarray(grey[..., 0])):
        wanted = reference("vit", Image.fromarray(grey[..., 0]), directory)
        np.testing.assert_allclose(processor.encode(raw)["pixel_values"], wanted, **CLOSE)
    for raw in (clear, Image.fromarray(clear)):
        wanted = reference("vit", Image.fromarray(clear), directory)
        np.testing.assert_allclose(processor.encode(raw)["pixel_values"], wanted, **CLOSE)
    both = processor.encode([colour, picture(64, 41)])["pixel_values"]
    assert both.shape == (2, 3, 22, 18) and not np.array_equal(both[0], both[1])


@pytest.mark.parametrize("kind", ["turned", "alpha", "palette", "jpeg"])
def test_files_are_read_as_transformers_reads_them(
    kind: str, written: Any, processor_of: Any, tmp_path: Path
) -> None:
    from transformers.image_utils import load_image

    image = Image.fromarray(picture(37, 53))
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        path = saved(tmp_path / "a.png", image, exif=exif)
        assert load_image(str(path)).size == (37, 53)
    elif kind == "alpha":
        path = saved(tmp_path / "a.png", Image.fromarray(picture(37, 53, 4)))
    elif kind == "palette":
        path = saved(tmp_path / "a.png", image.convert("P"))
    else:
        path = saved(tmp_path / "a.jpg", image, quality=60)
    pixels = processor_of(f"dir:{written('vit')}").encode(path)["pixel_values"]
    wanted = reference("vit", load_image(str(path)), written("vit"))
    np.testing.assert_allclose(pixels, wanted, **CLOSE)


def png_of(width: int, height: int) -> bytes:
    """Return a few bytes that say they are so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def truncated() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(90, 90)).save(buffer, "PNG")
    return buffer.getvalue()[:2000]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"no image", "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (b"", "no image that can be read"),
        (truncated(), "cannot be read"),
        (png_of(9_500, 9_500), "too large"),
        (png_of(60_000, 60_000), "too large"),
        (None, "no such image"),
    ],
)
def test_bad_files_are_refused(
    content: bytes | None, word: str, written: Any, processor_of: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=word) as caught:
        processor_of(f"dir:{written('vit')}").encode(path)
    assert str(path) in str(caught.value.info.where)
    assert caught.value.info.accepted or caught.value.info.hint


@pytest.mark.parametrize(
    "raw",
    [
        3,
        None,
        [],
        [picture(9, 9), 4],
        picture(9, 9).astype(np.float32),
        picture(9, 9, 2),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 3, 9, 9), np.uint8),
        Image.new("I", (4, 4)),
        Image.new("F", (4, 4)),
    ],
)
def test_what_is_no_image_is_refused(raw: Any, written: Any, processor_of: Any) -> None:
    with pytest.raises(ModelError) as caught:
        processor_of(f"dir:{written('vit')}").encode(raw)
    assert caught.value.info.accepted or caught.value.info.hint


def test_a_strip_that_would_grow_without_bound_is_refused(written: Any, processor_of: Any) -> None:
    strip = np.zeros((1, 4_000_000, 3), np.uint8)
    with pytest.raises(ModelError, match="would become"):
        processor_of(f"dir:{written('clip')}#vision").encode(strip)


def test_images_of_different_shapes_are_not_padded(written: Any, processor_of: Any) -> None:
    processor = processor_of(f"dir:{written('detr')}")
    with pytest.raises(ModelError, match="different sizes") as caught:
        processor.encode([picture(37, 53), picture(53, 37)])
    assert caught.value.info.hint


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("vit", {"image_processor_type": "ConvNextImageProcessor"}, "ConvNext"),
        ("vit", {"size": {"height": 22, "width": 22}}, "do not belong together"),
        ("vit", {"size": {"shortest_edge": 22}}, "any size"),
        ("vit", {"size": {"height": 22}}, "size"),
        ("vit", {"size": {"height": -22, "width": 18}}, "size"),
        ("vit", {"size": [22, 18]}, "size"),
        ("vit", {"do_resize": False}, "any size"),
        ("vit", {"resample": 9}, "resample"),
        ("vit", {"image_std": [0.5, 0, 0.5]}, "image_std"),
        ("vit", {"image_mean": [0.5, 0.5]}, "image_mean"),
        ("vit", {"image_mean": [float("nan")] * 3}, "image_mean"),
        ("vit", {"rescale_factor": "a"}, "rescale_factor"),
        ("vit", {"do_normalize": "no"}, "do_normalize"),
        ("clip", {"crop_size": {"height": 14}}, "crop_size"),
        ("detr", {"pad_size": {"height": 60, "width": 60}}, "pad_size"),
    ],
)
def test_a_file_that_would_give_wrong_pixels_is_refused(
    name: str, changes: Any, word: str, changed: Any, resolve: Any, left_over: Any
) -> None:
    directory = changed(name, **changes)
    with pytest.raises(ModelError, match=word) as caught:
        resolve(f"dir:{directory}")
    assert "preprocessor_config.json" in str(caught.value.info.where)
    assert left_over() == []


def test_labels_that_do_not_fit_are_refused(changed: Any, resolve: Any, left_over: Any) -> None:
    directory = changed("vit")
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["id2label"]["7"] = config["id2label"].pop("4")
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="id2label"):
        resolve(f"dir:{directory}")
    assert left_over() == []


def test_classes_come_with_probabilities(written: Any, processor_of: Any) -> None:
    processor = processor_of(f"dir:{written('vit')}")
    logits = np.log(np.array([[0.1, 0.2, 0.05, 0.6, 0.05]], np.float32))
    (found,) = processor.decode({"logits": logits}, {})
    assert [entry["label"] for entry in found][:3] == ["bird", "dog", "cat"]
    np.testing.assert_allclose([entry["score"] for entry in found][:3], [0.6, 0.2, 0.1], rtol=1e-5)
    with pytest.raises(ModelError, match="logits"):
        processor.decode({"boxes": logits}, {})


def test_a_model_without_labels_gives_embeddings(written: Any, processor_of: Any) -> None:
    states = np.zeros((1, 3, 2), np.float32)
    states[0, 0] = (3.0, 4.0)
    processor = processor_of(f"dir:{written('vit-headless')}")
    np.testing.assert_allclose(processor.decode({"last_hidden_state": states}, {}), [[0.6, 0.8]])


def test_boxes_are_in_pixels_of_the_image_as_it_came(written: Any, processor_of: Any) -> None:
    import torch
    import transformers
    from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

    processor = processor_of(f"dir:{written('detr')}")
    rng = np.random.default_rng(3)
    outputs = {
        "logits": rng.standard_normal((2, 7, 6)).astype(np.float32) * 2,
        "pred_boxes": rng.uniform(0.1, 0.9, (2, 7, 4)).astype(np.float32),
    }
    images = [picture(37, 53), picture(74, 106)]
    for threshold in (None, 0.2, 0.9):
        options = {} if threshold is None else {"threshold": threshold}
        actual = processor.decode(outputs, processor.encode(images, **options))
        tensors = {name: torch.from_numpy(value) for name, value in outputs.items()}
        wanted = transformers.DetrImageProcessorPil().post_process_object_detection(
            DetrObjectDetectionOutput(**tensors),
            threshold=0.5 if threshold is None else threshold,
            target_sizes=[(37, 53), (74, 106)],
        )
        labels = checkpoints("vision").LABELS
        for found, one in zip(actual, wanted, strict=True):
            assert [entry["label"] for entry in found] == [labels[i] for i in one["labels"]]
            scores, boxes = ([entry[key] for entry in found] for key in ("score", "box"))
            np.testing.assert_allclose(scores, one["scores"], rtol=1e-5)
            np.testing.assert_allclose(np.reshape(boxes, (-1, 4)), one["boxes"], rtol=1e-4)
    with pytest.raises(ModelError, match="sizes"):
        processor.decode(outputs, {"pixel_values": np.zeros(1)})
    with pytest.raises(ModelError, match="threshold"):
        processor.encode(images, threshold="high")


def test_texts_go_with_images(written: Any, processor_of: Any) -> None:
    processor = processor_of(f"dir:{written('clip')}")
    encoded = processor.encode(([picture(37, 53)] * 2, ["the cat", "a photo of the dog"]))
    assert encoded["input_ids"].tolist() == [[2, 6, 7, 11, 0, 0, 0], [2, 3, 4, 5, 6, 8, 11]]
    assert encoded["attention_mask"].sum(axis=1).tolist() == [4, 7]
    assert encoded["pixel_values"].shape == (2, 3, 14, 14)
    fixed = processor.encode((picture(9, 9), "the cat"), sequence_length=9)
    assert fixed["input_ids"].shape == (1, 9)
    scores = np.log(np.array([[0.25, 0.75]], np.float32)) + 7
    np.testing.assert_allclose(
        processor.decode({"logits_per_image": scores}, encoded), [[0.25, 0.75]], rtol=1e-5
    )
    for raw in (picture(9, 9), (picture(9, 9),), (picture(9, 9), 3), ("a", "b", "c")):
        with pytest.raises(ModelError):
            processor.encode(raw)
    with pytest.raises(ModelError, match="lenght"):
        processor.encode((picture(9, 9), "the cat"), lenght=3)


def test_texts_need_a_padding_token(changed: Any, resolve: Any) -> None:
    directory = changed("clip")
    (directory / "tokenizer_config.json").unlink()
    config = json.loads((directory / "config.json").read_text())
    assert resolve(f"dir:{directory}").processor.settings["text"]["pad_id"] == 0
    del config["text_config"]["pad_token_id"]
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="padding token") as caught:
        resolve(f"dir:{directory}#text")
    assert caught.value.info.hint


def test_one_tower_takes_one_kind_and_gives_embeddings(written: Any, processor_of: Any) -> None:
    text, vision = (processor_of(f"dir:{written('clip')}#{part}") for part in ("text", "vision"))
    assert text.encode(["the cat"]).keys() == {"input_ids", "attention_mask"}
    assert vision.encode(picture(9, 9)).keys() == {"pixel_values"}
    vectors = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_allclose(text.decode({"text_embeds": vectors}, {}), [[0.6, 0.8]])
    np.testing.assert_allclose(vision.decode({"image_embeds": vectors}, {}), [[0.6, 0.8]])


def test_pairs_match_or_not(written: Any, processor_of: Any) -> None:
    processor = processor_of(f"dir:{written('blip')}")
    scores = np.log(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32))
    np.testing.assert_allclose(processor.decode({"itm_score": scores}, {}), [0.75, 0.1], rtol=1e-5)
    images, words = [picture(9, 9)] * 3, ["the cat", "the dog"]
    with pytest.raises(ModelError, match="3 images and 2 texts"):
        processor.encode((images, words))
    assert processor.encode((images[:1], words))["input_ids"].shape[0] == 2
    contrastive = processor_of(f"dir:{written('blip')}#contrastive")
    assert contrastive.encode((images, words))["pixel_values"].shape[0] == 3
    np.testing.assert_array_equal(contrastive.decode({"similarity": scores}, {}), scores)


@pytest.mark.parametrize("reference", ["vit", "clip", "clip#text", "clip#vision", "detr", "blip"])
def test_samples_are_the_same_every_time_and_fit(
    reference: str, written: Any, resolve: Any, processor_of: Any, run: Any
) -> None:
    name, _, part = reference.partition("#")
    place = f"dir:{written(name)}" + (f"#{part}" if part else "")
    processor = processor_of(place)
    one, other = (processor.encode(processor.sample(2, 8), sequence_length=8) for _ in range(2))
    for tensor, value in one.items():
        np.testing.assert_array_equal(value, other[tensor])
        assert len(value) == 2
    if "pixel_values" in one:
        assert not np.array_equal(one["pixel_values"][0], one["pixel_values"][1])
    assert processor.decode(run(resolve(place), one), one) is not None


def test_a_model_is_called_with_the_path_of_an_image(written: Any, tmp_path: Path) -> None:
    """On the real CPU backend, through what users import."""
    path = saved(tmp_path / "cat.png", Image.fromarray(picture(60, 80)))
    places = {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}
    with Accelerator(**places) as accelerator:
        vit = accelerator.accelerate_model(model_name=f"dir:{written('vit')}")
        detr = accelerator.accelerate_model(model_name=f"dir:{written('detr')}")
        clip = accelerator.accelerate_model(model_name=f"dir:{written('clip')}")
        (found,) = vit(str(path))
        (objects,) = detr(path, threshold=0.0)
        scores = clip((path, ["a cat", "a dog", "the mat"]))
    import torch

    model = checkpoints("vision").CHECKPOINTS["vit"](tmp_path / "again")
    pixels = torch.from_numpy(reference("vit", Image.open(path), written("vit")))
    with torch.no_grad():
        wanted = model(pixels).logits.softmax(-1)[0].numpy()
    labels = checkpoints("vision").LABELS
    assert [entry["label"] for entry in found] == [labels[i] for i in np.argsort(-wanted)]
    np.testing.assert_allclose([entry["score"] for entry in found], np.sort(wanted)[::-1], **CLOSE)
    assert len(objects) == 7 and all(len(entry["box"]) == 4 for entry in objects)
    np.testing.assert_allclose(scores.sum(axis=1), [1.0], rtol=1e-5)
