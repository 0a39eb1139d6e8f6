# SPDX-License-Identifier: Apache-2.0
"""What went wrong with a hub, and what to do about it. Says nothing of tokens and no URLs."""

from __future__ import annotations

import httpx2
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from accelerate_core.errors import ModelError

from .repository import HubReference

#: What huggingface_hub raises, and what it lets through from an answer that is no hub's.
HUB_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError)

_TOKEN = "`hf auth login`, or set HF_TOKEN."


def is_unreachable(error: Exception) -> bool:
    """Whether there was no answer, or one that says to come back later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return isinstance(error, (httpx2.TransportError, OfflineModeIsEnabled))


def explain(error: Exception, wanted: HubReference, host: str) -> ModelError:
    """Return the error a user meets. `host` is the hub's name.

    The texts of huggingface_hub are left out: they hold URLs, which may be signed.
    """
    message, hint = _explanation(_cause(error), wanted, host)
    return ModelError(message, where=str(wanted), hint=hint)


def _explanation(error: Exception, wanted: HubReference, host: str) -> tuple[str, str]:
    page = f"{host}/{wanted.repository}"
    if is_unreachable(error):
        return (
            f"the hub {host} cannot be reached ({_name(error)}), and not all of the model is here",
            "Check the network, or set HF_ENDPOINT to a mirror; or download the repository "
            "elsewhere and use dir:PATH.",
        )
    if isinstance(error, GatedRepoError):
        return (
            "access to this repository has to be asked for",
            f"Accept its terms at {page}, then log in: {_TOKEN}",
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"the hub {host} has no such repository, or does not show it",
            f"Check the name. If it is private, log in: {_TOKEN}",
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"the repository has no revision {wanted.revision!r}",
            f"Its branches and tags are listed at {page}/tree/main.",
        )
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return f"the hub {host} does not accept the token", f"Log in again: {_TOKEN}"
        if status == 403:
            return (
                f"the hub {host} refuses access",
                f"Use a token that may read this repository: {_TOKEN}",
            )
        return f"the hub {host} answers with status {status}", "Check HF_ENDPOINT, and try again."
    if isinstance(error, OSError) and not isinstance(error, FileMetadataError):
        reason = error.strerror or "a file came incomplete"
        return f"downloading it failed: {reason}", "Try again; check free space and rights."
    return (
        f"{host} does not answer as a hub does",
        "Check HF_ENDPOINT, and whether a proxy answers.",
    )


def _name(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"status {error.response.status_code}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return type(error).__name__


def _cause(error: Exception) -> Exception:
    """Return why a file is not here either: huggingface_hub looks into its cache last."""
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    return cause if isinstance(cause, Exception) else error
