# SPDX-License-Identifier: Apache-2.0
"""Requests to Prometheus and Pushgateway, and what their refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.texts import cut, one_line

from .access import Access

if TYPE_CHECKING:
    import httpx

_HINTS = {
    401: "Set `username` and `password`, or `token`: the server knows no other caller.",
    403: "Ask the server's administrator for the right to do this with these credentials.",
    413: "Raise the limit of the server or of the proxy before it.",
}


class Client:
    """Send requests to one server, with credentials, over a connection that is kept."""

    def __init__(self, url: str, access: Access, where: str) -> None:
        self._url = url.rstrip("/")
        self._access = access
        self._where = where
        self._client: httpx.Client | None = None
        self._is_closed = False

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        if self._client is not None:
            self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        hints: Mapping[int, str] | None = None,
    ) -> httpx.Response:
        """Return the answer; ConnectorError when there is none, or a refusal.

        `hints` say what to do about a status.
        """
        import httpx

        if self._is_closed:
            raise ConnectorError("the connector is closed", where=self._where, retryable=False)
        try:
            answer = self._opened().request(
                method, f"{self._url}{path}", content=content, headers=headers, params=params
            )
        except httpx.TimeoutException:
            message = f"no answer in {self._access.timeout:g} s"
            raise ConnectorError(message, where=self._where, retryable=True) from None
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if answer.is_success:
            return answer
        refusal = refused(
            answer.status_code,
            cut(one_line(answer.text), 300),
            where=self._where,
            headers=answer.headers,
            hint={**_HINTS, **(hints or {})}.get(answer.status_code),
        )
        if answer.is_client_error and answer.status_code != 429:
            # "Prometheus Remote-Write 1.0 specification", part "Retries & Backoff": none of them,
            # though elsewhere 409 means "not now". Thanos says so of samples that come too late.
            raise ConnectorError(
                refusal.info.message, where=self._where, hint=refusal.info.hint, retryable=False
            )
        raise refusal

    def _opened(self) -> httpx.Client:
        """Return the client, made when it is first needed: not while a run waits for it."""
        if self._client is None:
            import httpx

            access = self._access
            # As bytes: what is no ASCII in a token is for the server to refuse.
            headers = {b"user-agent": b"accelerate-prometheus"}
            auth = None
            if access.token is not None:
                headers[b"authorization"] = f"Bearer {access.token.reveal()}".encode()
            elif access.password is not None:
                auth = httpx.BasicAuth(access.username, access.password.reveal())
            self._client = httpx.Client(
                auth=auth,
                headers=headers,
                timeout=access.timeout,
                # Nothing is verified over plain HTTP, and reading all authorities takes 0.2 s.
                verify=self._url.startswith("https:"),
            )
        return self._client

    def _unreachable(self, error: httpx.TransportError) -> ConnectorError:
        import httpx

        # In our own words: the library's may hold the URL or a header.
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ConnectorError(
                "the server's certificate is not one this machine trusts",
                where=self._where,
                hint="Name the file of the authority that signed it: export SSL_CERT_FILE=...",
                retryable=False,
            )
        is_ours = isinstance(error, httpx.LocalProtocolError)
        what = "the request cannot be sent" if is_ours else "the server cannot be reached"
        return ConnectorError(
            f"{what} ({type(error).__name__})",
            where=self._where,
            hint="Is the token one line of text?" if is_ours else "Is it running, and `url` right?",
            retryable=not is_ours,
        )
