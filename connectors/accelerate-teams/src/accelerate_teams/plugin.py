# SPDX-License-Identifier: Apache-2.0
"""Microsoft Teams as a connector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import ConfigError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret

from .address import broken

if TYPE_CHECKING:
    from accelerate_core.protocols import Context


def _is_address(instance: object, attribute: object, value: Secret) -> None:
    if (why := broken(value.reveal())) is not None:
        raise ConfigError(
            f"the address of the workflow cannot be used: {why}",
            where="url",
            accepted=("https://.../workflows/...",),
            hint='Make a workflow "Send webhook alerts to a channel" and copy its address.',
        )


@attrs.frozen(kw_only=True)
class TeamsSettings:
    """Say which workflow posts."""

    #: Address of the workflow's webhook, as `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`: who
    #: knows it can post.
    url: Secret = attrs.field(validator=_is_address)


class TeamsPlugin:
    """Make the connector."""

    name = "teams"
    settings = TeamsSettings

    @hookimpl
    def connector_create(self, settings: TeamsSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import TeamsConnector

        return TeamsConnector(settings)
