# SPDX-License-Identifier: Apache-2.0
"""The contract of stores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from ..errors import StoreError, Unsupported
from ..protocols import Store
from ..types import RunSummary
from . import samples
from .contract import Contract

OpenStore = Callable[[Path], Store]


class _Undo(Exception):
    pass


class StoreContract(Contract):
    """What every store keeps. Supply the fixture `open_store`: a function of a path.

    Stores that keep nothing on disk set `is_persistent`, those without SQL `has_sql`, to False.
    """

    is_persistent: ClassVar[bool] = True
    has_sql: ClassVar[bool] = True

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Return a function that opens the store at a path that may not exist yet."""
        raise NotImplementedError("supply the fixture `open_store`")

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return where the store of a test lies."""
        return tmp_path / "results.store"

    @pytest.fixture
    def store(self, open_store: OpenStore, path: Path) -> Iterator[Store]:
        """Return an open, empty store."""
        store = open_store(path)
        yield store
        store.close()

    # --- what is saved comes back -------------------------------------------------------------

    def test_run_and_measurements_come_back(self, store: Store) -> None:
        run = samples.run_info()
        kept = (samples.measurement(1), samples.mismatch(3), samples.missing(2))
        store.save_run(run)
        store.save_connection(samples.connection())
        for one in kept:
            store.save_measurement(one)
        assert store.summary(run.id) == RunSummary(run=run, measurements=kept)

    def test_unknown_stays_unknown(self, store: Store) -> None:
        run = samples.run_info(
            name=None, finished_at=None, project_commit=None, host={}, is_interrupted=True
        )
        store.save_run(run)
        store.save_measurement(samples.missing())
        (back,) = store.summary(run.id).measurements
        assert back == samples.missing()
        assert list(store.runs()) == [run]

    def test_any_text_comes_back(self, store: Store) -> None:
        for number, text in enumerate(samples.HOSTILE):
            run = samples.run_info(f"run-{number}", name=text)
            kept = (samples.measurement(1, run.id, text), samples.missing(2, run.id, text))
            store.save_run(run)
            for one in kept:
                store.save_measurement(one)
            assert store.summary(run.id) == RunSummary(run=run, measurements=kept)

    def test_row_ids_are_unique_and_grow(self, store: Store) -> None:
        store.save_run(samples.run_info())
        ids = [store.save_measurement(samples.measurement(number)) for number in range(1, 6)]
        assert ids == sorted(set(ids))

    def test_saving_again_updates(self, store: Store) -> None:
        started = samples.run_info(finished_at=None)
        store.save_run(started)
        store.save_connection(samples.connection(duration_s=None))
        store.save_measurement(samples.measurement())
        store.save_run(samples.run_info())
        store.save_connection(samples.connection())
        assert list(store.runs()) == [samples.run_info()]
        assert len(store.summary("run-1").measurements) == 1

    def test_runs_are_newest_first_and_limited(self, store: Store) -> None:
        for number in (2, 3, 1):
            at = samples.START + timedelta(hours=number)
            store.save_run(samples.run_info(f"run-{number}", started_at=at))
        assert [run.id for run in store.runs()] == ["run-3", "run-2", "run-1"]
        assert [run.id for run in store.runs(limit=2)] == ["run-3", "run-2"]

    def test_runs_are_kept_apart(self, store: Store) -> None:
        for run_id in ("run-1", "run-2"):
            store.save_run(samples.run_info(run_id))
            store.save_measurement(samples.measurement(1, run_id))
        assert [one.run_id for one in store.summary("run-2").measurements] == ["run-2"]

    def test_a_second_measurement_is_no_second_row_of_a_run(self, store: Store) -> None:
        store.save_run(samples.run_info())
        first = samples.measurement()
        store.save_measurement(first)
        store.save_measurement(attrs.evolve(first, id="again", again_of=first.id))
        assert store.summary("run-1").measurements == (first,)

    def test_unknown_run_is_an_error(self, store: Store) -> None:
        with pytest.raises(StoreError, match="run-9"):
            store.summary("run-9")

    # --- threads, and the end -----------------------------------------------------------------

    def test_threads_lose_nothing(self, store: Store) -> None:
        store.save_run(samples.run_info())
        ids: list[int] = []
        errors: list[BaseException] = []

        def write(thread: int) -> None:
            try:
                for number in range(20):
                    ids.append(store.save_measurement(samples.measurement(thread * 100 + number)))
                    store.summary("run-1")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors
        assert len(set(ids)) == 80
        found = [one.id for one in store.summary("run-1").measurements]
        assert len(set(found)) == len(found) == 80

    def test_rows_outlive_the_store(self, open_store: OpenStore, path: Path) -> None:
        first = open_store(path)
        first.save_run(samples.run_info())
        ids = [first.save_measurement(samples.measurement(number)) for number in (1, 2)]
        before = first.summary("run-1")
        first.close()
        second = open_store(path)
        try:
            if self.is_persistent:
                assert second.summary("run-1") == before
                assert second.save_measurement(samples.measurement(3)) > max(ids)
            else:
                assert not second.runs()
        finally:
            second.close()

    def test_close_twice_is_no_error(self, open_store: OpenStore, path: Path) -> None:
        store = open_store(path)
        store.close()
        store.close()
        if self.is_persistent:
            with pytest.raises(StoreError):
                store.save_run(samples.run_info())

    # --- SQL ----------------------------------------------------------------------------------

    def test_transaction_is_all_or_nothing(self, store: Store) -> None:
        if not self.has_sql:
            self._refuses_sql(store)
            return
        with store.transaction() as transaction:
            transaction.execute("CREATE TABLE kit_probe (x INTEGER, y VARCHAR)")
            transaction.execute("INSERT INTO kit_probe VALUES (?, ?)", (1, None))
        with pytest.raises(_Undo), store.transaction() as transaction:
            transaction.execute("INSERT INTO kit_probe VALUES (2, 'gone')")
            raise _Undo
        table = store.query("SELECT x, y FROM kit_probe")
        assert (table.columns, table.rows) == (("x", "y"), ((1, None),))

    def test_parameters_are_values_not_sql(self, store: Store) -> None:
        if not self.has_sql:
            self._refuses_sql(store)
            return
        for text in samples.HOSTILE:
            assert store.query("SELECT ? AS x", (text,)).rows == ((text,),)

    @pytest.mark.parametrize("sql", ["CREATE TABLE kit_probe (x INTEGER)", "SELEC 1", ""])
    def test_query_only_reads(self, store: Store, sql: str) -> None:
        if not self.has_sql:
            self._refuses_sql(store)
            return
        with pytest.raises(StoreError):
            store.query(sql)
        store.save_run(samples.run_info())  # and goes on working
        assert store.query("SELECT 1 AS x").rows == ((1,),)

    def _refuses_sql(self, store: Any) -> None:
        with pytest.raises(Unsupported):
            store.query("SELECT 1")
        with pytest.raises(Unsupported):
            store.transaction()
