# SPDX-License-Identifier: Apache-2.0
"""What can be said of a workflow's address without calling it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

#: Where addresses of workflows lead ("Create incoming webhooks with Workflows").
_PATH = ("/workflows/", "/triggers/", "/paths/invoke")
_AGAIN = (
    'Copy it anew from the workflow, under "When a Teams webhook request is received", as a whole.'
)


def broken(url: str) -> str | None:
    """Return why nothing can ever be sent there; None when that may be."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if not host or any(ord(one) <= 32 or ord(one) > 126 for one in url):
        return "it is no address"
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        return "it does not begin with https://"
    if host.endswith(("webhook.office.com", "outlook.office.com", "outlook.office365.com")):
        return "it belongs to an Office 365 connector, and those are gone"
    return None


def suspicious(url: str) -> Iterator[str]:
    """Yield what is strange about an address, and what to do."""
    parts = urlsplit(url)
    if not all(word in parts.path for word in _PATH):
        yield (
            "`url` is not that of a workflow: its path has no "
            f'"{_PATH[0]}...{_PATH[1]}...{_PATH[2]}". {_AGAIN}'
        )
    if not any(parse_qs(parts.query).get("sig", ())):
        yield (
            "`url` has no signature (sig=...): the workflow takes cards only from people of its "
            f'organisation, or the address was cut. Let "Anyone" trigger it. {_AGAIN}'
        )


def root(url: str) -> str:
    """Return scheme, host and port alone: nothing of that is secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
