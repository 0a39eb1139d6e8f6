# SPDX-License-Identifier: Apache-2.0
"""Requests to Power Automate, and what its refusals mean.

Errors are in our own words: what httpx raises holds the address, and that is a secret.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import ssl

import httpx

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import RedactingFilter, Secret

#: httpx logs the address of each request.
_without_secrets = RedactingFilter()

_AGAIN = 'Copy `url` anew from the workflow, as a whole, and let "Anyone" trigger it.'
#: What to do, by the word of an error, and by the status where there is none that says more.
_HINTS: dict[str | int, str] = {
    "WorkflowTriggerIsNotEnabled": "Turn the workflow on.",
    "MissingApiVersionParameter": _AGAIN,
    400: "Mend the workflow: it has to begin with the trigger for webhooks of Teams.",
    401: _AGAIN,
    403: _AGAIN,
    404: "The workflow was deleted or turned off: turn it on, or set `url` to another's.",
    413: "See the run itself: a proxy on the way takes less than Teams does.",
}


class Caller:
    """Ask one workflow."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        # As httpx writes it, it may differ from what was configured.
        Secret(str(httpx.URL(url)))
        logging.getLogger("httpx").addFilter(_without_secrets)
        self._client = httpx.Client(timeout=timeout_s, verify=_trust())

    def post(self, content: bytes) -> None:
        """Trigger the workflow with JSON; ConnectorError when it does not take it."""
        # Without the charset Teams reads emoji as something else ("Format cards in Teams").
        headers = {"content-type": "application/json; charset=utf-8"}
        answer = self._answer(httpx.Request("POST", self._url, content=content, headers=headers))
        if answer.is_success:
            return
        code = _code(answer)
        raise refused(
            answer.status_code,
            code,
            where="teams",
            headers=answer.headers,
            hint=_HINTS.get(code) or _HINTS.get(answer.status_code),
        )

    def reach(self, url: str) -> None:
        """Ask for a page, whatever the answer is; ConnectorError when there is none."""
        self._answer(httpx.Request("GET", url))

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        try:
            return self._client.send(request)
        except httpx.TimeoutException:
            raise _passing(f"{host} did not answer in time", "Try again, or mend `url`.") from None
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ConnectorError(
                    f"the certificate of {host} is not trusted",
                    where="teams",
                    hint="Set SSL_CERT_FILE to the certificates of your proxy, or mend `url`.",
                    retryable=False,
                ) from None
            hint = "Mend `url`, or the way to the network."
            raise _passing(f"{host} cannot be reached", hint) from None
        except (httpx.HTTPError, RuntimeError) as error:  # closed meanwhile is a RuntimeError
            what = type(error).__name__
            raise _passing(f"the connection to {host} broke ({what})", "Try again.") from None


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return whose certificates are trusted, once: reading them takes a tenth of a second."""
    return httpx.create_ssl_context()


def _code(answer: httpx.Response) -> str:
    """Return the word of an error of Power Automate; empty without one."""
    try:
        code = answer.json()["error"]["code"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) and re.fullmatch(r"\w{1,60}", code) else ""


def _passing(message: str, hint: str) -> ConnectorError:
    return ConnectorError(message, where="teams", hint=hint, retryable=True)
