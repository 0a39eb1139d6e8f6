# SPDX-License-Identifier: Apache-2.0
"""From events to people: an outbox in the store, and a thread per connector that empties it.

An event is written to the outbox in the transaction that stores what it tells of, so that neither
is there without the other. It is delivered at least once; what is delivered twice has the same key.
"""

from .dispatcher import FOR_PEOPLE, Dispatcher

__all__ = ["FOR_PEOPLE", "Dispatcher"]
