# SPDX-License-Identifier: Apache-2.0
"""Three ways to Prometheus: it scrapes, a gateway is scraped, or it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector

from .access import Sender, is_url

if TYPE_CHECKING:
    from accelerate_core.protocols import Context


@attrs.frozen(kw_only=True)
class ExporterSettings:
    """Say where Prometheus finds the endpoint."""

    #: Where to listen. Anybody who reaches it may read: others than this machine are let in by an
    #: address of its network, or by "0.0.0.0".
    address: str = attrs.field(default="127.0.0.1", validator=attrs.validators.min_len(1))
    #: Port of the endpoint; 0 for any that is free, which the log tells.
    port: int = attrs.field(
        default=9464, validator=[attrs.validators.ge(0), attrs.validators.le(65535)]
    )
    #: Series that one metric may have: each combination of labels is one.
    max_series: int = attrs.field(default=1000, validator=attrs.validators.ge(1))


@attrs.frozen(kw_only=True)
class PushgatewaySettings(Sender):
    """Say where the gateway is, and which group is ours."""

    #: The gateway, with its route prefix where it has one.
    url: str = attrs.field(default="http://127.0.0.1:9091", validator=is_url)


@attrs.frozen(kw_only=True)
class RemoteWriteSettings(Sender):
    """Say where to write to."""

    #: The receiver's whole address.
    url: str = attrs.field(default="http://127.0.0.1:9090/api/v1/write", validator=is_url)


class ExporterPlugin:
    """Make the endpoint."""

    name = "prometheus"
    settings = ExporterSettings

    @hookimpl
    def connector_create(self, settings: ExporterSettings, ctx: Context) -> Connector:
        """Return the connector; the port is opened with the first event."""
        from .exporter import Exporter

        return Exporter(settings)


class PushgatewayPlugin:
    """Make what pushes."""

    name = "pushgateway"
    settings = PushgatewaySettings

    @hookimpl
    def connector_create(self, settings: PushgatewaySettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .pushgateway import Pushgateway

        return Pushgateway(settings)


class RemoteWritePlugin:
    """Make what writes."""

    name = "prometheus-remote-write"
    settings = RemoteWriteSettings

    @hookimpl
    def connector_create(self, settings: RemoteWriteSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .remote_write import RemoteWrite

        return RemoteWrite(settings)
