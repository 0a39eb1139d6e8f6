# SPDX-License-Identifier: Apache-2.0
"""Sound to tensors and back, as transformers' feature extractors and tokenizers do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from accelerate_models import DirectorySource
from accelerate_models.processors import audio_file
from accelerate_models.processors.mel import Mel, clap_features, mel_filters, whisper_features

from accelerate_core import Accelerator
from accelerate_core.errors import ModelError
from accelerate_core.host import Host
from accelerate_core.inputs import check_inputs
from accelerate_core.protocols import Processor
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import ModelSpec

from .conftest import checkpoints

RATE = 16_000
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the directory of a checkpoint, written once; not to be changed."""
    root = tmp_path_factory.mktemp("audio")

    def call(name: str) -> Path:
        if not (root / name).exists():
            checkpoints("audio").CHECKPOINTS[name](root / name)
        return root / name

    return call


@pytest.fixture
def copy(directories: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of a checkpoint's directory, to break something in it."""
    import shutil

    return lambda name: Path(shutil.copytree(directories(name), tmp_path / name))


@pytest.fixture(scope="module")
def processor_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Processor]:
    """Build a directory's processor; what is not changed is read once for all tests."""
    root = tmp_path_factory.mktemp("store")
    context = Host(cache_dir=root / "cache", state_dir=root / "state").context
    source = DirectorySource().model_create(None, context)

    def call(directory: Path) -> Processor:
        spec = source.resolve(f"dir:{directory}", name="model")
        # Through JSON, as a spec travels.
        spec = from_plain(json.loads(json.dumps(to_plain(spec))), ModelSpec)
        assert spec.processor
        return source.processor(spec.processor)

    return call


@pytest.fixture(scope="module")
def wav2vec2(directories: Any, processor_of: Any) -> Any:
    return processor_of(directories("wav2vec2"))


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


# --- what the models hear ----------------------------------------------------------------------


@pytest.mark.parametrize("bands", [80, 128])
def test_whispers_features_are_those_of_transformers(bands: int) -> None:
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor(feature_size=bands)
    mel = Mel(rate=RATE, window=400, hop=160, bands=bands, low_hz=0.0, high_hz=8000.0)
    np.testing.assert_allclose(mel_filters(mel), theirs.mel_filters, atol=1e-12)
    (sound,) = sounds(7 * RATE)
    padded = np.pad(sound, (0, 23 * RATE))
    wanted = theirs(sound, sampling_rate=RATE, return_tensors="np").input_features[0]
    actual = whisper_features(padded, mel)
    assert actual.shape == (bands, 3000) and actual.dtype == np.float32
    np.testing.assert_allclose(actual, wanted, **CLOSE)


def test_whispers_processor_cuts_and_pads_to_its_window(
    directories: Any, processor_of: Any
) -> None:
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor.from_pretrained(directories("whisper"))
    raw = sounds(RATE, 5_001, 3 * RATE, 1)
    wanted = theirs(raw, sampling_rate=RATE, return_tensors="np").input_features
    encoded = processor_of(directories("whisper")).encode(raw)
    np.testing.assert_allclose(encoded["input_features"], wanted, **CLOSE)
    assert encoded["input_features"].shape == (4, 11, 100)


