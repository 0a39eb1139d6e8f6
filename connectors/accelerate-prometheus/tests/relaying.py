# SPDX-License-Identifier: Apache-2.0
"""A way to a real server on which things go wrong: answers are its own, faults are ours."""

from __future__ import annotations

import httpx

from accelerate_core.testing.service import Answer, Request, Service


class Way(Service):
    """Pass every request on to a real server."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream
        self._client = httpx.Client(timeout=10, verify=upstream.startswith("https:"))

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._client.close()

    def handle(self, request: Request) -> Answer:
        """Answer as the real server does."""
        self.requests.append(request)
        answer = self._client.request(
            request.method,
            f"{self._upstream}{request.path}",
            params={name: values[-1] for name, values in request.query.items()},
            headers={
                name: value
                for name, value in request.headers.items()
                if name not in ("host", "content-length", "connection", "accept-encoding")
            },
            content=request.body,
        )
        kept = ("content-type", "www-authenticate")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        return Answer(status=answer.status_code, body=answer.content, headers=headers)
