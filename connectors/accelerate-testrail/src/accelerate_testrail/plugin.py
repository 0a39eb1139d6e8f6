# SPDX-License-Identifier: Apache-2.0
"""TestRail as a connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
from attrs import validators

from accelerate_core.addresses import is_server
from accelerate_core.errors import ConfigError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.types import CellStatus

if TYPE_CHECKING:
    from accelerate_core.protocols import Context

#: Passed, failed, blocked and retest, as every installation has them ("Statuses").
STATUSES = {
    CellStatus.OK: 1,
    CellStatus.MISMATCH: 5,
    CellStatus.FAILED: 5,
    CellStatus.MISSING: 2,
    CellStatus.SKIPPED: 4,
}
#: "Untested" is what a test is without any result; none can say it.
_UNTESTED = 3


def _is_field(instance: object, attribute: object, value: str) -> None:
    if not re.fullmatch(r"custom_[a-z0-9_]+", value):
        raise ConfigError(
            f"{value!r} is no system name of a custom field",
            where="id_field",
            accepted=('"custom_automation_id"', '"custom_case_automation_id"'),
            hint="TestRail's API calls custom fields by their system name, after `custom_`.",
        )


def _are_statuses(instance: object, attribute: object, value: Mapping[str, int]) -> None:
    for status, number in value.items():
        if status not in STATUSES:
            raise ConfigError(
                f"no cell has the status {status!r}",
                where="statuses",
                accepted=tuple(map(str, STATUSES)),
            )
        if number < 1 or number == _UNTESTED:
            raise ConfigError(
                f"no result can have the status {number}",
                where=f"statuses.{status}",
                hint="1 is passed, 2 blocked, 4 retest, 5 failed; yours begin with 6.",
            )


@attrs.frozen(kw_only=True)
class TestRailSettings:
    """Say where runs are put, as whom, and what of the project is made."""

    __test__ = False

    #: The installation, as in the browser: "https://example.testrail.io".
    url: str = attrs.field(
        validator=is_server(
            '"https://example.testrail.io"',
            '"https://example.com/testrail"',
            credentials="`user` and `key`",
        )
    )
    #: E-mail address of the account.
    user: str = attrs.field(validator=validators.min_len(1))
    #: API key of the account, as `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`.
    key: Secret
    #: Number of the project, as in its address: 12 of "/projects/overview/12".
    project: int = attrs.field(validator=validators.ge(1))
    #: Number of the test suite, where the project has several: 4 of "S4".
    suite: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))
    #: Whether sections and cases are made for cells that have none.
    create_cases: bool = True
    #: Whether a run is closed when it is whole. Nothing can be added to a closed one.
    close_run: bool = True
    #: Custom field of cases, of the type "String", by which they are known.
    id_field: str = attrs.field(default="custom_automation_id", validator=_is_field)
    #: TestRail's status for each status of a cell, where it is another than
    #: { ok = 1, mismatch = 5, failed = 5, missing = 2, skipped = 4 }.
    statuses: Mapping[str, int] = attrs.field(factory=dict, validator=_are_statuses)

    def status(self, status: CellStatus) -> int:
        """Return the number of TestRail's status."""
        return self.statuses.get(status, STATUSES[status])


class TestRailPlugin:
    """Make the connector."""

    __test__ = False

    name = "testrail"
    settings = TestRailSettings

    @hookimpl
    def connector_create(self, settings: TestRailSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import TestRailConnector

        return TestRailConnector(settings)
