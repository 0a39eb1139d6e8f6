# SPDX-License-Identifier: Apache-2.0
"""Requests to one HTTP API: typed errors in our words, pages, and files.

What httpx raises may hold an address with a token in it, so its text goes nowhere.
"""

from __future__ import annotations

import functools
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError

if TYPE_CHECKING:
    import ssl

    # Importing it takes 0.2 s, and every run asks every CI system whether it is here.
    import httpx

TIMEOUT_S = 20.0
#: A file elsewhere is reached through one redirection, two where there is a cache between.
_REDIRECTIONS = 5
_CHUNK = 1 << 16
#: A database of a CI job is some megabytes; nobody unpacks what would fill the disk.
_LARGEST = 4 << 30
#: With this Azure DevOps sends a page to sign in at, where others say 401.
_SIGN_IN = 203
_HINTS = {
    401: "The token is wrong or has expired. {needs}",
    403: "{needs}",
    404: "It is not there, or these credentials may not see it. {needs}",
    413: "What is told is too large for it: see the report instead.",
}


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes a quarter of a second."""
    import httpx

    return httpx.create_ssl_context()


class Api:
    """Call an API as one user. Thread-safe; closed by who made it."""

    def __init__(self, where: str, url: str, headers: Mapping[str, str]) -> None:
        """Take what names it in errors, its address, and the headers that say who asks."""
        import httpx

        self.where = where
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            headers={"user-agent": "accelerate-ci", **headers}, timeout=TIMEOUT_S, verify=_trust()
        )
        self._anonymous = httpx.Client(timeout=TIMEOUT_S, verify=_trust())

    def call(
        self,
        method: str,
        path: str,
        *,
        needs: str,
        expected: tuple[int, ...] = (),
        **more: Any,
    ) -> httpx.Response:
        """Return the answer; ConnectorError for a refusal that is not expected.

        `needs` says which right it takes, and how to give it.
        """
        import httpx

        url = path if "://" in path else f"{self._url}{path}"
        try:
            answer = self._client.request(method, url, **more)
        except httpx.HTTPError as error:
            raise self._broken(error) from None
        if _is_good(answer) or answer.status_code in expected:
            return answer
        raise self.refusal(answer, needs)

    def data(self, method: str, path: str, *, needs: str, **more: Any) -> Any:
        """Return the JSON data of the answer; None for an empty one."""
        return self.read(self.call(method, path, needs=needs, **more))

    def read(self, answer: httpx.Response) -> Any:
        """Return the JSON data of an answer; ConnectorError for what is none."""
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise ConnectorError(
                "the answer is no JSON", where=self.where, retryable=True
            ) from None

    def pages(self, path: str, *, needs: str, **params: Any) -> Iterator[Any]:
        """Yield the items of all pages that `Link` headers lead to (RFC 8288)."""
        url: str | None = path
        while url:
            answer = self.call("GET", url, needs=needs, params=params or None)
            yield from self.read(answer) or ()
            url, params = answer.links.get("next", {}).get("url"), {}

    def download(self, path: str, into: IO[bytes], *, needs: str, is_trusted: bool = False) -> bool:
        """Write a file's bytes; False: there is none (404).

        Who asks is told to no other host than the API's own.
        A path `is_trusted` where the API's documentation says that it wants the token, too.
        """
        import httpx

        url = path if "://" in path else f"{self._url}{path}"
        trusted = {_origin(self._url), *([_origin(url)] if is_trusted else [])}
        for _ in range(_REDIRECTIONS):
            is_ours = _origin(url) in trusted
            client = self._client if is_ours else self._anonymous
            try:
                with client.stream("GET", url, follow_redirects=False) as answer:
                    if not answer.has_redirect_location:
                        if answer.status_code == 404:
                            return False
                        if not _is_good(answer):
                            answer.read()
                            raise self.refusal(answer, needs)
                        for chunk in answer.iter_bytes(_CHUNK):
                            into.write(chunk)
                        return True
                    url = str(answer.url.join(answer.headers["location"]))
            except httpx.HTTPError as error:
                raise self._broken(error) from None
        raise ConnectorError("it leads in circles", where=self.where, retryable=False)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._anonymous.close()

    def _broken(self, error: httpx.HTTPError) -> ConnectorError:
        import httpx

        said = (
            f"no answer within {TIMEOUT_S:g} s"
            if isinstance(error, httpx.TimeoutException)
            else f"no connection, or it broke: {type(error).__name__}"
        )
        return ConnectorError(said, where=self.where, retryable=True)

    def refusal(self, answer: httpx.Response, needs: str) -> ConnectorError:
        """Return the typed error of an answer, with the right it takes."""
        status, headers = answer.status_code, dict(answer.headers)
        if status == _SIGN_IN:
            status = 401
        # GitHub says so where others say 429 ("Rate limits for the REST API").
        is_used_up = headers.get("x-ratelimit-remaining") == "0"
        if status == 403 and ("retry-after" in headers or is_used_up):
            status = 429
            reset = headers.get("x-ratelimit-reset", "")
            if reset.isdecimal():
                headers.setdefault("retry-after", str(max(0, int(reset) - int(time.time()))))
        hint = _HINTS.get(status)
        return refused(
            status,
            _reason(answer),
            where=self.where,
            headers=headers,
            hint=hint and hint.format(needs=needs).strip(),
        )


def _is_good(answer: httpx.Response) -> bool:
    return answer.is_success and answer.status_code != _SIGN_IN


def _reason(answer: httpx.Response) -> str:
    """Return what the service itself says of a refusal, in the shapes that CI systems use."""
    try:
        data = answer.json()
    except ValueError:
        return ""
    said = data.get("message") or data.get("error") if isinstance(data, dict) else None
    if isinstance(said, dict):
        said = said.get("message")
    return str(said)[:300] if said else ""


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def keep(api: Api, path: str, output: Path, *, needs: str, is_trusted: bool = False) -> bool:
    """Download a file to `output`, as a whole or not at all; the rest is as for `download`."""
    with tempfile.NamedTemporaryFile(dir=_folder(output), delete=False) as file:
        try:
            is_there = api.download(path, file, needs=needs, is_trusted=is_trusted)
            file.close()
            if is_there:
                Path(file.name).replace(output)
            return is_there
        finally:
            Path(file.name).unlink(missing_ok=True)


def keep_from_zip(api: Api, path: str, name: str, output: Path, *, needs: str) -> bool:
    """Download an archive and write its file called `name` to `output`; False: there is none."""
    with tempfile.TemporaryFile() as archive:
        if not api.download(path, archive, needs=needs):
            return False
        try:
            with zipfile.ZipFile(archive) as packed:
                found = [one for one in packed.infolist() if Path(one.filename).name == name]
                if not found:
                    return False
                _unpack(packed, found[0], output, api.where)
        except zipfile.BadZipFile:
            raise ConnectorError(
                "what came is no ZIP archive", where=api.where, retryable=True
            ) from None
    return True


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, output: Path, where: str) -> None:
    with tempfile.NamedTemporaryFile(dir=_folder(output), delete=False) as file:
        try:
            with packed.open(member) as source:
                size = 0
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > _LARGEST:
                        raise ConnectorError(
                            f"{member.filename} is larger than {_LARGEST >> 30} GiB",
                            where=where,
                            retryable=False,
                        )
                    file.write(chunk)
            file.close()
            Path(file.name).replace(output)
        finally:
            Path(file.name).unlink(missing_ok=True)


def _folder(output: Path) -> Path:
    folder = output.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder
