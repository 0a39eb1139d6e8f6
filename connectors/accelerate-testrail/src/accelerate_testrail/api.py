# SPDX-License-Identifier: Apache-2.0
"""Calls of TestRail's API, and what its refusals mean.

Errors are in our own words: what httpx raises may hold an address.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import httpx

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.events import Attachment
from accelerate_core.texts import cut, one_line

#: How long TestRail may take to answer.
_TIMEOUT_S = 30
#: The most entries of one page ("Introduction to the TestRail API", bulk endpoints).
PAGE = 250
#: Of what TestRail says is wrong.
_LONGEST = 300

_HINTS = {
    400: "If it stays so: run `accel connectors check`.",
    401: 'Mend `user` and `key`: a key is made under "My Settings", "API Keys".',
    403: 'Give the account a role in the project that may add runs and results, and "Enable API" '
    'under "Administration", "Site Settings", "API".',
    404: "Mend `url`: there is no TestRail.",
    413: "See the run itself: what is told of it is larger than TestRail or a proxy takes.",
}


class TestRail:
    """Call the API as one account."""

    __test__ = False

    def __init__(self, url: str, user: str, key: str) -> None:
        self._base = f"{url.rstrip('/')}/index.php?/api/v2/"
        self._client = httpx.Client(
            auth=httpx.BasicAuth(user, key), timeout=_TIMEOUT_S, verify=_trust()
        )

    def get(self, method: str, *, hints: Mapping[int, str] | None = None, **filters: int) -> Any:
        """Return what a method answers; ConnectorError when it refuses."""
        # All is in the query, so that a filter begins with `&` ("Accessing the TestRail API").
        address = method + "".join(f"&{name}={value}" for name, value in filters.items())
        # TestRail wants the type with GET as well.
        headers = {"content-type": "application/json"}
        return self._call("GET", address, hints=hints, headers=headers)

    def pages(self, method: str, name: str, **filters: int) -> Iterator[dict[str, Any]]:
        """Yield the entries of all pages of a list; `name` is what the list is called."""
        offset = 0
        while True:
            page = self.get(method, hints=None, **filters, limit=PAGE, offset=offset)
            # Lists that are never long come without pages.
            entries = page if isinstance(page, list) else page[name]
            yield from entries
            if isinstance(page, list) or not entries or not page["_links"]["next"]:
                return
            offset += len(entries)

    def post(
        self,
        method: str,
        body: Any,
        *,
        hints: Mapping[int, str] | None = None,
        expected: Collection[int] = (),
    ) -> Any:
        """Return what a method answers; None for a status in `expected`; ConnectorError else."""
        return self._call("POST", method, hints=hints, expected=expected, json=body)

    def upload(self, method: str, name: str, file: Attachment) -> Any:
        """Attach a file, under a name."""
        files = {"attachment": (name, file.data, file.media_type)}
        return self._call("POST", method, files=files)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _call(
        self,
        verb: str,
        address: str,
        *,
        hints: Mapping[int, str] | None = None,
        expected: Collection[int] = (),
        **content: Any,
    ) -> Any:
        try:
            answer = self._client.request(verb, self._base + address, **content)
        except httpx.TimeoutException:
            raise _passing(f"no answer within {_TIMEOUT_S} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
            # Closed meanwhile is a RuntimeError.
            raise _passing(
                f"no connection, or it broke: {type(error).__name__}",
                "If it stays so: is `url` right, and does a firewall or proxy let it pass?",
            ) from None
        status = answer.status_code
        if status in expected:
            return None
        if answer.has_redirect_location:
            raise ConnectorError(
                "the address leads to another one",
                where="testrail",
                hint="Mend `url`: is it https, and is it the whole address?",
                retryable=False,
            )
        try:
            data = answer.json()
        except ValueError:
            data = None
        if answer.is_success and data is not None:
            return data
        if answer.is_success:
            raise _passing("the answer is no JSON", "If it stays so: is `url` right?")
        said = data.get("error") if isinstance(data, dict) else None
        raise refused(
            status,
            cut(one_line(str(said or "")), _LONGEST),
            where="testrail",
            headers=answer.headers,
            hint=(hints or {}).get(status) or _HINTS.get(status),
        )


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return whose certificates are trusted, once: reading them takes a tenth of a second."""
    return httpx.create_ssl_context()


def _passing(message: str, hint: str | None = None) -> ConnectorError:
    return ConnectorError(message, where="testrail", hint=hint, retryable=True)
