# SPDX-License-Identifier: Apache-2.0
"""What JIRA's refusals, and connections that break, mean.

Errors are in our own words: those of the client hold requests with their headers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from jira import JIRAError
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.texts import cut, one_line

from .values import Refusal

TOKEN = (
    "Set `user` and `token`: the e-mail address and an API token of its account (Cloud), or only"
    " `token`, a personal access token (Data Center)."
)
RIGHTS = (
    "Ask an administrator of the project to give the account Browse Projects, Create Issues, Add"
    " Comments, Create Attachments, Link Issues and Transition Issues; accel connectors check names"
    " what is missing."
)
SCREEN = (
    "Give what its screen requires in `fixed_fields` or `open_fields` (accel connectors check names"
    " it), or add a transition to the workflow that requires no field."
)
_HINTS = {
    400: "accel connectors check says which settings JIRA does not take: `issue_type`, `fields`.",
    401: TOKEN,
    403: RIGHTS,
    404: "Mend `url` or `project`, or let the account see the project (Browse Projects).",
    413: "See the run itself: the site takes no attachment or text of this size.",
}


@contextlib.contextmanager
def typed(hints: Mapping[int, str] | None = None) -> Iterator[None]:
    """Raise what goes wrong as a ConnectorError, from a Refusal where nothing was done.

    `hints` say what to do about a status where that is not the same for all calls.
    """
    try:
        yield
    except JIRAError as error:
        # 503 says nothing: a proxy answers so, too, when the connection behind it breaks.
        is_undone = 400 <= (error.status_code or 0) < 500
        raise _of_answer(error, {**_HINTS, **(hints or {})}) from (Refusal() if is_undone else None)
    except requests.Timeout as error:
        is_undone = isinstance(error, requests.ConnectTimeout)
        raise _passing("no answer in time") from (Refusal() if is_undone else None)
    except (ValueError, KeyError, TypeError):
        # Before RequestException: JSON errors of requests are both.
        hint = "Mend `url` if that is not the address of JIRA."
        raise _passing("the answer is not one of JIRA's", hint) from None
    except (requests.RequestException, OSError) as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        is_undone = isinstance(reason, NewConnectionError | ConnectTimeoutError)
        text = "nobody answers there" if is_undone else "the connection broke"
        hint = "Mend `url`, or wait until JIRA is back."
        raise _passing(text, hint) from (Refusal() if is_undone else None)


def _passing(text: str, hint: str | None = None) -> ConnectorError:
    return ConnectorError(text, where="jira", hint=hint, retryable=True)


def _of_answer(error: JIRAError, hints: Mapping[int, str]) -> ConnectorError:
    response: Any = error.response
    status = error.status_code
    if response is None or status is None:
        return _passing("JIRA answered something else than it should")
    return refused(
        status,
        cut(one_line(_said(response)), 500),
        where="jira",
        headers=response.headers,
        hint=hints.get(status),
    )


def _said(response: Any) -> str:
    """Return JIRA's own words ("Status codes"): what a proxy says may hold anything."""
    try:
        data = response.json()
    except ValueError:
        return ""
    if not isinstance(data, dict):
        return ""
    general, fields = data.get("errorMessages"), data.get("errors")
    words = [str(one) for one in general] if isinstance(general, list) else []
    if isinstance(fields, dict):
        words += [f"{name}: {text}" for name, text in fields.items()]
    return "; ".join(words)
