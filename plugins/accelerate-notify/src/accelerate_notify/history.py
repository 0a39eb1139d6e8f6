# SPDX-License-Identifier: Apache-2.0
"""What rules made people know, what waits, and what never arrived: read and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_core.protocols import Records

#: What the outbox has forgotten was delivered long ago.
_LATEST = r"""
SELECT * FROM (
    SELECT opened_at, connector, rule, receivers,
        CASE WHEN told_at IS NULL AND (timers IS NULL OR list_contains(timers, 'waiting'))
                THEN 'waiting'
            WHEN list_contains(coalesce(messages, timers), 'dead') THEN 'dead'
            WHEN list_contains(coalesce(messages, timers), 'waiting') THEN 'on its way'
            WHEN list_contains(coalesce(messages, timers), 'dropped') THEN 'dropped'
            ELSE 'told' END AS state,
        due_at, told_at, escalated_at, alerts, coalesce(title, first_title) AS title
    FROM notify_groups
    JOIN (
        SELECT group_id AS id, count(*) AS alerts,
            arg_min(alert->>'$.message.title', happened_at) AS first_title
        FROM notify_alerts GROUP BY group_id
    ) USING (id)
    LEFT JOIN (
        SELECT regexp_extract(key, ':([0-9a-f]{20})(\.[0-9]|$)', 1) AS id,
            list(state) FILTER (regexp_matches(key, '[0-9a-f]{20}$')) AS messages,
            list(state) FILTER (NOT regexp_matches(key, '[0-9a-f]{20}$')) AS timers
        FROM outbox_deliveries WHERE starts_with(key, 'notification:') GROUP BY 1
    ) USING (id)
    ORDER BY opened_at DESC, id LIMIT ?
) ORDER BY opened_at
"""


def read(store: Records, limit: int) -> list[dict[str, Any]]:
    """Return the latest groups of alerts, oldest first, as JSON data."""
    found = store.query(_LATEST, [limit])
    rows = [dict(zip(found.columns, map(_plain, row), strict=True)) for row in found.rows]
    return [row | {"receivers": json.loads(row["receivers"])} for row in rows]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print them as a table."""
    from rich.table import Table
    from rich.text import Text

    from accelerate_core.cli.output import console

    out = console()
    if not rows:
        out.print("No rule made anything known.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("Since (UTC)", "Rule", "To", "State", "Alerts", "What"):
        table.add_column(name, overflow="fold" if name == "What" else "ellipsis")
    for row in rows:
        state = f"until {_short(row['due_at'])}" if row["state"] == "waiting" else row["state"]
        table.add_row(
            _short(row["opened_at"]),
            Text(row["rule"]),
            Text(", ".join(row["receivers"])),
            state + (", escalated" if row["escalated_at"] else ""),
            str(row["alerts"]),
            Text(row["title"] or ""),
        )
    out.print(table)


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC).isoformat() if isinstance(value, datetime) else value


def _short(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%m-%d %H:%M}"
