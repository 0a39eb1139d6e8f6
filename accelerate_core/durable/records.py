# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as records of a journal, and back. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import AccelerateError, ErrorInfo, StoreError
from ..running.work import Answer, Work
from ..serial import from_plain, to_plain
from ..types import Connection, KernelTime, ModelHandle, Phases, Result
from .journal.frames import Record, What

if TYPE_CHECKING:
    from ..protocols import Inputs


@attrs.frozen(kw_only=True, eq=False)
class Request:
    """Hold what a durable job needs to be done again in another process."""

    work: Work
    inputs: Inputs
    #: Names it among requests with an id of the caller's; "" for others.
    digest: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)  #: of `Runner.submit`; JSON values


def _value(key: str, meta: Mapping[str, Any]) -> Record:
    return Record(what=What.VALUE, value=key, meta=meta)


def _key(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _work_key(work: Work) -> str:
    degraded = [_work_key(one) for one in work.degraded]
    targets = [str(target) for target in work.targets]
    return _key(work.key, work.spec.name, work.spec.source, targets, work.task, degraded)


def digest_of(work: Work, inputs: Inputs) -> str:
    """Return what tells one request from another."""
    import numpy as np

    digest = hashlib.blake2b(work.key.encode(), digest_size=16)
    for name, array in sorted(inputs.items()):
        plain = np.ascontiguousarray(array)
        digest.update(f"|{name}|{plain.dtype.str}|{plain.shape}|".encode())
        digest.update(plain.reshape(-1).view(np.uint8).data if plain.size else b"")
    return digest.hexdigest()


def read_request(record: Record, value: Record | None) -> Request:
    """Return the request a record holds."""
    if value is None:
        raise StoreError(f"the model of the job {record.job} is not in the journal")
    return Request(
        work=from_plain(value.meta["work"], Work),
        inputs=record.tensors,
        digest=record.meta["digest"],
        options=record.meta["options"],
    )


def request_records(job_id: str, request: Request) -> tuple[Record, Record]:
    """Return a request, and what the requests for one model on the same targets share."""
    value = _value(_work_key(request.work), {"work": to_plain(request.work)})
    record = Record(
        what=What.ACCEPTED,
        job=job_id,
        value=value.value,
        meta={"digest": request.digest, "options": dict(request.options)},
        tensors=dict(request.inputs),  # type: ignore[arg-type]
    )
    return record, value


def failure_record(job_id: str, digest: str, error: ErrorInfo) -> Record:
    """Return a job's error."""
    meta = {"digest": digest, "error": to_plain(error)}
    return Record(what=What.FAILED, job=job_id, meta=meta)


def answer_records(job_id: str, digest: str, answer: Answer) -> tuple[Record, Record]:
    """Return an answer, and what the answers of one model on one worker share."""
    value = _value(
        _key(answer.connection.id, answer.handle.id),
        {"connection": to_plain(answer.connection), "handle": to_plain(answer.handle)},
    )
    meta = {
        "digest": digest,
        "attempt": answer.attempts,
        "worker": answer.worker_id,
        "queue_ms": answer.queue_ms,
        "latency_ms": answer.latency_ms,
        "phases": to_plain(answer.result.phases),
        "profile": [to_plain(one) for one in answer.result.profile],
    }
    record = Record(
        what=What.FINISHED,
        job=job_id,
        value=value.value,
        meta=meta,
        tensors=dict(answer.result.outputs),  # type: ignore[arg-type]
    )
    return record, value


def read_answer(record: Record, value: Record | None) -> Answer:
    """Return the answer a record holds, or raise the error."""
    meta = record.meta
    if record.what is What.FAILED:
        raise AccelerateError.from_info(from_plain(meta["error"], ErrorInfo))
    if value is None:
        raise StoreError(f"the worker of the job {record.job} is not in the journal")
    return Answer(
        result=Result(
            outputs=record.tensors,
            phases=from_plain(meta["phases"], Phases),
            profile=tuple(from_plain(one, KernelTime) for one in meta["profile"]),
        ),
        handle=from_plain(value.meta["handle"], ModelHandle),
        worker_id=meta["worker"],
        connection=from_plain(value.meta["connection"], Connection),
        attempts=meta["attempt"],
        queue_ms=meta["queue_ms"],
        latency_ms=meta["latency_ms"],
    )
