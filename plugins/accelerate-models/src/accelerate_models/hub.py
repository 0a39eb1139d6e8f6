# SPDX-License-Identifier: Apache-2.0
"""Models from a hub: what a repository's own list says is needed is downloaded, then built.

huggingface_hub is imported when something has to be asked: what is here already needs neither it
nor a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context, ModelSource, Processor
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import ModelSpec, ProcessorSpec

from .files import SourceFiles
from .hookspecs import BUILDERS
from .repository import (
    CONFIG,
    HubReference,
    Listing,
    check_listing,
    choose,
    index_of,
    parse_reference,
    shards,
)
from .source import Source

#: A download that nothing was written to for so long was cut off with its process.
_ABANDONED_S = 3600.0
_ANSWER_S = 10.0


class Hub(ModelSource):
    """Resolve `hf:ORGANISATION/NAME@REVISION#PART` by way of `dir:` or `file:`. Thread-safe."""

    def __init__(self, ctx: Context, endpoint: str | None = None) -> None:
        self._ctx = ctx
        self._source = Source(ctx, Path)
        self._root = ctx.cache_dir / "hub"
        self._endpoint = endpoint

    def resolve(self, reference: str, *, name: str, precision: str = "fp32") -> ModelSpec:
        """Return the model, its commit in the metadata; ModelError when it is not to be had."""
        wanted = parse_reference(reference)
        repository = _Repository(self._ctx, self._root, self._endpoint, wanted)
        try:
            listing = repository.listing()
            place = repository.fetch(listing, precision)
        except OSError as error:
            raise ModelError(
                f"reading or storing its files failed: {error}",
                where=str(self._root),
                hint="Check rights and free space there.",
            ) from error
        spec = self._source.resolve(place, name=name, precision=precision)
        origin = {
            "repository": wanted.repository,
            "revision": wanted.revision,
            "commit": listing.commit,
        }
        return attrs.evolve(spec, source=reference, metadata={**spec.metadata, **origin})

    def processor(self, spec: ProcessorSpec) -> Processor:
        """Build the processor a spec of this source asks for."""
        return self._source.processor(spec)


class _Repository:
    """Hold one repository for one call: ask for its list, and fetch what is chosen of it."""

    def __init__(
        self, ctx: Context, root: Path, endpoint: str | None, wanted: HubReference
    ) -> None:
        self._ctx = ctx
        self._root = root
        self._endpoint = endpoint
        self._wanted = wanted
        # huggingface_hub's own layout, so that its tools read this cache too.
        self._folder = root / f"models--{wanted.repository.replace('/', '--')}"
        self._is_live = False

    def listing(self) -> Listing:
        """Return what the revision has: from here for a commit, else as the hub says it now."""
        known = self._remembered()
        if known and self._wanted.is_pinned:
            return known
        from .hub_errors import HUB_ERRORS, explain, is_unreachable

        try:
            return self._ask(self._wanted)
        except HUB_ERRORS as error:
            if known is None or not is_unreachable(error):
                raise explain(error, self._wanted, self._host()) from error
            self._ctx.log.warning(
                "%s: the hub %s cannot be reached; commit %s is used, which is here",
                self._wanted,
                self._host(),
                known.commit,
            )
            return known

    def fetch(self, listing: Listing, precision: str) -> str:
        """Download what is needed and not here; return the `dir:` or `file:` reference to it."""
        snapshot = self._folder / "snapshots" / listing.commit
        files = SourceFiles()
        self._get(listing, [CONFIG] if CONFIG in listing.sizes else [])
        has_config = files.has(snapshot / CONFIG)
        config = files.json_object(snapshot / CONFIG) if has_config else {}
        plugins = self._ctx.plugins
        plugins.add_family(BUILDERS)
        choice = choose(self._wanted, precision, listing, config, plugins.names(BUILDERS.name))
        if self._wanted.part and not choice.graph and self._missing(listing, choice.files):
            self._check_part(snapshot / CONFIG, config)
        self._get(listing, choice.files)
        if index := index_of(choice):
            from .checkpoint import shard_names

            self._get(listing, shards(self._wanted, listing, shard_names(snapshot / index, files)))
        self._remember(listing)
        if choice.graph:
            return f"file:{snapshot / choice.graph}"
        return f"dir:{snapshot}" + (f"#{self._wanted.part}" if self._wanted.part else "")

    def _check_part(self, path: Path, config: dict[str, Any]) -> None:
        """Refuse a part there is not before gigabytes are downloaded for it."""
        from .config import ModelConfig
        from .directory import builder_of, part_of

        builder = builder_of(ModelConfig(path, config), self._ctx.plugins)
        part_of(builder, self._wanted.part, str(self._wanted))

    def _missing(self, listing: Listing, names: Iterable[str]) -> list[str]:
        snapshot = self._folder / "snapshots" / listing.commit
        return [name for name in names if not (snapshot / name).is_file()]

    def _get(self, listing: Listing, names: Iterable[str]) -> None:
        """Download files that are not here; what a killed process left goes first."""
        if not (missing := self._missing(listing, names)):
            return
        from huggingface_hub import hf_hub_download

        from .hub_errors import HUB_ERRORS, explain

        try:
            if not self._is_live:  # asked once, because a download tries again for long
                self._ask(attrs.evolve(self._wanted, revision=listing.commit))
            self._remove_abandoned()
            for name in missing:
                hf_hub_download(
                    self._wanted.repository,
                    name,
                    revision=listing.commit,
                    cache_dir=self._root,
                    endpoint=self._endpoint,
                    library_name="accelerate-models",
                )
        except HUB_ERRORS as error:
            raise explain(error, self._wanted, self._host()) from error

    def _ask(self, wanted: HubReference) -> Listing:
        from huggingface_hub import HfApi

        info = HfApi(endpoint=self._endpoint).model_info(
            wanted.repository,
            revision=wanted.revision,
            files_metadata=True,
            timeout=_ANSWER_S,
        )
        files = ((file.rfilename, file.size) for file in info.siblings or ())
        listing = check_listing(wanted, info.sha, files)
        self._is_live = True
        return listing

    def _host(self) -> str:
        from huggingface_hub import constants

        return urlsplit(self._endpoint or constants.ENDPOINT).hostname or "of HF_ENDPOINT"

    def _remove_abandoned(self) -> None:
        for path in (self._folder / "blobs").glob("*.incomplete"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()

    def _place(self, revision: str) -> Path:
        return self._folder / "listings" / f"{quote(revision, safe='')}.json"

    def _remembered(self) -> Listing | None:
        try:
            return from_plain(json.loads(self._place(self._wanted.revision).read_bytes()), Listing)
        except FileNotFoundError:
            return None
        except Exception:  # whatever is wrong with it, asking again mends it
            return None

    def _remember(self, listing: Listing) -> None:
        """Write the list down for its branch and its commit, whole or not at all."""
        if not self._is_live:
            return
        for revision in {self._wanted.revision, listing.commit}:
            place = self._place(revision)
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".part-", dir=place.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(to_plain(listing), file)
                Path(temporary).replace(place)
            finally:
                Path(temporary).unlink(missing_ok=True)
