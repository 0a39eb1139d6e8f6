# SPDX-License-Identifier: Apache-2.0
"""Tokens that CI systems put into the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import Secret


def token_of(environ: Mapping[str, str], names: Sequence[str], where: str, hint: str) -> Secret:
    """Return the first token that is set; ConnectorError, with what to do, where none is."""
    for name in names:
        if value := environ.get(name, "").strip():
            return Secret(value)
    raise ConnectorError(
        f"{' or '.join(names)} is not set", where=where, hint=hint, retryable=False
    )
