# SPDX-License-Identifier: Apache-2.0
"""How a server is reached: settings that all who send something share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from accelerate_core.addresses import is_server
from accelerate_core.errors import ConfigError
from accelerate_core.secrets import Secret
from accelerate_core.settings import Seconds

#: "Data model" of Prometheus' documentation; names that begin with `__` are its own.
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

#: Labels that say what a number is of, and `job`, which is a setting of its own.
_OURS = frozenset(
    [
        "job",
        "model",
        "target",
        "precision",
        "batch_size",
        "sequence_length",
        "scenario",
        "pipeline",
        "metric",
        "series",
    ]
)


is_url = is_server(
    '"http://127.0.0.1:9090"',
    '"https://prometheus.example.org/prefix"',
    credentials='`username` and `password = "env:NAME"`',
)


def _are_labels(instance: object, attribute: Any, value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if not _LABEL.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no label",
                where=f"{attribute.name}.{name}",
                accepted=("letters, digits and _, not beginning with a digit or __",),
            )
        if name in _OURS:
            raise ConfigError(
                f"the label {name!r} is given already",
                where=f"{attribute.name}.{name}",
                accepted=(f"any but {', '.join(sorted(_OURS))}",),
            )
        if not text.strip():
            raise ConfigError(
                f"the label {name!r} is empty: to Prometheus it is not there",
                where=f"{attribute.name}.{name}",
            )


def _is_job(instance: object, attribute: Any, value: str) -> None:
    if not value.strip():
        raise ConfigError("the job needs a name", where=attribute.name, accepted=('"accelerate"',))


@attrs.frozen(kw_only=True)
class Access:
    """Say as whom to send, and how long to wait."""

    #: Name for basic authentication.
    username: str = ""
    #: Password for basic authentication, as `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`.
    password: Secret | None = None
    #: Token for bearer authentication, written likewise.
    token: Secret | None = None
    #: How long to wait for an answer.
    timeout: Seconds = attrs.field(
        default=Seconds(10.0), validator=attrs.validators.gt(Seconds(0.0))
    )

    def __attrs_post_init__(self) -> None:
        if self.token is not None and (self.username or self.password is not None):
            raise ConfigError(
                "a token and a user are two ways to say who calls",
                where="token",
                accepted=("token", "username and password"),
            )
        if bool(self.username) != (self.password is not None):
            missing, given = ("password", "username") if self.username else ("username", "password")
            raise ConfigError(f"{given} needs {missing}", where=missing)


@attrs.frozen(kw_only=True)
class Asked(Access):
    """Say whom to ask."""

    url: str = attrs.field(validator=is_url)


@attrs.frozen(kw_only=True)
class Sender(Access):
    """Say under which labels besides."""

    #: Value of the label `job`.
    job: str = attrs.field(default="accelerate", validator=_is_job)
    #: Labels of everything that is sent, as `{ instance = "bench-1" }`: what tells machines apart.
    labels: Mapping[str, str] = attrs.field(factory=dict, validator=_are_labels)
