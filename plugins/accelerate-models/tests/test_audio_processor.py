# SPDX-License-Identifier: Apache-2.0
"""Sound to tensors and back, as transformers' feature extractors and tokenizers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from accelerate_models.processors.mel import Mel, clap_features, mel_filters, whisper_features

from accelerate_core import Accelerator
from accelerate_core.errors import ModelError
from accelerate_core.inputs import check_inputs

RATE = 16_000
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


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
    audio_directory: Any, audio_processor_of: Any
) -> None:
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor.from_pretrained(audio_directory("whisper"))
    raw = sounds(RATE, 5_001, 3 * RATE, 1)
    wanted = theirs(raw, sampling_rate=RATE, return_tensors="np").input_features
    encoded = audio_processor_of(audio_directory("whisper")).encode(raw)
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
    padding: str, audio_copy: Any, audio_processor_of: Any, resolve: Any, run: Any
) -> None:
    """The features are stretched here and not in the model, so it is the answer that is equal."""
    import torch
    from transformers import ClapFeatureExtractor, ClapModel

    directory = audio_copy("clap")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding": padding}))
    theirs = ClapFeatureExtractor.from_pretrained(directory)
    model = ClapModel.from_pretrained(directory).eval()
    processor, spec = audio_processor_of(directory), resolve(f"dir:{directory}")
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
    name: str, lengths: tuple[int, ...], audio_directory: Any, audio_processor_of: Any
) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    theirs = Wav2Vec2FeatureExtractor.from_pretrained(audio_directory(name))
    raw = [sound + 0.1 for sound in sounds(*lengths)]
    wanted = theirs(raw, sampling_rate=RATE, padding=True, return_tensors="np")
    encoded = audio_processor_of(audio_directory(name)).encode(raw)
    np.testing.assert_allclose(encoded["input_values"], wanted.input_values, **CLOSE)
    assert list(encoded) == list(wanted)
    if name == "wav2vec2-layer":
        np.testing.assert_array_equal(encoded["attention_mask"], wanted.attention_mask)


def test_normalisation_is_the_directorys_choice(audio_copy: Any, audio_processor_of: Any) -> None:
    directory = audio_copy("wav2vec2")
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_normalize": False}))
    raw = sounds(500)
    np.testing.assert_array_equal(audio_processor_of(directory).encode(raw)["input_values"], raw)


def test_settings_are_read_from_where_transformers_5_writes_them(
    audio_copy: Any, audio_directory: Any, audio_processor_of: Any, wav2vec2: Any
) -> None:
    directory = audio_copy("wav2vec2")
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    (directory / "preprocessor_config.json").unlink()
    settings["do_normalize"] = False
    text = json.dumps({"feature_extractor": settings})
    (directory / "processor_config.json").write_text(text)
    raw = sounds(500)
    np.testing.assert_array_equal(audio_processor_of(directory).encode(raw)["input_values"], raw)


# --- what is refused ---------------------------------------------------------------------------


def test_unknown_options_and_outputs_are_refused(
    audio_directory: Any, audio_processor_of: Any, wav2vec2: Any
) -> None:
    for processor, output in (
        (wav2vec2, "logits"),
        (audio_processor_of(audio_directory("whisper")), "logits"),
        (audio_processor_of(audio_directory("clap")), "audio_embeds"),
    ):
        with pytest.raises(ModelError, match="rate"):
            processor.encode(sounds(100), rate=RATE)
        with pytest.raises(ModelError, match=output):
            processor.decode({"hidden": np.zeros(1)}, {})


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
    settings: dict[str, Any], audio_copy: Any, audio_processor_of: Any
) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    directory = audio_copy("wav2vec2")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    processor = audio_processor_of(directory)
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


def test_without_a_head_the_answer_is_hidden_states(
    audio_copy: Any, audio_processor_of: Any
) -> None:
    directory = audio_copy("wav2vec2")
    from transformers import Wav2Vec2Model

    Wav2Vec2Model.from_pretrained(directory).save_pretrained(directory)
    (directory / "vocab.json").unlink()
    states = np.ones((1, 2, 18), np.float16)
    answer = audio_processor_of(directory).decode({"last_hidden_state": states}, {})
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
    audio_directory: Any,
    audio_processor_of: Any,
    resolve: Any,
    run: Any,
) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    directory = audio_directory("whisper")
    processor, spec = audio_processor_of(directory), resolve(f"dir:{directory}")
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
    audio_directory: Any, audio_processor_of: Any, resolve: Any, run: Any
) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    directory = audio_directory("whisper")
    processor, spec = audio_processor_of(directory), resolve(f"dir:{directory}")
    encoded = processor.encode(sounds(RATE, 300))
    assert encoded["decoder_input_ids"].tolist() == [[1], [1]]
    model = WhisperForConditionalGeneration.from_pretrained(directory)
    theirs = model.detect_language(torch.from_numpy(encoded["input_features"])).tolist()
    wanted = [{2: "<|en|>", 3: "<|de|>"}[index] for index in theirs]
    assert processor.decode(run(spec, encoded), encoded) == wanted


def test_a_whisper_of_one_language_starts_with_what_is_forced(
    audio_copy: Any, audio_processor_of: Any
) -> None:
    directory = audio_copy("whisper")
    path = directory / "generation_config.json"
    config = json.loads(path.read_text())
    del config["lang_to_id"], config["task_to_id"]
    path.write_text(json.dumps({**config, "forced_decoder_ids": [[1, 6]]}))
    processor = audio_processor_of(directory)
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
    options: dict[str, Any], accepted: Any, audio_directory: Any, audio_processor_of: Any
) -> None:
    with pytest.raises(ModelError) as caught:
        audio_processor_of(audio_directory("whisper")).encode(sounds(100), **options)
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
    name: str, audio_directory: Any, audio_processor_of: Any
) -> None:
    processor = audio_processor_of(audio_directory(name))
    first, second = processor.sample(3, None), processor.sample(3, None)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    assert all(0.01 < np.abs(sound).max() <= 1.0 for sound in first)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-layer", "whisper", "clap"])
def test_what_a_benchmark_encodes_fits_the_model(
    name: str, audio_directory: Any, audio_processor_of: Any, resolve: Any
) -> None:
    processor, spec = (
        audio_processor_of(audio_directory(name)),
        resolve(f"dir:{audio_directory(name)}"),
    )
    for batch in (1, 3):
        raw = processor.sample(batch, 8)
        encoded = processor.encode(raw, sequence_length=8)
        check_inputs(spec, encoded)
        assert {value.shape[0] for value in encoded.values()} == {batch}


# --- through the public interface --------------------------------------------------------------


def test_a_model_is_called_with_a_file(audio_directory: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoProcessor, Wav2Vec2ForCTC

    directory = audio_directory("wav2vec2")
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
