# SPDX-License-Identifier: Apache-2.0
"""What the test servers of the CI systems share: refusals, stores of files, pages, archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from accelerate_core.testing.service import Answer, Request, Service, route


class Refused(Exception):
    """Say that a request ends with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Storage(Service):
    """Serve files by signed addresses, as the stores that APIs send their clients on to.

    It has an origin of its own, as those stores have: what a client sends here, it gave away.
    """

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Keep a file and return its signed address."""
        name = f"/files/{len(self._files) + 1}.zip"
        self._files[name] = content
        return f"{self.url}{name}?se=2030-01-01T00%3A00%3A00Z&sp=r&sig=c2lnbmVk"

    @route("GET", r"/files/\d+\.zip")
    def download(self, request: Request) -> Answer:
        """Serve a signed file.

        Azure Storage documentation, "Service SAS" and "Status and error codes": the signature is
        all that is wanted; another authorization beside it is refused.
        """
        if "authorization" in request.headers:
            return xml_error(401, "InvalidAuthenticationInfo")
        if request.query.get("sig") != ["c2lnbmVk"]:
            return xml_error(
                403, "AuthenticationFailed", "Server failed to authenticate the request"
            )
        return archive(self._files[request.path])


class Api(Service):
    """Serve an API: handlers may raise `Refused`; files go to a store of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = Storage()

    def __enter__(self) -> Any:
        self.storage.__enter__()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.storage.__exit__(*exc)

    def handle(self, request: Request) -> Answer:
        """Answer one request without any fault."""
        try:
            return super().handle(request)
        except Refused as refused:
            return refused.answer

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object in a request; `Refused` with 400 when there is none."""
        try:
            data = request.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise Refused(self.refusal(400))
        return data


def first(request: Request, name: str, default: str = "") -> str:
    """Return the first value of a query parameter."""
    return request.query.get(name, [default])[0]


def number(request: Request, name: str, default: int, most: int | None = None) -> int:
    """Return a query parameter as a number of at least 1 and at most `most`."""
    text = first(request, name)
    value = int(text) if text.isdigit() and int(text) else default
    return value if most is None else min(value, most)


def pages(
    url: str, request: Request, count: int, per_page: int, page: int, rels: Sequence[str]
) -> str:
    """Return the `Link` header of a page (RFC 8288)."""
    last = max(1, -(-count // per_page))
    known = {
        "prev": page - 1 if page > 1 else None,
        "next": page + 1 if page < last else None,
        "first": 1,
        "last": last,
    }
    links = []
    for rel in rels:
        if (target := known[rel]) is not None:
            query = {name: values for name, values in request.query.items()}
            query |= {"page": [str(target)], "per_page": [str(per_page)]}
            links.append(f'<{url}?{urlencode(query, doseq=True)}>; rel="{rel}"')
    return ", ".join(links)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an archive with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def archive(content: bytes) -> Answer:
    """Return an archive as an answer."""
    return Answer(body=content, headers={"content-type": "application/zip"})


def xml_error(status: int, code: str) -> Answer:
    """Return an error as object stores word it."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'
    return Answer(status=status, body=text.encode(), headers={"content-type": "application/xml"})


def now() -> str:
    """Return the time as the APIs write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
