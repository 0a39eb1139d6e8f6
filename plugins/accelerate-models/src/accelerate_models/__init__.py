# SPDX-License-Identifier: Apache-2.0
"""Models from ONNX files, Hugging Face directories and hubs, without torch.

Four plugins share one implementation (`source.py`) and differ only in how a reference becomes a
path. This module stays light: onnx, tokenizers and numpy are imported when a model is resolved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context, ModelSource

__all__ = ["DirectorySource", "FileSource", "HubSource", "PackageSource"]


class FileSource:
    """Find ONNX files by path: `file:models/encoder.onnx`."""

    name = "file"

    @hookimpl
    def model_schemes(self) -> Sequence[str]:
        """Return `("file",)`."""
        return ("file",)

    @hookimpl
    def model_create(self, settings: Any, ctx: Context) -> ModelSource:
        """Return the source; reads nothing yet."""
        from .locate import locate_file
        from .source import Source

        return Source(ctx, locate_file)


class DirectorySource:
    """Build models from Hugging Face directories: `dir:models/all-MiniLM-L6-v2`."""

    name = "dir"

    @hookimpl
    def model_schemes(self) -> Sequence[str]:
        """Return `("dir",)`."""
        return ("dir",)

    @hookimpl
    def model_create(self, settings: Any, ctx: Context) -> ModelSource:
        """Return the source; reads nothing yet."""
        from .locate import locate_directory
        from .source import Source

        return Source(ctx, locate_directory)


class PackageSource:
    """Build models from directories inside installed packages: `package:PACKAGE/FOLDER`."""

    name = "package"

    @hookimpl
    def model_schemes(self) -> Sequence[str]:
        """Return `("package",)`."""
        return ("package",)

    @hookimpl
    def model_create(self, settings: Any, ctx: Context) -> ModelSource:
        """Return the source; reads nothing yet."""
        from .locate import locate_in_package
        from .source import Source

        return Source(ctx, locate_in_package)


class HubSource:
    """Download models from a hub and build them: `hf:ORGANISATION/NAME@REVISION`."""

    name = "hf"

    @hookimpl
    def model_schemes(self) -> Sequence[str]:
        """Return `("hf",)`."""
        return ("hf",)

    @hookimpl
    def model_create(self, settings: Any, ctx: Context) -> ModelSource:
        """Return the source; reads nothing yet, and asks nobody."""
        from .hub import Hub

        return Hub(ctx)
