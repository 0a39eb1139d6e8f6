# SPDX-License-Identifier: Apache-2.0
"""Find what is wrong with a token, its scopes and a channel; nobody sees anything of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate_core.errors import ConnectorError

from .api import Slack, missing_scope
from .channel import Channel


def problems(slack: Slack, channel: Channel) -> list[str]:
    """Return what is wrong, a sentence each."""
    web = slack.web
    try:
        answer = slack.call(web.auth_test)
    except ConnectorError as error:
        return [_sentence(error)]
    found = []
    # Only a message would show whether the bot may write, and the header says so as well.
    granted = {name.lower(): value for name, value in answer.headers.items()}.get("x-oauth-scopes")
    if granted is not None and "chat:write" not in granted.replace(" ", "").split(","):
        found.append(_sentence(missing_scope("chat:write")))
    # A place for a file is asked for, and nothing is put there.
    found += _tried(slack.call, web.files_getUploadURLExternal, filename="check.txt", length=1)
    try:
        info = channel.info()
    except ConnectorError as error:
        return [*found, _sentence(error)]
    if info.get("is_archived"):
        found.append(
            f"the channel #{info['name']} is archived. Name another `channel`, or unarchive it."
        )
    elif not info.get("is_member"):
        found.append(f"the bot is not in the channel #{info['name']}. Invite it: /invite @bot.")
    else:
        found += _tried(slack.call, web.conversations_history, channel=info["id"], limit=1)
    return found


def _tried(call: Callable[..., Any], method: Callable[..., Any], **arguments: Any) -> list[str]:
    try:
        call(method, **arguments)
    except ConnectorError as error:
        return [_sentence(error)]
    return []


def _sentence(error: ConnectorError) -> str:
    return f"{error.info.message}. {error.info.hint or ''}".rstrip()
