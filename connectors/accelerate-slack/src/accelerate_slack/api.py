# SPDX-License-Identifier: Apache-2.0
"""Calls of Slack's Web API, and what its refusals mean.

Errors are in our own words: what the client library raises may hold the token or an upload URL.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import (
    HttpRequest,
    HttpResponse,
    RateLimitErrorRetryHandler,
    RetryState,
)

from accelerate_core.delivering.backoff import refused, retry_after_s
from accelerate_core.errors import ConnectorError

#: How long Slack may take to answer.
_TIMEOUT_S = 20
#: A longer wait is the outbox's: the run may end meanwhile.
_SHORT_S = 2.0
#: The most messages of one page ("conversations.history").
_PAGE = 999

_TOKEN = (
    'Set `token` to the "Bot User OAuth Token" (xoxb-...) of the app, under "OAuth & Permissions".'
)
_RIGHT = "Ask an administrator of the workspace to let the app post there."
_ANOTHER = "Name another `channel`."
_NETWORK = "If it stays so: is `api_url` right, and does a firewall or proxy let it pass?"
_LARGE = "See the run itself: what is told of it is larger than Slack or a proxy on the way takes."
#: Slack's error codes, in words, and what to do ("Errors" of the methods' pages).
_MEANINGS = {
    "account_inactive": ("the bot was deleted", _TOKEN),
    "channel_not_found": (
        "there is no such channel, or the bot may not see it",
        "Mend `channel`; the bot sees a private one once it was invited: /invite @bot.",
    ),
    "invalid_auth": ("the token is wrong", _TOKEN),
    "is_archived": ("the channel is archived", f"{_ANOTHER[:-1]}, or unarchive this one."),
    "msg_blocks_too_long": ("the message is too long", _LARGE),
    "msg_too_long": ("the message is too long", _LARGE),
    "not_allowed_token_type": ("the token is of another kind", _TOKEN),
    "not_authed": ("the token is empty", _TOKEN),
    "not_in_channel": ("the bot is not in the channel", "Invite it there: /invite @bot."),
    "restricted_action": ("a preference of the workspace forbids it", _RIGHT),
    "restricted_action_non_threadable_channel": ("the channel takes no replies", _ANOTHER),
    "restricted_action_read_only_channel": ("the channel is read-only", _RIGHT),
    "restricted_action_thread_locked": ("an administrator locked the thread", _RIGHT),
    "restricted_action_thread_only_channel": ("the channel takes replies only", _ANOTHER),
    "token_expired": ("the token has expired", _TOKEN),
    "token_revoked": ("the token was revoked", _TOKEN),
    "user_is_restricted": ("the bot is restricted", _RIGHT),
}
#: What Slack answers when it cannot just now.
_NOT_NOW = {
    "fatal_error",
    "internal_error",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
}
_HINTS = {401: _TOKEN, 403: _RIGHT, 413: _LARGE}


class Slack:
    """Call the Web API as one bot."""

    def __init__(self, token: str, url: str) -> None:
        # The client logs requests, with what is in them, and errors, which are raised anyway.
        silent = logging.getLogger("accelerate.slack.client")
        silent.setLevel(logging.CRITICAL)
        self.web = WebClient(
            token=token,
            base_url=url,
            timeout=_TIMEOUT_S,
            logger=silent,
            retry_handlers=[ShortWaits()],
        )

    def call(
        self, method: Callable[..., Any], *, expected: Collection[str] = (), **arguments: Any
    ) -> Any:
        """Return the answer of a method; None for an error in `expected`; ConnectorError else."""
        try:
            return method(**arguments)
        except SlackApiError as error:
            if _code(error.response) in expected:
                return None
            raise _refusal(error.response) from None
        except HTTPError as error:
            hint = _HINTS.get(error.code)
            raise refused(
                error.code, "", where="slack", headers=dict(error.headers), hint=hint
            ) from None
        except TimeoutError:
            raise _passing(f"no answer within {_TIMEOUT_S} s") from None
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", error)
            raise _passing(f"no connection, or it broke: {type(why).__name__}", _NETWORK) from None
        except ValueError:
            raise _passing("the answer is no JSON") from None
        except SlackClientError:
            raise _passing("the client gave up") from None

    def pages(
        self, method: Callable[..., Any], *, expected: Collection[str] = (), **arguments: Any
    ) -> Iterator[Any]:
        """Yield the answers of a method that has many pages, up to an error in `expected`."""
        cursor: str | None = None
        while True:
            answer = self.call(method, expected=expected, cursor=cursor, limit=_PAGE, **arguments)
            if answer is None:
                return
            yield answer
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return


class ShortWaits(RateLimitErrorRetryHandler):
    """Wait where Slack asks for a moment; a longer pause is the outbox's."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        wait = _wait_s(response)
        return wait is not None and wait <= _SHORT_S

    def prepare_for_next_attempt(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        """Wait as long as asked for."""
        state.next_attempt_requested = True
        time.sleep((response and _wait_s(response)) or 0.0)
        state.increment_current_attempt()


def _wait_s(response: HttpResponse) -> float | None:
    # The client hands over a list of values for each header.
    headers = {name.lower(): values[0] for name, values in response.headers.items() if values}
    return retry_after_s(headers.get("retry-after"), datetime.now(UTC))


def _code(response: Any) -> str:
    """Return Slack's word for what is wrong; empty where it said none."""
    data = response.data if isinstance(response.data, dict) else {}
    code = str(data.get("error") or "")
    return code if re.fullmatch(r"\w{1,60}", code) else ""


def _refusal(response: Any) -> ConnectorError:
    code, status = _code(response), response.status_code
    meaning, hint = _MEANINGS.get(code, (code, _HINTS.get(status)))
    if status != 200:
        return refused(status, meaning, where="slack", headers=response.headers, hint=hint)
    if not code:
        return _passing("the answer is no JSON")
    if code == "missing_scope":
        return missing_scope(str(response.get("needed") or "?"))
    if code in _NOT_NOW:
        return _passing(f"Slack answered {code}")
    details = "; ".join(map(str, (response.get("response_metadata") or {}).get("messages") or ()))
    message = meaning if code in _MEANINGS else f"Slack refused: {code}"
    return ConnectorError(
        f"{message}: {details}" if details else message, where="slack", hint=hint, retryable=False
    )


def missing_scope(needed: str) -> ConnectorError:
    """Return the error for a right that the token lacks; several are said with commas between."""
    scopes = " or ".join(f'"{scope.strip()}"' for scope in needed.split(","))
    return ConnectorError(
        f"the app lacks the scope {scopes}",
        where="slack",
        hint='Add it to the "Bot Token Scopes" under "OAuth & Permissions", and reinstall the app.',
        retryable=False,
    )


def _passing(message: str, hint: str | None = None) -> ConnectorError:
    return ConnectorError(message, where="slack", hint=hint, retryable=True)
