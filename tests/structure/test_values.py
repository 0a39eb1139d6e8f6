# SPDX-License-Identifier: Apache-2.0
"""Values, events and errors cross processes and hosts unchanged."""

from __future__ import annotations

import enum
import json
import pickle
import types as python_types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core import errors, events, sampled, types
from accelerate_core.errors import AccelerateError, ErrorInfo
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import Chunk, Result, Target, TensorRef, TensorSpec

#: They hold tensors, which travel as frames and never as JSON.
WITH_TENSORS = {Result, Chunk}
#: A few of every kind: for all of Unicode hypothesis builds a table first, which takes seconds.
TEXT = st.text(alphabet='aZ0 .:/"\\\n\0é模🙂', max_size=4)
#: Every JSON value that is also what JSON gives back.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner),
    max_leaves=4,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=4),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Target: st.sampled_from(["cpu", "wasm:*", "webgpu/plan:firefox"]).map(Target.parse),
    Mapping[str, Any]: st.dictionaries(TEXT, JSON, max_size=2),
    dict[str, Any]: st.dictionaries(TEXT, JSON, max_size=2),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return what builds values of an annotation; fails for one it does not know."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if kind is type(None):
        return st.none()
    if attrs.has(kind):
        attrs.resolve_types(kind)
        return st.builds(kind, **{one.alias: values_of(one.type) for one in attrs.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, python_types.UnionType):
        return st.one_of(*(values_of(one) for one in inner))
    if origin is Sequence or (origin is tuple and inner[1:] == (...,)):
        return st.lists(values_of(inner[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, inner))
    if origin is Mapping:
        return st.dictionaries(values_of(inner[0]), values_of(inner[1]), max_size=2)
    raise AssertionError(f"how is {kind} built?")


def classes() -> list[type]:
    found = [
        kind
        for module in (types, sampled, events, errors)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and attrs.has(kind)
        and kind.__module__ == module.__name__
        and kind not in WITH_TENSORS
    ]
    assert len(found) >= 30
    return found


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_values_come_back_equal(kind: type, data: st.DataObject) -> None:
    value = data.draw(values_of(kind))
    assert pickle.loads(pickle.dumps(value)) == value
    text = json.dumps(to_plain(value), allow_nan=False)
    assert from_plain(json.loads(text), kind) == value


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_values_are_frozen(kind: type) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        kind.__setattr__(object.__new__(kind), "anything", 1)


def test_tensors_are_pickled_with_their_dtypes_and_shapes() -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    kept = TensorRef("worker-1", 1, "t1", TensorSpec("state", "float32", (2, "length")))
    for value in (Result(outputs={"a": array, "b": kept}), Chunk(index=3, outputs={"a": array})):
        back = pickle.loads(pickle.dumps(value))
        assert type(back) is type(value)
        assert back.outputs["a"].dtype == array.dtype
        np.testing.assert_array_equal(back.outputs["a"], array)
        assert back.outputs.get("b") == value.outputs.get("b")


def tree(kind: type[AccelerateError]) -> list[type[AccelerateError]]:
    """Return a class and what is below it, as far as the core defines it."""
    below = [one for child in kind.__subclasses__() for one in tree(child)]
    return [one for one in [kind, *below] if one.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", tree(AccelerateError), ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(info=values_of(ErrorInfo))
def test_errors_come_back_equal(kind: type[AccelerateError], info: ErrorInfo) -> None:
    error = kind(**{**attrs.asdict(info, filter=lambda one, _: one.name != "kind")})
    plain = json.loads(json.dumps(to_plain(error.info)))
    for back in (
        pickle.loads(pickle.dumps(error)),
        AccelerateError.from_info(from_plain(plain, ErrorInfo)),
    ):
        assert type(back) is kind
        assert back == error
        assert str(back) == str(error)


def test_an_error_nobody_knows_here_says_its_name() -> None:
    back = AccelerateError.from_info(ErrorInfo(kind="QuotaExceeded", message="no more"))
    assert type(back) is errors.PluginError
    assert back.info.message == "QuotaExceeded: no more"