def test_claps_features_are_those_of_transformers() -> None:
    from transformers import ClapFeatureExtractor

    theirs = ClapFeatureExtractor(truncation="rand_trunc")
    mel = Mel(rate=48_000, window=1024, hop=480, bands=64, low_hz=0.0, high_hz=14_000.0)
    np.testing.assert_allclose(mel_filters(mel), theirs.mel_filters_slaney, atol=1e-12)
    (sound,) = sounds(480_000)
    wanted = theirs(sound, sampling_rate=48_000, return_tensors="np").input_features[0, 0]
    actual = clap_features(sound, mel)
    assert actual.shape == (1001, 64) and actual.dtype == np.float32
    np.testing.assert_allclose(actual, wanted, **CLOSE)


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_claps_answer_is_that_of_transformers(
    padding: str, copy: Any, processor_of: Any, resolve: Any, run: Any
) -> None:
    """The features are stretched here and not in the model, so it is the answer that is equal."""
    import torch
    from transformers import ClapFeatureExtractor, ClapModel

    directory = copy("clap")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding": padding}))
    theirs = ClapFeatureExtractor.from_pretrained(directory)
    model = ClapModel.from_pretrained(directory).eval()
    processor, spec = processor_of(directory), resolve(f"dir:{directory}")
    raw = sounds(8_000, 3_001, 4_000, 17)
    features = theirs(raw, sampling_rate=8_000, return_tensors="pt").input_features
    with torch.no_grad():
        wanted = model.get_audio_features(features).pooler_output.numpy()
    encoded = processor.encode(raw)
    actual = processor.decode(run(spec, encoded), encoded)
    np.testing.assert_allclose(actual, wanted, **CLOSE)
    np.testing.assert_allclose(np.linalg.norm(actual, axis=1), 1.0, rtol=1e-6)
    # What is longer than the window is cut to its start.
    longer = processor.encode(np.concatenate([raw[0], raw[1]]))
    np.testing.assert_array_equal(longer["input_features"], encoded["input_features"][:1])


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-layer"])
@pytest.mark.parametrize("lengths", [(1234,), (400, 31, 1001)])
def test_wav2vec2s_inputs_are_those_of_transformers(
    name: str, lengths: tuple[int, ...], directories: Any, processor_of: Any
) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    theirs = Wav2Vec2FeatureExtractor.from_pretrained(directories(name))
    raw = [sound + 0.1 for sound in sounds(*lengths)]
    wanted = theirs(raw, sampling_rate=RATE, padding=True, return_tensors="np")
    encoded = processor_of(directories(name)).encode(raw)
    np.testing.assert_allclose(encoded["input_values"], wanted.input_values, **CLOSE)
    assert list(encoded) == list(wanted)
    if name == "wav2vec2-layer":
        np.testing.assert_array_equal(encoded["attention_mask"], wanted.attention_mask)


def test_normalisation_is_the_directorys_choice(copy: Any, processor_of: Any) -> None:
    directory = copy("wav2vec2")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_normalize": False}))
    raw = sounds(500)
    np.testing.assert_array_equal(processor_of(directory).encode(raw)["input_values"], raw)


def test_settings_are_read_from_where_transformers_5_writes_them(
    copy: Any, directories: Any, processor_of: Any, wav2vec2: Any
) -> None:
    directory = copy("wav2vec2")
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    (directory / "preprocessor_config.json").unlink()
    settings["do_normalize"] = False
    text = json.dumps({"feature_extractor": settings})
    (directory / "processor_config.json").write_text(text)
    raw = sounds(500)
    np.testing.assert_array_equal(processor_of(directory).encode(raw)["input_values"], raw)


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
    suffix: str, subtype: str, error: float, tmp_path: Path, copy: Any, processor_of: Any
) -> None:
    processor = _unnormalised(copy, processor_of)
    (sound,) = sounds(4000)
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, sound, RATE, subtype=subtype)
    for raw in (path, str(path), [path]):
        actual = processor.encode(raw)["input_values"]
        np.testing.assert_allclose(actual[0], sound, atol=error)


def test_channels_are_averaged(tmp_path: Path, copy: Any, processor_of: Any) -> None:
    left, right = sounds(900, 900)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    actual = _unnormalised(copy, processor_of).encode(tmp_path / "s.wav")["input_values"]
    np.testing.assert_allclose(actual[0], (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "hz"), [(44_100, 7_000), (44_100, 12_000), (48_000, 3_000), (8_000, 440)]
)
def test_another_rate_is_resampled(
    rate: int, hz: int, tmp_path: Path, copy: Any, processor_of: Any
) -> None:
    processor = _unnormalised(copy, processor_of)
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
def test_arrays_of_many_dtypes(dtype: str, copy: Any, processor_of: Any) -> None:
    processor = _unnormalised(copy, processor_of)
    values = np.array([-1.0, 0.0, 0.5] * 20)
    stored = values
    if dtype == "uint8":
        stored = values * 128 + 128
    elif "int" in dtype:
        stored = values * -float(np.iinfo(dtype).min)
    actual = processor.encode(stored.astype(dtype))["input_values"]
    np.testing.assert_array_equal(actual, [values])
    assert actual.dtype == np.float32


def _unnormalised(copy: Any, processor_of: Any) -> Processor:
    directory = copy("wav2vec2")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_normalize": False}))
    processor: Processor = processor_of(directory)
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


