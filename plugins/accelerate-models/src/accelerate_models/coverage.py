# SPDX-License-Identifier: Apache-2.0
"""Which installed backends can run a model, as far as that shows without starting a browser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from accelerate_core.errors import AccelerateError, ModelError, Unsupported
from accelerate_core.host import Host
from accelerate_core.protocols import Backend
from accelerate_core.types import Availability, LoadOptions, ModelSpec

#: How ONNX Runtime names the first operator it lacks.
_LACKING = re.compile(
    r"Could not find an implementation for (?P<kernel>[\w.:]+)\(|"
    r"(?P<schema>[\w.:]+)\([-\d]+\) is not a registered function/op"
)


async def coverage_of(
    host: Host, spec: ModelSpec, dimensions: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Load the model on each native backend, and look whether the others have a browser here.

    Each answer has `backend`, `covers` (None: nobody knows before it is tried), `lacking`
    operators (ONNX Runtime names the first only) and `detail`; simulated backends are left out.
    """
    rows = []
    for name in host.names("backends"):
        try:
            backend: Backend = host.create("backends", name)
        except AccelerateError as error:
            rows.append(_row(name, None, error.info.message))
            continue
        try:
            row = await _ask(host, backend, name, spec, dimensions)
        except AccelerateError as error:
            row = _row(name, None, error.info.message)
        finally:
            await backend.close()
        if row is not None:
            rows.append(row)
    return rows


async def _ask(
    host: Host, backend: Backend, name: str, spec: ModelSpec, dimensions: Mapping[str, int]
) -> dict[str, Any] | None:
    found = await backend.discover()
    here = [one for one in found if one.is_available]
    if not here:
        return _row(name, None, _why_not(found), is_here=False)
    browsers = [one.target.browser for one in here if one.target.browser]
    if browsers:
        return _row(name, None, f"known once it was tried in {', '.join(browsers)}")
    worker = await backend.start(here[0].target, host.context)
    try:
        if worker.info.is_simulated:
            return None
        engine = worker.info.engine_version or name
        await worker.load(spec, LoadOptions(dimensions=dimensions))
    except (ModelError, Unsupported) as error:
        return _row(name, False, error.info.message, _lacking(error.info.message))
    finally:
        await worker.close()
    return _row(name, True, f"{engine} made a session of it")


def _row(
    backend: str,
    covers: bool | None,
    detail: str,
    lacking: Sequence[str] = (),
    *,
    is_here: bool = True,
) -> dict[str, Any]:
    return {
        "backend": backend,
        "is_here": is_here,
        "covers": covers,
        "lacking": list(lacking),
        "detail": detail,
    }


def _why_not(found: Sequence[Availability]) -> str:
    reasons = dict.fromkeys(one.reason for one in found if one.reason)
    return "not here: " + ("; ".join(reasons) or "nothing it could start was found")


def _lacking(message: str) -> list[str]:
    match = _LACKING.search(message)
    return [(match["kernel"] or match["schema"]).replace(":", ".")] if match else []
