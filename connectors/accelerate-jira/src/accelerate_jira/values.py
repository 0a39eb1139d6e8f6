# SPDX-License-Identifier: Apache-2.0
"""What the connector knows of a site. Nothing here imports the client."""

from __future__ import annotations

import attrs


class Refusal(Exception):
    """The cause of a ConnectorError when nothing was done: no answer got lost."""


@attrs.frozen(kw_only=True)
class Issue:
    """An issue as far as it matters here."""

    id: str
    key: str
    category: str  #: of its status: "new", "indeterminate" or "done"
    files: frozenset[str]  #: names of its attachments
    description: str  #: as JIRA has it: markup, or a document as JSON
