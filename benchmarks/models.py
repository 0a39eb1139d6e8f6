# SPDX-License-Identifier: Apache-2.0
"""Building models: memory, speed, the second load; and what is built against torch's export."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.errors import BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import relative_l2
from accelerate_core.types import ModelSpec

from ._measure import Figure, median, paired_ratio, percentiles, rounded, turns
from ._world import Options, conditions, new_folder

if TYPE_CHECKING:
    from accelerate_core.types import Array

_LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32_000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
_LAYERS = 16  # 1.02 GB in fp32
_SEQUENCE = 128

#: Run in a fresh process, where nothing hides the peak and nothing is imported yet.
_RESOLVE = r"""
import json, re, sys, time
from pathlib import Path
from accelerate_core.host import Host
begin = time.perf_counter()
spec = Host(cache_dir=Path(sys.argv[2]), state_dir=Path(sys.argv[2])).resolve_model(sys.argv[1])
seconds = time.perf_counter() - begin
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"seconds": seconds, "peak_bytes": peak, "parameters": spec.parameters,
                  "cpu_seconds": time.process_time()}))
"""


@attrs.frozen
class Resolved:
    """Hold what resolving a model took in a process of its own."""

    seconds: float
    peak_bytes: int
    parameters: int
    cpu_seconds: float  #: of the whole process: what a busy machine does not change


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield memory, speed and the second load of a checkpoint of 1 GB, then the built graph's."""
    with new_folder() as folder:
        for figure in await asyncio.to_thread(_building, options, folder):
            yield figure
    with new_folder() as folder:
        yield await asyncio.to_thread(_against_export, options, folder)


# --- building -----------------------------------------------------------------------------------


def _building(options: Options, folder: Path) -> list[Figure]:
    checkpoint = folder / "llama"
    size_bytes = _write_llama(checkpoint, layers=options.count(_LAYERS, 1))
    _resolve(checkpoint, folder / "cache-1")  # compiles what is imported
    builds: list[Resolved] = []
    for index in range(options.count(3, 1)):
        shutil.rmtree(folder / f"cache{index - 1}", ignore_errors=True)
        _read(checkpoint / "model.safetensors")  # a warm disk
        builds.append(_resolve(checkpoint, folder / f"cache{index}"))
    again = [_resolve(checkpoint, folder / f"cache{index}") for _ in range(options.count(7, 2))]
    rates = [size_bytes / 1e6 / one.seconds for one in builds]
    facts = conditions(
        model="llama-shaped, random, fp32",
        size_bytes=size_bytes,
        parameters=builds[0].parameters,
        builds=len(builds),
    )
    return [
        Figure(
            figure="models_build_peak_memory_ratio",
            value=max(one.peak_bytes for one in builds) / size_bytes,
            unit="x",
            at_most=1.3,
            conditions={**facts, "peak_bytes": [one.peak_bytes for one in builds]},
        ),
        Figure(
            figure="models_build_speed",
            value=median(rates),
            unit="MB/s",
            at_least=300,
            conditions={
                **facts,
                "rates": [rounded(rate) for rate in rates],
                "cpu_seconds": [rounded(one.cpu_seconds) for one in builds],
            },
        ),
        Figure(
            figure="models_second_load",
            value=median([one.seconds for one in again]),
            unit="s",
            at_most=0.2,
            conditions={
                **facts,
                "loads": len(again),
                "seconds": percentiles([one.seconds for one in again]),
                "cpu_seconds": [rounded(one.cpu_seconds) for one in again],
                "peak_bytes": max(one.peak_bytes for one in again),
            },
        ),
    ]


def _resolve(directory: Path, cache: Path) -> Resolved:
    command = [sys.executable, "-c", _RESOLVE, f"dir:{directory}", str(cache)]
    # Compiled once, as where it is installed, and not for every process.
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory.with_name("compiled"))}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=compiled)
    return Resolved(**json.loads(done.stdout))