def test_unknown_options_and_outputs_are_refused(
    directories: Any, processor_of: Any, wav2vec2: Any
) -> None:
    for processor, output in (
        (wav2vec2, "logits"),
        (processor_of(directories("whisper")), "logits"),
        (processor_of(directories("clap")), "audio_embeds"),
    ):
        with pytest.raises(ModelError, match="rate"):
            processor.encode(sounds(100), rate=RATE)
        with pytest.raises(ModelError, match=output):
            processor.decode({"hidden": np.zeros(1)}, {})


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
    name: str, file: str, change: Any, word: str, copy: Any, resolve: Any, left_over: Any
) -> None:
    path = copy(name) / file
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


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": True},
        {"replace_word_delimiter_char": "_"},
        {"word_delimiter_token": "E"},
        {"pad_token": "<s>", "unk_token": "</s>"},
        {"pad_token": {"content": "T", "lstrip": False}},
        {"clean_up_tokenization_spaces": True, "do_lower_case": True},
        {"added_tokens_decoder": {"19": {"content": "<more>", "special": False}}},
    ],
)
def test_letters_are_joined_as_transformers_does(
    settings: dict[str, Any], copy: Any, processor_of: Any
) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    directory = copy("wav2vec2")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    processor = processor_of(directory)
    plain = {
        key: value["content"] if key == "pad_token" and isinstance(value, dict) else value
        for key, value in settings.items()
        if key != "added_tokens_decoder"
    }
    # Not by from_pretrained: transformers 5.23 forgets the delimiter there.
    theirs = Wav2Vec2CTCTokenizer(directory / "vocab.json", **plain)
    if "added_tokens_decoder" in settings:
        theirs.add_tokens(["<more>"])
    rng = np.random.default_rng(3)
    # Few letters, so that they repeat; blanks, delimiters and an id without a token among them.
    ids = rng.choice([0, 0, 1, 3, 4, 4, 5, 6, 7, 18, 19, 30], (20, 60))
    ids[0] = 0
    ids[1, :4] = [6, 4, 18, 12]  # "T 'S", which is tidied in lower case
    logits = np.eye(31, dtype=np.float32)[ids]
    assert processor.decode({"logits": logits}, {}) == theirs.batch_decode(ids)


def test_without_a_head_the_answer_is_hidden_states(copy: Any, processor_of: Any) -> None:
    directory = copy("wav2vec2")
    from transformers import Wav2Vec2Model

    Wav2Vec2Model.from_pretrained(directory).save_pretrained(directory)
    (directory / "vocab.json").unlink()
    states = np.ones((1, 2, 18), np.float16)
    answer = processor_of(directory).decode({"last_hidden_state": states}, {})
    assert answer.shape == (1, 2, 18) and answer.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"language": "en"}, [1, 2, 4, 6]),
        ({"language": "de", "task": "translate"}, [1, 3, 5, 6]),
    ],
)
def test_whispers_first_word_is_what_transformers_generates(
    options: dict[str, str],
    prompt: list[int],
    directories: Any,
    processor_of: Any,
    resolve: Any,
    run: Any,
) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    directory = directories("whisper")
    processor, spec = processor_of(directory), resolve(f"dir:{directory}")
    model = WhisperForConditionalGeneration.from_pretrained(directory)
    raw = [0.3 * sound for sound in sounds(RATE, 9_000, 2 * RATE, 300)]
    encoded = processor.encode(raw, **options)
    assert encoded["decoder_input_ids"].tolist() == [prompt] * 4
    features = torch.from_numpy(encoded["input_features"])
    theirs = model.generate(features, max_new_tokens=1, **options)[:, -1].tolist()
    # Nothing may come of tokens that the directory suppresses.
    assert not {0, 7, 8, 9} & set(theirs)
    names = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    wanted = [{i: name for name, i in names.items()}[index] for index in theirs]
    assert processor.decode(run(spec, encoded), encoded) == wanted
    longer = processor.encode(raw, sequence_length=11, **options)
    assert longer["decoder_input_ids"].shape == (4, 11)
    assert processor.decode(run(spec, longer), longer) == wanted


def test_whisper_is_asked_for_the_language_it_is_not_told(
    directories: Any, processor_of: Any, resolve: Any, run: Any
) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    directory = directories("whisper")
    processor, spec = processor_of(directory), resolve(f"dir:{directory}")
    encoded = processor.encode(sounds(RATE, 300))
    assert encoded["decoder_input_ids"].tolist() == [[1], [1]]
    model = WhisperForConditionalGeneration.from_pretrained(directory)
    theirs = model.detect_language(torch.from_numpy(encoded["input_features"])).tolist()
    wanted = [{2: "<|en|>", 3: "<|de|>"}[index] for index in theirs]
    assert processor.decode(run(spec, encoded), encoded) == wanted


