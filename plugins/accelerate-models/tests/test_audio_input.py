# SPDX-License-Identifier: Apache-2.0
"""Sound from files and arrays, what is none, and directories that do not say what to do with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from accelerate_models.processors import audio_file

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Processor

RATE = 16_000


def sounds(*lengths: int) -> list[np.ndarray]:
    """Voices over noise: loud and quiet, low and high."""
    rng = np.random.default_rng(len(lengths))
    return [
        (
            0.4 * np.sin(np.arange(n) * 0.11) * np.sin(np.arange(n) * 0.0007)
            + 0.02 * rng.standard_normal(n)
        ).astype(np.float32)
        for n in lengths
    ]


# --- sound from files and arrays ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "subtype", "error"),
    [
        ("wav", "PCM_U8", 1e-2),
        ("wav", "PCM_16", 4e-5),
        ("wav", "PCM_24", 2e-7),
        ("wav", "PCM_32", 1e-7),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 4e-5),
        ("ogg", "VORBIS", 5e-2),
    ],
)
def test_files_of_many_kinds(
    suffix: str,
    subtype: str,
    error: float,
    tmp_path: Path,
    audio_copy: Any,
    audio_processor_of: Any,
) -> None:
    processor = _unnormalised(audio_copy, audio_processor_of)
    (sound,) = sounds(4000)
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, sound, RATE, subtype=subtype)
    for raw in (path, str(path), [path]):
        actual = processor.encode(raw)["input_values"]
        np.testing.assert_allclose(actual[0], sound, atol=error)


def test_channels_are_averaged(tmp_path: Path, audio_copy: Any, audio_processor_of: Any) -> None:
    left, right = sounds(900, 900)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    actual = _unnormalised(audio_copy, audio_processor_of).encode(tmp_path / "s.wav")[
        "input_values"
    ]
    np.testing.assert_allclose(actual[0], (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "hz"), [(44_100, 7_000), (44_100, 12_000), (48_000, 3_000), (8_000, 440)]
)
def test_another_rate_is_resampled(
    rate: int, hz: int, tmp_path: Path, audio_copy: Any, audio_processor_of: Any
) -> None:
    processor = _unnormalised(audio_copy, audio_processor_of)
    sine = np.sin(2 * np.pi * hz * np.arange(rate) / rate)
    soundfile.write(tmp_path / "s.wav", sine, rate, subtype="FLOAT")
    # What the model's rate cannot carry is silence.
    wanted = np.sin(2 * np.pi * hz * np.arange(RATE) / RATE) * (hz < RATE / 2)
    for encoded in (
        processor.encode(tmp_path / "s.wav"),
        processor.encode(sine, sampling_rate=rate),
    ):
        actual = encoded["input_values"][0]
        assert actual.shape == wanted.shape
        # Not at the ends: there the sine starts and stops, which is no sine.
        np.testing.assert_allclose(actual[400:-400], wanted[400:-400], atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int16", "int32"])
def test_arrays_of_many_dtypes(dtype: str, audio_copy: Any, audio_processor_of: Any) -> None:
    processor = _unnormalised(audio_copy, audio_processor_of)
    values = np.array([-1.0, 0.0, 0.5] * 20)
    stored = values
    if dtype == "uint8":
        stored = values * 128 + 128
    elif "int" in dtype:
        stored = values * -float(np.iinfo(dtype).min)
    actual = processor.encode(stored.astype(dtype))["input_values"]
    np.testing.assert_array_equal(actual, [values])
    assert actual.dtype == np.float32


def _unnormalised(audio_copy: Any, audio_processor_of: Any) -> Processor:
    directory = audio_copy("wav2vec2")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_normalize": False}))
    processor: Processor = audio_processor_of(directory)
    return processor


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (np.zeros(0, np.float32), "empty"),
        ([], "empty"),
        (np.array([0.0, np.nan] * 50), "not finite"),
        (np.array([0.0, 1e300] * 50), "not finite"),
        (np.zeros((2, 100), np.float32), r"shape \[2, 100\]"),
        (np.zeros(100, np.int64), "int64"),
        (np.zeros(100, bool), "bool"),
        (np.zeros(29, np.float32), "29 samples"),
        ([0.1, 0.2], "float"),
        (None, "NoneType"),
        (b"RIFF", "bytes"),
        (np.zeros(3601 * RATE, np.int8), "too long"),
    ],
)
def test_what_is_no_sound_is_refused(raw: Any, word: str, wav2vec2: Any) -> None:
    with pytest.raises(ModelError, match=word) as caught:
        wav2vec2.encode(raw)
    assert caught.value.info.accepted


def test_damaged_files_are_refused(tmp_path: Path, wav2vec2: Any) -> None:
    (sound,) = sounds(4000)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"whole.{suffix}", sound, RATE)
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.wav").write_text("RIFF, but not really: this is a text file.")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "bare.raw").write_bytes(bytes(999))
    soundfile.write(tmp_path / "silent.wav", sound[:0], RATE)
    soundfile.write(tmp_path / "slow.wav", sound, 100)
    for name in ("cut.wav", "cut.flac", "text.wav", "empty.wav", "bare.raw", "silent.wav"):
        with pytest.raises(ModelError) as caught:
            wav2vec2.encode(tmp_path / name)
        assert name in str(caught.value)
    for name, word in (("none.wav", "No such file"), (".", "directory"), ("slow.wav", "100 Hz")):
        with pytest.raises(ModelError, match=word) as caught:
            wav2vec2.encode(tmp_path / name)
        assert caught.value.info.accepted


def test_a_file_that_unpacks_to_too_much_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence packs well: what is long is not what is large."""
    monkeypatch.setattr(audio_file, "LONGEST_S", 2)
    soundfile.write(tmp_path / "long.flac", np.zeros(9 * RATE, np.int16), RATE)
    assert (tmp_path / "long.flac").stat().st_size < 10_000
    with pytest.raises(ModelError, match="too long"):
        audio_file.read_audio(tmp_path / "long.flac")