def _read(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def _write_llama(folder: Path, layers: int) -> int:
    """Write a checkpoint, a tensor at a time; return the size of its weights' file."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**_LLAMA, "num_hidden_layers": layers}))
    _write_tokenizer(folder)
    header: dict[str, Any] = {}
    end = 0
    for name, shape in _llama_shapes(layers):
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(0).normal(0, 0.02, 1 << 20).astype("<f4")
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape in _llama_shapes(layers):
            count = int(np.prod(shape))
            for _ in range(count // random.size):
                file.write(random.data)
            file.write(random[: count % random.size].data)
    return path.stat().st_size


def _llama_shapes(layers: int) -> Iterator[tuple[str, list[int]]]:
    hidden, wide, words = (
        _LLAMA[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    narrow = hidden * _LLAMA["num_key_value_heads"] // _LLAMA["num_attention_heads"]
    yield "model.embed_tokens.weight", [words, hidden]
    for index in range(layers):
        layer = f"model.layers.{index}"
        for name, rows, columns in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", narrow, hidden),
            ("self_attn.v_proj", narrow, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", wide, hidden),
            ("mlp.up_proj", wide, hidden),
            ("mlp.down_proj", hidden, wide),
        ):
            yield f"{layer}.{name}.weight", [rows, columns]
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{name}.weight", [hidden]
    yield "model.norm.weight", [hidden]
    yield "lm_head.weight", [words, hidden]


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))


# --- the built graph ----------------------------------------------------------------------------


def _against_export(options: Options, folder: Path) -> Figure:
    """Compare a built BERT of MiniLM's size with torch's export of it, both as ORT runs them."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise BackendUnavailable(
            f"models_built_against_export_ratio is not taken: {error}", hint="make test installs it"
        ) from error
    config = transformers.BertConfig(
        vocab_size=30_522,
        hidden_size=384,
        num_attention_heads=12,
        num_hidden_layers=6,
        intermediate_size=1536,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder / "bert")
    _write_tokenizer(folder / "bert")
    ids = np.random.default_rng(1).integers(4, 30_522, (1, _SEQUENCE))
    inputs = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}

    host = Host(cache_dir=folder / "cache", state_dir=folder / "state")
    built = _session(_laid_out(host, host.resolve_model(f"dir:{folder / 'bert'}"), folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            kwargs={name: torch.from_numpy(value) for name, value in inputs.items()},
            f=str(folder / "export.onnx"),
            dynamo=True,
            input_names=list(inputs),
            output_names=["last_hidden_state"],
            dynamic_shapes={name: {0: "batch", 1: "sequence"} for name in inputs},
            verbose=False,
        )
    exported = _session(folder / "export.onnx")
    answers = [_run(session, inputs)[1] for session in (built, exported)]
    distance = relative_l2({"x": answers[0]}, {"x": answers[1]})
    if distance > 1e-4:
        raise AssertionError(f"the graphs differ by {distance:.1e}")

    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(options.count(200, 10)):
        for which in order:
            samples[which].append(_run({"a": built, "b": exported}[which], inputs)[0])
    ratio = paired_ratio(samples["a"], samples["b"])
    return Figure(
        figure="models_built_against_export_ratio",
        value=ratio.value,
        unit="x",
        at_most=1.05,
        conditions=conditions(
            model="BERT of MiniLM's size, random, fp32",
            tokens=_SEQUENCE,
            threads=1,
            pairs=len(samples["a"]),
            interval_95=ratio.interval,
            built_ms=percentiles([1e3 * one for one in samples["a"]]),
            export_ms=percentiles([1e3 * one for one in samples["b"]]),
            relative_l2=rounded(distance),
            torch=torch.__version__,
        ),
    )


def _laid_out(host: Host, spec: ModelSpec, folder: Path) -> Path:
    (folder / "built").mkdir()
    for asset in spec.assets:
        shutil.copyfile(host.context.assets.path(asset.sha256), folder / "built" / asset.name)
    return folder / "built" / spec.assets[0].name


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # what others do on this machine disturbs one thread least
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Mapping[str, Array]) -> tuple[float, Array]:
    begin = time.perf_counter()
    output = session.run(None, dict(inputs))[0]
    return time.perf_counter() - begin, output
