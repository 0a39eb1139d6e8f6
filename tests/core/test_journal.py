# SPDX-License-Identifier: Apache-2.0
"""The journal: what was acknowledged is there afterwards, whatever happened to the file's end."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.durable.journal import Journal, Record, files, frames, log, open_journal
from accelerate_core.durable.journal.frames import Span, What
from accelerate_core.durable.journal.ledger import Ledger
from accelerate_core.errors import StoreError, Unsupported

DTYPES = ("bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path)
    yield journal
    journal.close()


def accepted(job: str, size: int = 4) -> Record:
    tensors = {"x": np.arange(size, dtype=np.float32)}
    return Record(what=What.ACCEPTED, job=job, value="m", meta={"job": job}, tensors=tensors)


def finished(job: str, attempt: int = 1, epoch: int = 1) -> Record:
    meta = {"attempt": attempt, "epoch": epoch, "job": job}
    return Record(what=What.FINISHED, job=job, meta=meta, tensors={"y": np.full(3, attempt)})


def forgotten(job: str) -> Record:
    return Record(what=What.FORGOTTEN, job=job)


MODEL = Record(what=What.VALUE, value="m", meta={"model": "tiny"})


def say(journal: Journal, *records: Record) -> list[bool]:
    return [one.result(20) for one in [journal.write(record, MODEL) for record in records]]


def same(one: Record, other: Record) -> bool:
    plain = (one.what, one.job, one.value, one.meta) == (
        other.what, other.job, other.value, other.meta,
    )  # fmt: skip
    return (
        plain
        and list(one.tensors) == list(other.tensors)
        and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in zip(one.tensors.values(), other.tensors.values(), strict=True)
        )
    )


# --- bytes ------------------------------------------------------------------------------------

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 100, shape).astype(dtype),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(0, 99),
)
records = st.builds(
    Record,
    what=st.sampled_from(What),
    job=st.sampled_from("abcd"),
    value=st.sampled_from(["", "v", "w"]),
    meta=st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=9), max_size=3),
    tensors=st.dictionaries(st.text(max_size=4), tensors, max_size=3),
)


def as_bytes(many: list[Record]) -> bytes:
    return frames.header() + b"".join(bytes(one) for r in many for one in frames.encode(r))


@settings(max_examples=60)
@given(st.lists(records, max_size=6))
def test_what_is_written_is_read(many: list[Record]) -> None:
    data = as_bytes(many)
    found = [record for record, _ in frames.scan(data)]
    assert len(found) == len(many) and all(map(same, found, many))


@settings(max_examples=60)
@given(st.lists(records, min_size=1, max_size=6), st.data())
def test_damage_anywhere_costs_what_is_behind_it_and_nothing_before(
    many: list[Record], data: st.DataObject
) -> None:
    whole = as_bytes(many)
    ends = [span.end for _, span in frames.scan(whole)]
    at = data.draw(st.integers(0, len(whole) - 1), "at")
    if data.draw(st.booleans(), "is cut"):
        damaged = whole[:at]
    else:
        flipped = whole[at] ^ data.draw(st.integers(1, 255), "bits")
        rubbish = data.draw(st.binary(max_size=80), "behind")
        damaged = whole[:at] + bytes([flipped]) + whole[at + 1 :] + rubbish
    if at < frames.HEADER_BYTES:
        assert frames.version_of(damaged) != frames.VERSION
        return
    found = [record for record, _ in frames.scan(damaged)]
    assert len(found) == sum(end <= at for end in ends)
    assert all(map(same, found, many))


def test_lengths_beyond_the_file_are_damage_and_take_no_memory() -> None:
    huge = frames._LENGTHS.pack(2**32 - 1, 2**63) + b"\0" * 100
    assert list(frames.scan(frames.header() + huge)) == []
    assert list(frames.scan(frames.header() + b"\0" * 4096)) == []


def test_arrays_in_any_order_come_back_as_they_were() -> None:
    whole = np.arange(24, dtype=">i4").reshape(2, 3, 4)
    odd = {"big": whole, "turned": whole.T, "every": whole[:, ::2], "none": whole[:0], "one": whole[0, 0, 0:1].reshape(())}  # fmt: skip  # noqa: E501
    record = Record(what=What.ACCEPTED, job="a", tensors=odd)
    ((found, _),) = frames.scan(as_bytes([record]))
    for name, array in odd.items():
        assert found.tensors[name].shape == array.shape
        assert np.array_equal(found.tensors[name], array)
        assert found.tensors[name].flags.writeable


def test_what_is_no_array_of_numbers_is_refused() -> None:
    for wrong in (np.array(["text"]), np.array([{}]), [1, 2]):
        with pytest.raises(Unsupported, match="'x' cannot be written down"):
            frames.encode(Record(what=What.ACCEPTED, job="a", tensors={"x": wrong}))  # type: ignore[dict-item]


# --- what it says -----------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(records, max_size=30))
def test_a_compacted_journal_says_the_same(many: list[Record]) -> None:
    """Also when compacted twice, and when more is written afterwards."""
    ledger = Ledger()
    taken: list[Record] = []
    for record in many:
        if ledger.takes(record):
            ledger.add(record, Span(len(taken), 1))
            taken.append(record)
    short = [taken[span.start] for span in ledger.needed()]
    again = Ledger()
    for index, record in enumerate(short):
        again.add(record, Span(index, 1))

    def says(one: Ledger, source: list[Record]) -> dict[str, tuple[Record, bool]]:
        return {
            job: (source[entry.live.start], entry.outcome is not None)
            for job, entry in one.jobs.items()
        }

    assert says(again, short) == says(ledger, taken)
    assert again.live_bytes == len(short) <= ledger.live_bytes
    assert len(again.needed()) == len(short)


def test_a_job_has_one_answer_and_none_after_it_is_forgotten(journal: Journal) -> None:
    assert say(journal, finished("a"), accepted("a"), accepted("a")) == [False, True, False]
    assert say(journal, finished("a", 2, 3), finished("a", 1, 1)) == [True, False]
    answer, value = journal.read("a").result(20) or (None, None)
    assert answer is not None and answer.meta["attempt"] == 2 and value is None
    assert say(journal, forgotten("a"), forgotten("a"), finished("a")) == [True, False, False]
    assert journal.read("a").result(20) is None and journal.jobs().result(20) == {}


# --- files ------------------------------------------------------------------------------------


def reopened(journal: Journal, tmp_path: Path) -> Journal:
    journal.close()
    return open_journal(tmp_path)


def test_a_new_owner_finds_jobs_and_answers(journal: Journal, tmp_path: Path) -> None:
    say(journal, accepted("a"), accepted("b"), accepted("c"), finished("b"), forgotten("c"))
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.write(accepted("d"))
    again = open_journal(tmp_path)
    try:
        assert again.jobs().result(20) == {"a": False, "b": True}
        job, value = again.read("a").result(20) or (None, None)
        assert job is not None and same(job, accepted("a"))
        assert value is not None and same(value, MODEL)
        assert again.path == journal.path
    finally:
        again.close()


@settings(max_examples=30)
@given(st.integers(0, 900), st.booleans(), st.binary(max_size=40))
def test_a_damaged_file_opens_with_all_that_was_before(
    tmp_path_factory: Any, at: int, is_cut: bool, behind: bytes
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = open_journal(folder)
    jobs = [f"job-{number}" for number in range(6)]
    sizes = []
    for job in jobs:
        say(journal, accepted(job))
        sizes.append(journal.path.stat().st_size)
    journal.close()
    whole = journal.path.read_bytes()
    at = min(at, len(whole) - 1)
    journal.path.write_bytes(
        whole[:at] + (b"" if is_cut else bytes([whole[at] ^ 255]) + whole[at + 1 :] + behind)
    )
    logging.disable(logging.WARNING)
    try:
        again = open_journal(folder)
    finally:
        logging.disable(logging.NOTSET)
    left = [job for job, size in zip(jobs, sizes, strict=True) if size <= at]
    try:
        assert list(again.jobs().result(20)) == left
        # It is whole again: what is written now stays, and what was lost may come back.
        assert all(say(again, *(accepted(job) for job in jobs if job not in left)))
        again = reopened(again, folder)
        assert sorted(again.jobs().result(20)) == jobs
        for job in jobs:
            found = again.read(job).result(20)
            assert found is not None and same(found[0], accepted(job))
    finally:
        again.close()


def test_what_was_cut_off_is_kept_and_said(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    say(journal, accepted("a"), accepted("b"))
    journal.close()
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-3])
    with caplog.at_level(logging.WARNING):
        again = open_journal(tmp_path)
    assert "bytes were cut off" in caplog.text
    assert list(again.jobs().result(20)) == ["a"]
    again.close()
    assert data[:-3].endswith(journal.path.with_suffix(".cut").read_bytes()) and len(data) > 3


def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    say(journal, accepted("a"))
    journal.close()
    begin = struct.pack("<8sI", b"accelJNL", 2)
    data = begin + struct.pack("<I", zlib.crc32(begin)) + journal.path.read_bytes()[16:]
    journal.path.write_bytes(data)
    with pytest.raises(StoreError, match="has version 2, and only 1 is known"):
        open_journal(tmp_path)
    assert journal.path.read_bytes() == data


def test_it_is_compacted_while_jobs_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_COMPACT_BYTES", 20_000)
    journal = open_journal(tmp_path)
    say(journal, accepted("kept"), accepted("answered", 2_000), finished("answered"))
    largest = 0
    for number in range(200):
        say(journal, accepted(f"{number}", 100), finished(f"{number}"), forgotten(f"{number}"))
        largest = max(largest, journal.path.stat().st_size)
    assert 20_000 < largest < 30_000
    journal = reopened(journal, tmp_path)
    assert journal.jobs().result(20) == {"kept": False, "answered": True}
    job, value = journal.read("kept").result(20) or (None, None)
    assert job is not None and same(job, accepted("kept"))
    assert value is not None and value.meta == MODEL.meta
    journal.close()


def test_a_full_journal_accepts_no_job_and_takes_every_answer(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, most_bytes=2_000)
    say(journal, accepted("a", 600))
    with pytest.raises(StoreError, match="the journal is full: 1 jobs are open"):
        say(journal, accepted("b"))
    assert say(journal, finished("a"), accepted("b"), forgotten("a")) == [True] * 3
    journal.close()


# --- the disk ---------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_accepts_nothing_and_keeps_what_it_had(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, accepted("a"))
    before = journal.path.read_bytes()
    write = files._write
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123

        def half(file: Any, start: int, pieces: Any) -> int:
            write(file, start, [b"half of it"])
            return write(full, 0, pieces)

        monkeypatch.setattr(files, "_write", half)
        with pytest.raises(StoreError, match="No space left") as caught:
            say(journal, accepted("b"))
    assert caught.value.info.hint == "Free disk space."
    assert journal.path.read_bytes() == before
    monkeypatch.setattr(files, "_write", write)
    assert say(journal, accepted("c")) == [True]
    journal = reopened(journal, tmp_path)
    assert list(journal.jobs().result(20)) == ["a", "c"]
    journal.close()


def test_after_a_failed_fsync_nothing_is_acknowledged(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(journal, accepted("a"))

    def fails(_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.JournalFile, "sync", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        say(journal, accepted("b"))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="Input/output error"):
        say(journal, accepted("c"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "journals").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        open_journal(tmp_path)
    assert "journals" in str(caught.value.info.where)


def test_many_records_share_an_fsync(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    count, sync = 0, files.JournalFile.sync
    go = threading.Event()

    def counted(file: files.JournalFile) -> None:
        nonlocal count
        count += 1
        go.wait(20)
        sync(file)

    monkeypatch.setattr(files.JournalFile, "sync", counted)
    many = [journal.write(accepted(f"{number}")) for number in range(500)]
    go.set()
    assert all(one.result(20) for one in many)
    assert count <= 3


# --- owners -----------------------------------------------------------------------------------


OWNER = """
import sys, pathlib
from accelerate_core.durable.journal import Record, open_journal
from accelerate_core.durable.journal.frames import What
journal = open_journal(pathlib.Path(sys.argv[1]))
for job in sys.argv[2:]:
    journal.write(Record(what=What.ACCEPTED, job=job)).result()
print("ready", flush=True)
sys.stdin.read()
"""


def owner(folder: Path, *jobs: str) -> subprocess.Popen[bytes]:
    """Return a process that owns a journal with these jobs, and lives until it is killed."""
    words = [sys.executable, "-c", OWNER, str(folder), *jobs]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_a_living_owner_keeps_its_jobs_and_dead_ones_leave_theirs(tmp_path: Path) -> None:
    living, *dead = (owner(tmp_path, *jobs) for jobs in (("a",), ("b", "c"), ("d",)))
    try:
        mine = open_journal(tmp_path)
        assert mine.jobs().result(20) == {}
        mine.close()
    finally:
        for process in dead:
            kill(process)
    try:
        mine = open_journal(tmp_path)
        assert sorted(mine.jobs().result(20)) == ["b", "c", "d"]
        left = {one.name for one in (tmp_path / "journals").iterdir()}
        assert left == {"0", mine.path.parent.name, "lock"}
        other = open_journal(tmp_path)
        assert other.jobs().result(20) == {} and other.path != mine.path
        other.close()
        mine.close()
    finally:
        kill(living)
    last = open_journal(tmp_path)
    assert sorted(last.jobs().result(20)) == ["a", "b", "c", "d"]
    last.close()