@pytest.mark.parametrize("rate", [0, -1, 16_000.0, "16 kHz", 10**9])
def test_absurd_rates_are_refused(rate: Any, wav2vec2: Any) -> None:
    with pytest.raises(ModelError, match="rate of sound"):
        wav2vec2.encode(sounds(100)[0], sampling_rate=rate)


def test_a_rate_for_files_is_refused(wav2vec2: Any) -> None:
    with pytest.raises(ModelError, match="say themselves"):
        wav2vec2.encode("sound.wav", sampling_rate=RATE)


@pytest.mark.parametrize(
    ("name", "file", "change", "word"),
    [
        ("wav2vec2", "preprocessor_config.json", None, "preprocessor_config.json is missing"),
        ("wav2vec2", "vocab.json", None, "vocab.json is missing"),
        ("wav2vec2", "vocab.json", {"eng": {"A": 0}}, "'eng'"),
        ("wav2vec2", "preprocessor_config.json", {"sampling_rate": 0}, "sampling_rate"),
        ("wav2vec2", "preprocessor_config.json", {"padding_side": "left"}, "padding_side"),
        ("wav2vec2", "preprocessor_config.json", {"padding_value": "0"}, "padding_value"),
        (
            "wav2vec2",
            "preprocessor_config.json",
            {"feature_extractor_type": "SeamlessM4TFeatureExtractor"},
            "SeamlessM4T",
        ),
        ("wav2vec2", "tokenizer_config.json", {"pad_token": 3}, "pad_token"),
        ("wav2vec2", "tokenizer_config.json", {"added_tokens_decoder": {"a": "b"}}, "added"),
        (
            "wav2vec2",
            "tokenizer_config.json",
            {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"},
            "Phoneme",
        ),
        ("clap", "preprocessor_config.json", {"truncation": "fusion"}, "rand_trunc"),
        ("clap", "preprocessor_config.json", {"padding": "mirror"}, "repeatpad"),
        ("clap", "preprocessor_config.json", {"max_length_s": 2}, "does not belong"),
        ("clap", "preprocessor_config.json", {"feature_size": 64}, "does not belong"),
        ("clap", "preprocessor_config.json", {"frequency_max": 4_001}, "frequency_max"),
        ("clap", "preprocessor_config.json", {"fft_window_size": 8_001}, "fft_window_size"),
        (
            "clap",
            "preprocessor_config.json",
            {"max_length_s": 4_000, "hop_length": 10**9},
            "max_length_s",
        ),
        ("wav2vec2", "preprocessor_config.json", {"sampling_rate": 10**9}, "4000 to 192000"),
        ("whisper", "preprocessor_config.json", {"chunk_length": 30}, "belong together"),
        ("whisper", "preprocessor_config.json", {"feature_size": 80}, "belong together"),
        ("whisper", "preprocessor_config.json", {"dither": 0.1}, "dither"),
        ("whisper", "tokenizer.json", None, "tokenizer.json is missing"),
        ("whisper", "generation_config.json", {"decoder_start_token_id": 99}, "start_token"),
        ("whisper", "generation_config.json", {"lang_to_id": {"<|en|>": "2"}}, "lang_to_id"),
        ("whisper", "generation_config.json", {"suppress_tokens": 3}, "suppress_tokens"),
        ("whisper", "generation_config.json", {"forced_decoder_ids": [[2, 3]]}, "forced"),
    ],
)
def test_a_directory_that_does_not_fit_is_refused(
    name: str, file: str, change: Any, word: str, audio_copy: Any, resolve: Any, left_over: Any
) -> None:
    path = audio_copy(name) / file
    if change is None:
        path.unlink()
    else:
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **change}))
    with pytest.raises(ModelError) as caught:
        resolve(f"dir:{path.parent}")
    assert word in str(caught.value)
    assert caught.value.info.accepted or caught.value.info.hint
    assert left_over() == []
