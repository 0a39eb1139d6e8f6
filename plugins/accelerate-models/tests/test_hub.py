# SPDX-License-Identifier: Apache-2.0
"""`hf:` against a server on loopback that speaks the hub's protocol; huggingface_hub as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import accelerate_models.processors
import numpy as np
import onnx
import pytest
from accelerate_models.hub import Hub
from accelerate_models.repository import (
    CONFIG,
    Choice,
    Listing,
    check_listing,
    choose,
    parse_reference,
)
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context
from accelerate_core.testing.model import ModelSourceContract, SourceCase
from accelerate_core.types import ModelSpec

REPOSITORY = "tiny/bert"
SMALL = f"/api/resolve-cache/models/{REPOSITORY}"
INVALID = "Invalid credentials in Authorization header"
TOKEN = "hf_" + "secret" * 5


class HubServer:
    """Serve one repository: its list of files, its small files, and large ones from elsewhere."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        #: What a hostile hub says of sizes; names here are listed whether there is a file or not.
        self.announced: dict[str, Any] = {}
        self.commit_said: str | None = None
        #: Answers in place of the usual: path prefix -> status, error code or message.
        self.refusals: dict[str, tuple[int, str]] = {}
        self.garbage: bytes | None = None
        self.needed_token: str | None = None
        self.interrupts: set[str] = set()
        self.seen: list[tuple[str, str, str | None]] = []  #: method, path, authorization
        self.is_up = False
        self.start(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for since `forget`, in order."""
        elsewhere = {
            f"/elsewhere/{hashlib.sha256(data).hexdigest()}": name
            for files in self.commits.values()
            for name, data in files.items()
        }
        gets = [path for method, path, _ in self.seen if method == "GET"]
        names = [elsewhere.get(path) or path.partition(f"{SMALL}/")[2][41:] for path in gets]
        return [name for name in names if name]

    def forget(self) -> None:
        self.seen.clear()

    def push(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make a commit and return its id."""
        text = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in files.items()})
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def start(self, port: int | None = None) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        place = ("127.0.0.1", self.port if port is None else port)
        self._server = ThreadingHTTPServer(place, Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.is_up = True

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self.is_up:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self.is_up = False

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.seen.append((request.command, path, request.headers.get("authorization")))
        for prefix, (status, code) in self.refusals.items():
            if path.startswith(prefix):
                header = "X-Error-Message" if " " in code else "X-Error-Code"
                return self._send(request, status, {header: code} if code else {})
        if path.startswith("/elsewhere/"):
            files = {
                hashlib.sha256(data).hexdigest(): (name, data)
                for one in self.commits.values()
                for name, data in one.items()
            }
            name, data = files[path.removeprefix("/elsewhere/")]
            return self._send(request, 200, {}, data, name in self.interrupts)
        authorization = request.headers.get("authorization")
        if self.needed_token and authorization != f"Bearer {self.needed_token}":
            return self._send(request, 401, {"X-Error-Code": "RepoNotFound"})
        if match := re.fullmatch(f"/api/models/{REPOSITORY}/revision/(.+)", path):
            return self._describe(request, match[1])
        if match := re.fullmatch(f"/{REPOSITORY}/resolve/([0-9a-f]{{40}})/(.+)", path):
            return self._resolve(request, match[1], match[2])
        if match := re.fullmatch(f"{SMALL}/([0-9a-f]{{40}})/(.+)", path):
            data = self.commits[match[1]][match[2]]
            headers = {"X-Repo-Commit": match[1], "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            return self._send(request, 200, headers, data, match[2] in self.interrupts)
        return self._send(request, 404, {"X-Error-Code": "RepoNotFound"})

    def _describe(self, request: BaseHTTPRequestHandler, revision: str) -> None:
        commit = self.branches.get(revision, revision)
        if self.garbage is not None:
            return self._send(request, 200, {}, self.garbage)
        if commit not in self.commits:
            return self._send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        sizes = {name: len(data) for name, data in self.commits[commit].items()}
        siblings = [{"rfilename": n, "size": s} for n, s in {**sizes, **self.announced}.items()]
        text = {"id": REPOSITORY, "sha": self.commit_said or commit, "siblings": siblings}
        return self._send(request, 200, {}, json.dumps(text).encode())

    def _resolve(self, request: BaseHTTPRequestHandler, commit: str, name: str) -> None:
        data = self.commits[commit].get(name)
        if data is None:
            return self._send(request, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if not name.endswith((".safetensors", ".onnx", ".onnx_data")):
            return self._send(request, 307, {**headers, "Location": f"{SMALL}/{commit}/{name}"})
        digest = hashlib.sha256(data).hexdigest()
        # Another host, as a hub's storage is: what is meant for the hub must not go there.
        place = {"Location": f"http://localhost:{self.port}/elsewhere/{digest}?signature=signed"}
        large = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        return self._send(request, 302, {**headers, **place, **large})

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: Mapping[str, str],
        data: bytes = b"",
        is_interrupted: bool = False,
    ) -> None:
        request.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        if is_interrupted:
            request.wfile.write(data[: len(data) // 2])
            time.sleep(0.2)  # until the first half is being written
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return
        request.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    server = HubServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, make_checkpoint: Any) -> Path:
    """A small BERT, complete and sound, written once: nothing here changes it."""
    directory = tmp_path_factory.mktemp("hub") / "checkpoint"
    make_checkpoint(directory, "bert")
    return directory


@pytest.fixture
def content(checkpoint: Path) -> dict[str, bytes]:
    """A complete repository, with much that is not needed."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    extra = ("README.md", "pytorch_model.bin", "vocab.txt", "onnx/model.onnx", "tf_model.h5")
    return {**files, **dict.fromkeys(extra, b"not needed")}


@pytest.fixture
def source(ctx: Context, hub: HubServer) -> Hub:
    return Hub(ctx, hub.url)


@pytest.fixture
def get(source: Hub) -> Callable[..., ModelSpec]:
    def call(rest: str = "", precision: str = "fp32") -> ModelSpec:
        return source.resolve(f"hf:{REPOSITORY}{rest}", name="model", precision=precision)

    return call


@pytest.fixture
def refusal(get: Any, ctx: Context) -> Callable[..., ModelError]:
    """Return the error of a reference; nothing may have been downloaded or built for it."""

    def call(rest: str = "", precision: str = "fp32") -> ModelError:
        with pytest.raises(ModelError) as caught:
            get(rest, precision)
        assert caught.value.info.hint or caught.value.info.accepted
        kept = [path.name for path in ctx.cache_dir.rglob("*") if path.is_file()]
        assert kept == []
        return caught.value

    return call


def graph(scale: float = 1.0) -> onnx.ModelProto:
    """An encoder of tokens, in ONNX."""
    weight = numpy_helper.from_array(np.full((4, 3), scale, np.float32), "embeddings")
    nodes = [helper.make_node("Gather", ["embeddings", "input_ids"], ["last_hidden_state"])]
    dims = ["batch", "sequence"]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, dims)],
            [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*dims, 3])],
            [weight],
        ),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )


class TestHub(ModelSourceContract):
    @pytest.fixture
    def case(self, context: Context, hub: HubServer, content: dict[str, bytes]) -> SourceCase:
        hub.push(content)
        return SourceCase(
            source=Hub(context, hub.url),
            reference=f"hf:{REPOSITORY}",
            missing="hf:tiny/none",
        )


def test_only_what_is_needed_is_fetched_and_built_as_a_directory_is(
    hub: HubServer, get: Any, resolve: Any, checkpoint: Path, content: dict[str, bytes]
) -> None:
    commit = hub.push(content)
    spec = get()
    expected = resolve(f"dir:{checkpoint}")
    assert (spec.sha256, spec.processor) == (expected.sha256, expected.processor)
    assert spec.source == f"hf:{REPOSITORY}" and spec.name == "model"
    origin = {"repository": REPOSITORY, "revision": "main", "commit": commit}
    assert spec.metadata == {**expected.metadata, **origin}
    assert hub.fetched[0] == CONFIG and hub.fetched[-1] == "model.safetensors"
    assert sorted(hub.fetched) == sorted(path.name for path in checkpoint.iterdir())


def test_a_commit_that_is_here_needs_no_network(
    hub: HubServer, get: Any, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push(content)
    first = get("@main")
    hub.forget()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "huggingface_hub", None)  # not even imported
        pinned = get(f"@{commit}")
    assert pinned.assets == first.assets and pinned.metadata["revision"] == commit
    assert hub.seen == []
    assert get("@main") == first
    assert [path for _, path, _ in hub.seen] == [f"/api/models/{REPOSITORY}/revision/main"]


def test_a_branch_follows_the_hub_and_stays_where_it_was_without_it(
    hub: HubServer, get: Any, content: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    old = hub.push(content)
    assert get("@main").metadata["commit"] == old
    new = hub.push({**content, "sentence_bert_config.json": b'{"max_seq_length": 7}'})
    hub.forget()
    spec = get("@main")
    assert spec.metadata["commit"] == new and spec.processor.settings["max_length"] == 7
    assert hub.fetched == ["sentence_bert_config.json"], "what did not change is here already"
    hub.stop()
    with caplog.at_level(logging.WARNING, "accelerate"):
        assert get("@main") == spec
    assert f"commit {new} is used" in caplog.text and "cannot be reached" in caplog.text
    assert get(f"@{old}").metadata["commit"] == old


@pytest.mark.parametrize("revision", ["", "@main", f"@{'a' * 40}"])
def test_without_a_hub_what_to_do_is_said(hub: HubServer, refusal: Any, revision: str) -> None:
    hub.stop()
    error = refusal(revision)
    assert "127.0.0.1 cannot be reached" in error.info.message
    for way_out in ("network", "HF_ENDPOINT", "dir:"):
        assert way_out in error.info.hint


def test_a_hub_that_is_down_is_no_hub(hub: HubServer, get: Any, content: dict[str, bytes]) -> None:
    hub.push(content)
    spec = get()
    hub.refusals["/api"] = (503, "")
    assert get() == spec


@pytest.mark.parametrize("rest", ["", "@COMMIT"])
def test_without_a_hub_a_file_that_is_missing_is_said_at_once(
    hub: HubServer, get: Any, content: dict[str, bytes], rest: str
) -> None:
    del content["model.safetensors"]
    content |= {"onnx/model.onnx": graph().SerializeToString()}
    commit = hub.push({**content, "onnx/model_int8.onnx": b"not here yet"})
    get()
    hub.stop()
    started = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached"):
        get(rest.replace("COMMIT", commit), "int8")
    assert time.monotonic() - started < 10


def test_shards_are_fetched_as_their_index_names_them(
    hub: HubServer, get: Any, resolve: Any, checkpoint: Path, content: dict[str, bytes]
) -> None:
    from safetensors.numpy import load, save

    tensors = load(content.pop("model.safetensors"))
    halves = {"model-a.safetensors": {}, "model-b.safetensors": {}}  # type: ignore[var-annotated]
    for count, name in enumerate(tensors):
        halves[list(halves)[count % 2]][name] = tensors[name]
    index = {"weight_map": {name: part for part, half in halves.items() for name in half}}
    content["model.safetensors.index.json"] = json.dumps(index).encode()
    content |= {part: save(half) for part, half in halves.items()}
    hub.push({**content, "model-c.safetensors": b"of another index"})
    assert get().sha256 == resolve(f"dir:{checkpoint}").sha256
    assert hub.fetched[-3:] == ["model.safetensors.index.json", *halves]

    del content["model-b.safetensors"]
    hub.push(content)
    with pytest.raises(ModelError, match="which the repository lacks"):
        get()
    index["weight_map"]["x"] = "../x.safetensors"
    hub.push({**content, "model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(ModelError, match="outside its own folder"):
        get()


def test_a_part_is_named_as_in_a_directory(
    hub: HubServer, get: Any, tmp_path: Path, make_checkpoint: Any, resolve: Any
) -> None:
    make_checkpoint(tmp_path / "t5", "t5")
    hub.push({path.name: path.read_bytes() for path in (tmp_path / "t5").iterdir()})
    with pytest.raises(ModelError, match="no part 'decodr'") as caught:
        get("#decodr")
    assert caught.value.info.hint == "Did you mean 'decoder'?"
    assert hub.fetched == [CONFIG], "no weights for a part there is not"
    assert get("@main#decoder").sha256 == resolve(f"dir:{tmp_path / 't5'}#decoder").sha256


@pytest.mark.parametrize("rest", ["#onnx", ""])
def test_an_export_gets_its_data_and_the_files_of_its_repository(
    hub: HubServer, get: Any, tmp_path: Path, content: dict[str, bytes], rest: str, run: Any
) -> None:
    onnx.save(
        graph(),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    if not rest:
        content[CONFIG] = content[CONFIG].replace(b'"bert"', b'"unknown"')
    for name in ("model.onnx", "model.onnx_data"):
        content[f"onnx/{name}"] = (tmp_path / name).read_bytes()
    hub.push({**content, "onnx/model_fp16.onnx_data": b"of another graph"})
    spec = get(rest)
    assert [asset.name for asset in spec.assets] == ["model.onnx", "model.onnx_data"]
    assert spec.processor is not None and spec.processor.kind == "text_embedding"
    assert hub.fetched[-2:] == ["onnx/model.onnx", "onnx/model.onnx_data"]
    assert "model.safetensors" not in hub.fetched
    out = run(spec, {"input_ids": np.zeros((1, 2), np.int64)})["last_hidden_state"]
    np.testing.assert_array_equal(out, np.ones((1, 2, 3), np.float32))


def test_an_export_in_another_precision_is_taken_or_made(
    hub: HubServer, get: Any, content: dict[str, bytes]
) -> None:
    del content["model.safetensors"]
    content["onnx/model.onnx"] = graph().SerializeToString()
    hub.push(content)
    assert get("", "fp16").metadata["made_from"] == get().sha256
    half = graph()
    weight = half.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(np.ones((4, 3), np.float16), weight.name))
    half.graph.node[0].output[0] = "half"
    half.graph.node.append(helper.make_node("Cast", ["half"], ["last_hidden_state"], to=1))
    hub.push({**content, "onnx/model_fp16.onnx": half.SerializeToString()})
    spec = get("", "fp16")
    assert spec.precision == "fp16" and "made_from" not in spec.metadata
    assert hub.fetched[-1] == "onnx/model_fp16.onnx"


EXPORT = (CONFIG, "onnx/model.onnx")
BUILT = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "vocab.json",
    "1_Pooling/config.json",
)


@pytest.mark.parametrize(
    ("files", "rest", "precision", "model_type", "expected"),
    [
        (BUILT, "", "fp32", "bert", {*BUILT} - {"vocab.json"}),
        (("vocab.json", *BUILT[:2]), "", "fp16", "bert", {"vocab.json", *BUILT[:2]}),
        ((*BUILT[:2], *EXPORT), "", "int8", "bert", {*BUILT[:2]}),
        ((*BUILT[:2], *EXPORT), "#onnx", "int8", "bert", {*EXPORT}),
        ((*BUILT[:2], *EXPORT), "", "fp32", "other", {*EXPORT}),
        (("pytorch_model.bin", *EXPORT), "", "fp32", "bert", {*EXPORT}),
        ((*EXPORT, "model.onnx"), "", "fp32", None, {*EXPORT}),
        (("model.onnx", "model.onnx.data"), "", "fp32", None, {"model.onnx", "model.onnx.data"}),
        ((*EXPORT, "onnx/model_int8.onnx"), "", "int8", None, {CONFIG, "onnx/model_int8.onnx"}),
        (
            (*EXPORT, "onnx/model_int8.onnx", "onnx/model_quantized.onnx"),
            "",
            "int8",
            None,
            {CONFIG, "onnx/model_quantized.onnx"},
        ),
        ((*EXPORT, "model_fp16.onnx"), "", "fp16", None, {CONFIG, "model_fp16.onnx"}),
    ],
)
def test_what_is_chosen(
    files: tuple[str, ...], rest: str, precision: str, model_type: str | None, expected: set[str]
) -> None:
    wanted = parse_reference(f"hf:{REPOSITORY}{rest}")
    listing = Listing("0" * 40, dict.fromkeys(files, 1))
    choice = choose(wanted, precision, listing, {"model_type": model_type}, ("bert",))
    graphs = [name for name in expected if name.endswith(".onnx")]
    assert choice == Choice(choice.files, graphs[0] if graphs else "")
    assert set(choice.files) == expected and len(choice.files) == len(expected)


@pytest.mark.parametrize(
    ("files", "rest", "precision", "model_type", "message"),
    [
        (BUILT, "#onnx", "fp32", "bert", "has no ONNX export"),
        (BUILT, "", "fp32", "other", "no builder for model_type 'other'"),
        (BUILT, "", "fp32", ["bert"], "no builder for model_type"),
        (BUILT[1:], "", "fp32", None, "neither a config.json with a model_type nor"),
        (
            (CONFIG, "onnx/model_int8.onnx"),
            "",
            "int4",
            "other",
            "no ONNX export of the whole model in int4",
        ),
        (EXPORT, "#decoder", "fp32", "other", "it has no part 'decoder'"),
        (("onnx/decoder_model.onnx",), "", "fp32", "x", "no ONNX export of the whole model"),
    ],
)
def test_where_nothing_will_do_that_is_said(
    files: tuple[str, ...], rest: str, precision: str, model_type: Any, message: str
) -> None:
    wanted = parse_reference(f"hf:{REPOSITORY}{rest}")
    listing = Listing("0" * 40, dict.fromkeys(files, 1))
    with pytest.raises(ModelError, match=message) as caught:
        choose(wanted, precision, listing, {"model_type": model_type}, ("bert",))
    assert caught.value.info.accepted and caught.value.info.where == str(wanted)


def test_every_file_that_processors_read_is_fetched() -> None:
    folder = Path(accelerate_models.processors.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    read = set(re.findall(r'/ "([\w.]+\.\w+)"', source)) | {"chat_template.jinja"}
    assert {"tokenizer.json", "vocab.json", "preprocessor_config.json"} < read
    sizes = dict.fromkeys(read - {"tokenizer.json"} | {"model.safetensors"}, 1)
    wanted = parse_reference(f"hf:{REPOSITORY}")
    files = choose(wanted, "fp32", Listing("", sizes), {"model_type": "bert"}, ("bert",)).files
    assert read - {*files} == {"tokenizer.json"}
    tokenizer = {**sizes, "tokenizer.json": 1}
    wanted_files = choose(
        wanted, "fp32", Listing("", tokenizer), {"model_type": "bert"}, ("bert",)
    ).files
    assert "tokenizer.json" in wanted_files


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "hf:",
        "hf:bert",
        "hf:/bert",
        "hf:a/",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/..",
        "hf:a/.b",
        "hf:a/b-",
        "hf:a/b--c",
        "hf:a/b.git",
        "hf:a\\b/c",
        "hf:a/b c",
        "hf:a/b\n",
        "hf:a/b?x=1",
        "hf:ä/b",
        "hf:" + "a" * 60 + "/" + "b" * 60,
        "hf:a/b@",
        "hf:a/b@../main",
        "hf:a/b@/main",
        "hf:a/b@main/",
        "hf:a/b@a//b",
        "hf:a/b@a b",
        "hf:a/b@a\0",
        "hf:a/b@" + "r" * 101,
        "hf:a/b#",
        "hf:a/b#Part",
        "hf:a/b#../x",
        "hf:a/b#x@main",
    ],
)
def test_a_malformed_reference(hub: HubServer, source: Hub, ctx: Context, reference: str) -> None:
    with pytest.raises(ModelError) as caught:
        source.resolve(reference, name="model")
    assert caught.value.info.accepted
    assert hub.seen == [] and not (ctx.cache_dir / "hub").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x.json",
        "/etc/x",
        "..\\x",
        "a\\b",
        "C:/x",
        "C:x",
        "a/D:x",
        "x\0.json",
        "",
        ".",
        "a//b",
        "./a",
        "a/",
        None,
    ],
)
def test_a_list_with_names_that_leave_the_folder(
    hub: HubServer, refusal: Any, content: dict[str, bytes], name: Any
) -> None:
    hub.push(content)
    hub.announced[name] = 1
    if name is None:  # JSON has no such key
        hub.garbage = b'{"id": "x", "sha": "%b", "siblings": [{"rfilename": null}]}' % (b"a" * 40)
    error = refusal()
    assert "outside its own folder" in error.info.message
    assert "Do not use this model" in error.info.hint
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tokenizer.json", (64 << 20) + 1),
        ("config.json", (4 << 20) + 1),
        ("tokenizer_config.json", 1 << 40),
        ("model.safetensors.index.json", 5 << 20),
        ("chat_template.jinja", 257 << 10),
        ("1_Pooling/config.json", 5 << 20),
    ],
)
def test_a_small_file_announced_too_large(
    hub: HubServer, refusal: Any, content: dict[str, bytes], name: str, size: int
) -> None:
    hub.push(content)
    hub.announced[name] = size
    error = refusal()
    assert f"{name} has {size} bytes" in error.info.message
    assert hub.fetched == []


@pytest.mark.parametrize("size", [None, -1, "10"])
def test_a_size_that_is_none(
    hub: HubServer, refusal: Any, content: dict[str, bytes], size: Any
) -> None:
    hub.push(content)
    hub.announced["model.safetensors"] = size
    assert "how large" in refusal().info.message
    assert hub.fetched == []


def test_pickled_weights_are_not_even_downloaded(
    hub: HubServer, refusal: Any, content: dict[str, bytes]
) -> None:
    del content["model.safetensors"], content["onnx/model.onnx"]
    hub.push(content)
    error = refusal()
    assert "pytorch_model.bin: pickled weights run code" in error.info.message
    assert "save_pretrained" in error.info.hint
    del content["pytorch_model.bin"]
    hub.push(content)
    assert "there are no weights" in refusal().info.message
    assert hub.fetched == []


@pytest.mark.parametrize("commit", ["../../x", "main", "b" * 40])
def test_a_commit_that_is_none_or_another(
    hub: HubServer, refusal: Any, content: dict[str, bytes], commit: str
) -> None:
    asked = hub.push(content)
    hub.commit_said = commit
    assert commit in refusal(f"@{asked}").info.message


@pytest.mark.parametrize(
    "garbage", [b"<html>log in</html>", b"[]", b"{}", b'{"id": 1, "siblings": "x"}', b"\xff"]
)
def test_what_answers_is_no_hub(hub: HubServer, refusal: Any, garbage: bytes) -> None:
    hub.garbage = garbage
    error = refusal()
    assert "HF_ENDPOINT" in error.info.hint


@pytest.mark.parametrize(
    ("prefix", "status", "code", "message", "hint"),
    [
        ("/api", 401, "RepoNotFound", "no such repository", "hf auth login"),
        ("/api", 404, "RepoNotFound", "no such repository", "Check the name"),
        ("/api", 404, "RevisionNotFound", "no revision 'main'", "branches"),
        ("/api", 403, "GatedRepo", "asked for", f"127.0.0.1/{REPOSITORY}"),
        (f"/{REPOSITORY}", 403, "GatedRepo", "asked for", "Accept its terms"),
        (f"/{REPOSITORY}", 401, "GatedRepo", "asked for", "HF_TOKEN"),
        ("/api", 403, "", "refuses access", "HF_TOKEN"),
        ("/api", 401, INVALID, "does not accept the token", "Log in again"),
        (f"/{REPOSITORY}", 403, "", "refuses access", "HF_TOKEN"),
        (f"/{REPOSITORY}", 404, "EntryNotFound", "status 404", "try again"),
        ("/api", 418, "", "status 418", "HF_ENDPOINT"),
        ("/api", 429, "", "cannot be reached (status 429)", "network"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: HubServer,
    get: Any,
    content: dict[str, bytes],
    prefix: str,
    status: int,
    code: str,
    message: str,
    hint: str,
) -> None:
    hub.push(content)
    hub.refusals[prefix] = (status, code)
    with pytest.raises(ModelError) as caught:
        get()
    assert message in caught.value.info.message and hint in caught.value.info.hint
    assert caught.value.info.where == f"hf:{REPOSITORY}@main"


def test_a_token_goes_to_the_hub_and_nowhere_else(
    hub: HubServer,
    get: Any,
    ctx: Context,
    content: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.push(content)
    hub.needed_token = TOKEN
    with pytest.raises(ModelError, match="no such repository, or does not show it"):
        get()
    hub.forget()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    spec = get()
    told = {path.startswith("/elsewhere/"): said for _, path, said in hub.seen}
    assert told == {False: f"Bearer {TOKEN}", True: None}
    hub.refusals["/api"] = (403, "")
    with pytest.raises(ModelError) as caught:
        get()
    kept = [path.read_bytes() for path in ctx.cache_dir.rglob("*") if path.is_file()]
    assert TOKEN.encode() not in b"".join(kept)
    assert TOKEN not in caplog.text + str(caught.value) + repr(spec)


# --- what is left behind ------------------------------------------------------------------------


def test_an_interrupt_leaves_no_half_file(
    hub: HubServer, get: Any, ctx: Context, content: dict[str, bytes]
) -> None:
    hub.push(content)
    hub.interrupts.add("model.safetensors")
    with pytest.raises(KeyboardInterrupt):
        get()
    blobs = {p.read_bytes() for p in (ctx.cache_dir / "hub").rglob("blobs/*") if p.is_file()}
    assert blobs and blobs < {*content.values()}
    assert content["model.safetensors"] not in blobs
    hub.interrupts.clear()
    hub.forget()
    get()
    assert hub.fetched == ["model.safetensors"]


def test_what_a_killed_process_left_is_removed(
    hub: HubServer, get: Any, ctx: Context, content: dict[str, bytes]
) -> None:
    hub.push(content)
    blobs = ctx.cache_dir / "hub" / "models--tiny--bert" / "blobs"
    blobs.mkdir(parents=True)
    for name, age_s in (("dead.incomplete", 7200), ("alive.incomplete", 60)):
        (blobs / name).write_bytes(b"half")
        os.utime(blobs / name, (time.time() - age_s,) * 2)
    get()
    assert [path.name for path in blobs.glob("*.incomplete")] == ["alive.incomplete"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"commit": 4}'])
def test_a_damaged_note_is_replaced(
    hub: HubServer, get: Any, ctx: Context, content: dict[str, bytes], text: str
) -> None:
    commit = hub.push(content)
    spec = get(f"@{commit}")
    (note,) = (ctx.cache_dir / "hub").rglob(f"listings/{commit}.json")
    note.write_text(text)
    assert get(f"@{commit}") == spec
    hub.stop()
    assert get(f"@{commit}") == spec


def test_files_that_went_are_fetched_again(
    hub: HubServer, get: Any, ctx: Context, content: dict[str, bytes]
) -> None:
    commit = hub.push(content)
    spec = get(f"@{commit}")
    shutil.rmtree(ctx.cache_dir / "hub" / "models--tiny--bert" / "blobs")
    hub.forget()
    assert get(f"@{commit}") == spec
    assert "model.safetensors" in hub.fetched


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_for_terminals(
    hub: HubServer,
    get: Any,
    content: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
) -> None:
    hub.push(content)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    get()
    out, err = capsys.readouterr()
    assert out == "" and ("100%" in err) is is_terminal
    assert is_terminal or err == ""


@pytest.mark.parametrize("place", ["hub", "hub/models--tiny--bert/listings"])
def test_a_cache_that_cannot_be_written_is_a_typed_error(
    hub: HubServer, get: Any, ctx: Context, content: dict[str, bytes], place: str
) -> None:
    hub.push(content)
    (ctx.cache_dir / place).parent.mkdir(parents=True, exist_ok=True)
    (ctx.cache_dir / place).write_text("in the way")
    with pytest.raises(ModelError, match="failed: ") as caught:
        get()
    assert "free space" in str(caught.value.info.hint)


def test_a_list_is_read_whole() -> None:
    wanted = parse_reference(f"hf:{REPOSITORY}@v1.0/rc+1")
    assert (wanted.revision, wanted.is_pinned, str(wanted)) == (
        "v1.0/rc+1",
        False,
        f"hf:{REPOSITORY}@v1.0/rc+1",
    )
    commit, name = "c" * 40, "model.safetensors"
    assert check_listing(wanted, commit, [(name, 1)]) == Listing(commit, {name: 1})