def test_a_whisper_of_one_language_starts_with_what_is_forced(copy: Any, processor_of: Any) -> None:
    directory = copy("whisper")
    path = directory / "generation_config.json"
    config = json.loads(path.read_text())
    del config["lang_to_id"], config["task_to_id"]
    path.write_text(json.dumps({**config, "forced_decoder_ids": [[1, 6]]}))
    processor = processor_of(directory)
    assert processor.encode(sounds(100))["decoder_input_ids"].tolist() == [[1, 6]]
    with pytest.raises(ModelError, match="language 'en'") as caught:
        processor.encode(sounds(100), language="en")
    assert caught.value.info.accepted == ("None: it is a model of one language",)


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"language": "fr"}, ("de", "en")),
        ({"task": "translate"}, ("de", "en")),
        ({"language": "en", "task": "sing"}, ("transcribe", "translate")),
        ({"sequence_length": 0}, ("1 to 34 tokens",)),
        ({"language": "en", "sequence_length": 3}, ("4 to 34 tokens",)),
        ({"sequence_length": 35}, ("1 to 34 tokens",)),
    ],
)
def test_what_whisper_does_not_know_is_refused(
    options: dict[str, Any], accepted: Any, directories: Any, processor_of: Any
) -> None:
    with pytest.raises(ModelError) as caught:
        processor_of(directories("whisper")).encode(sounds(100), **options)
    assert caught.value.info.accepted == accepted


def test_samples_have_the_length_that_is_asked(wav2vec2: Any, resolve: Any) -> None:
    for frames in (1, 2, 33):
        raw = wav2vec2.sample(3, frames)
        assert {len(sound) for sound in raw} == {30 + (frames - 1) * 20}
        # An encode of that length leaves them as they are, and brings others to it.
        for other in (raw, wav2vec2.sample(3, None), wav2vec2.sample(3, 1)):
            encoded = wav2vec2.encode(other, sequence_length=frames)
            assert encoded["input_values"].shape == (3, 30 + (frames - 1) * 20)
    for call in (wav2vec2.sample, lambda _, n: wav2vec2.encode(sounds(99), sequence_length=n)):
        with pytest.raises(ModelError, match="0 frames"):
            call(1, 0)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-layer", "whisper", "clap"])
def test_samples_are_sound_and_always_the_same(
    name: str, directories: Any, processor_of: Any
) -> None:
    processor = processor_of(directories(name))
    first, second = processor.sample(3, None), processor.sample(3, None)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    assert all(0.01 < np.abs(sound).max() <= 1.0 for sound in first)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-layer", "whisper", "clap"])
def test_what_a_benchmark_encodes_fits_the_model(
    name: str, directories: Any, processor_of: Any, resolve: Any
) -> None:
    processor, spec = processor_of(directories(name)), resolve(f"dir:{directories(name)}")
    for batch in (1, 3):
        raw = processor.sample(batch, 8)
        encoded = processor.encode(raw, sequence_length=8)
        check_inputs(spec, encoded)
        assert {value.shape[0] for value in encoded.values()} == {batch}


# --- through the public interface --------------------------------------------------------------


def test_a_model_is_called_with_a_file(directories: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoProcessor, Wav2Vec2ForCTC

    directory = directories("wav2vec2")
    (sound,) = sounds(RATE // 2)
    soundfile.write(tmp_path / "speech.wav", sound, RATE, subtype="FLOAT")
    folders = {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}
    with Accelerator(**folders) as accelerator:
        model = accelerator.accelerate_model(f"dir:{directory}", platform="cpu")
        assert model.spec.task == "audio"
        answers = [
            model(tmp_path / "speech.wav"),
            model(str(tmp_path / "speech.wav")),
            model(sound, sampling_rate=RATE),
        ]
    theirs = Wav2Vec2ForCTC.from_pretrained(directory).eval()
    processor = AutoProcessor.from_pretrained(directory)
    with torch.no_grad():
        logits = theirs(**processor(sound, sampling_rate=RATE, return_tensors="pt")).logits
    wanted = processor.batch_decode(logits.argmax(-1))
    assert len(wanted[0]) > 3
    assert answers == [wanted] * 3
