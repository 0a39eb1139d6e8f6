# SPDX-License-Identifier: Apache-2.0
"""Conversations: rendered as transformers renders them, by templates that are not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_models.processors.chat import ChatTemplate

from accelerate_core.errors import ModelError

CHAT = [
    {"role": "system", "content": "  Be <brief> & clear.\n"},
    {"role": "user", "content": "the cat sat"},
    {"role": "assistant", "content": "on a mat", "tool_calls": None},
    {"role": "user", "content": "the mat . [SEP] é"},
]
TEMPLATES = {
    "chatml": """{% for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' -}}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
""",
    "llama": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{% set system = messages[0]['content'] | trim %}{% set loop_messages = messages[1:] %}
{% else %}{% set loop_messages = messages %}{% endif %}
{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate!') }}{% endif %}
{% if message['role'] == 'user' %}[INST] {{ system if loop.first else '' }}
{{- message.content }} [/INST]
{%- else %} {{ message.content }} {{ eos_token }}{% endif %}{% endfor %}""",
    "names": """{% set ns = namespace(count=0, last=none) %}{% for m in messages %}
{% if m.role == 'system' %}{% continue %}{% endif %}
{% set ns.count = ns.count + 1 %}{% set ns.last = m %}{{ loop.index }}{% endfor %}
{{ ns.count }}{{ ns.last | tojson }}{{ dict(a=1) | tojson(indent=2) }}
{% if tools is none and documents is none %}no tools{% endif %}{{ unknown_token is defined }}""",
    "marks": """{% for m in messages %}{% if m.role == 'assistant' %}
{% generation %}{% set inner = m.content %}{{ inner }}{{ eos_token }}{% endgeneration %}
{% else %}{{ m.content }}{% endif %}{% if 'tool_calls' in m %}!{% endif %}{% endfor %}
{{ strftime_now('%Y') }}""",
}


@pytest.fixture
def llama(tmp_path: Path, make_checkpoint: Any) -> Path:
    directory = tmp_path / "llama"
    make_checkpoint(directory, "llama", num_hidden_layers=1)
    return directory


def change(path: Path, **entries: Any) -> None:
    values = {**(json.loads(path.read_text()) if path.exists() else {}), **entries}
    path.write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def theirs(directory: Path, **options: Any) -> Any:
    import transformers

    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]", **options
    )


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja"])
def test_conversations_are_rendered_as_by_transformers(
    llama: Path, processor_of: Any, resolve: Any, name: str, place: str
) -> None:
    change(llama / "config.json", max_position_embeddings=200)
    tokens = {"bos_token": "[CLS]", "eos_token": {"content": "[SEP]"}, "pad_token": "[PAD]"}
    change(llama / "tokenizer_config.json", **tokens, chat_template="{{ 'not this one' }}")
    if place == "chat_template.jinja":
        (llama / place).write_text(TEMPLATES[name])
    else:
        others = [{"name": "tool_use", "template": "x"}, {"name": "default"}]
        others[1]["template"] = TEMPLATES[name]
        change(llama / place, chat_template=others)
    tokenizer = theirs(llama, bos_token="[CLS]", eos_token="[SEP]", padding_side="left")
    options = {"chat_template": TEMPLATES[name], "add_generation_prompt": True}
    text = tokenizer.apply_chat_template(CHAT, **options, tokenize=False)
    settings = resolve(f"dir:{llama}").processor.settings
    template = ChatTemplate(settings["chat_template"], settings["special_tokens"], "")
    assert template.render(CHAT) == text and len(text) > 4

    both = [CHAT, CHAT[:2]]
    wanted = tokenizer.apply_chat_template(both, **options, padding=True, return_tensors="np")
    actual = processor_of(llama).encode(both)
    for column, value in actual.items():
        np.testing.assert_array_equal(value, wanted[column])
    (one,) = processor_of(llama).encode(CHAT)["input_ids"]
    assert one.tolist() == actual["input_ids"][0].tolist()


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("{% for %}", "not valid"),
        ("{% break %}{% endfor %}", "not valid"),
        ("{{ " + "(" * 5000 + " }}", "not valid"),
        ("x" * (300 << 10), "256 KiB"),
    ],
)
def test_a_bad_chat_template_is_refused(
    llama: Path, resolve: Any, left_over: Any, source: str, word: str
) -> None:
    change(llama / "tokenizer_config.json", chat_template=source)
    with pytest.raises(ModelError) as caught:
        resolve(f"dir:{llama}")
    assert word in str(caught.value) and "tokenizer_config.json" in str(caught.value.info.where)
    (llama / "chat_template.jinja").write_text(source)
    with pytest.raises(ModelError) as caught:
        resolve(f"dir:{llama}")
    assert "chat_template.jinja" in str(caught.value.info.where)
    assert left_over() == []


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('Roles must alternate') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() | length }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% set ns = namespace(_x=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ dict.update(messages[0], role='x') }}",
        "{{ dict.mro() }}",
        "{{ dict.__init__.__globals__ }}",
        "{{ range(10 ** 9) | list }}",
        "{{ 1 / 0 }}",
        "{{ nothing.at_all }}",
    ],
)
def test_a_template_that_refuses_or_reaches_out_is_an_error(
    llama: Path, processor_of: Any, source: str
) -> None:
    (llama / "chat_template.jinja").write_text(source)
    with pytest.raises(ModelError, match="refuses this conversation"):
        processor_of(llama).encode(CHAT)


@pytest.mark.parametrize(
    "chat", [[{"content": "the"}], [{"role": 3}], [{"role": "user", "content": object()}]]
)
def test_messages_that_are_none_are_refused(llama: Path, processor_of: Any, chat: Any) -> None:
    (llama / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(ModelError) as caught:
        processor_of(llama).encode(chat)
    assert "role" in caught.value.info.accepted[0]
