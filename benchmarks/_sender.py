# SPDX-License-Identifier: Apache-2.0
"""The process that is killed: it delivers what waits in a database, until nothing does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate_duckdb.store import DuckDbStore

from accelerate_core.delivering import backoff
from accelerate_core.delivering.dispatcher import FOR_PEOPLE, Dispatcher, Route
from accelerate_core.delivering.tending import deliveries
from accelerate_core.host import Host

from ._notes import NotesPlugin

#: Faults are drawn for each request: with pauses of minutes a thousand messages would take hours,
#: and would get lost or doubled in no other ways.
PAUSE_S = 0.1


def main(database: str, state: str, use: str, settings: str) -> int:
    """Return 0 when all was delivered."""
    backoff.FIRST_S = backoff.LONGEST_S = PAUSE_S
    host = Host(state_dir=Path(state), cache_dir=Path(state))
    if use == NotesPlugin.name:
        host.add("connectors", use, NotesPlugin)
    connector = host.create("connectors", use, json.loads(settings))
    store = DuckDbStore.open(database, tables=host.tables())
    dispatcher = Dispatcher(store, {use: Route(connector, frozenset(FOR_PEOPLE))})
    dispatcher.start()
    while deliveries(store, ("waiting",)):
        dispatcher.settle(10.0, is_stubborn=True)
    dispatcher.close()
    connector.close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
