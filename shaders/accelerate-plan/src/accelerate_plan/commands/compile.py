# SPDX-License-Identifier: Apache-2.0
"""`accel models compile`: a model as a plan, before anybody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command("compile")
def compile_model(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="hf:ORG/NAME, dir:PATH, file:PATH, package:NAME.")
    ],
    on: Annotated[
        str,
        typer.Option(metavar="TARGET", help="wgpu, webgpu/plan:chromium, webgpu/plan:firefox."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the plan there, and FILE.weights."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8, ...")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Items in one run.")] = 1,
    sequence: Annotated[
        int | None, typer.Option(min=1, help="Tokens per item. [32, or the most the model takes]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compile a model for the engine `plan`, and keep the plan for when it is run.

    A plan is for one adapter and one size; whoever runs another size compiles it then.
    """
    import shutil
    import time

    from accelerate_core.cli.output import print_json
    from accelerate_core.errors import ConfigError
    from accelerate_core.host import Host

    from ..plan import read_plan
    from ..showing import plan_facts, plan_summary
    from .working import compiled, plan_target, resolved

    target = plan_target(on, where="--on")
    if output is not None and not output.absolute().parent.is_dir():
        raise ConfigError("no such folder", where=str(output.absolute().parent))
    host = Host()
    begin = time.monotonic()
    spec = compiled(host, target, resolved(host, reference, precision), batch, sequence)
    seconds = time.monotonic() - begin
    paths = [host.context.assets.path(one.sha256) for one in spec.assets]
    file = paths[0].read_bytes()
    names: list[str] = []
    if output is not None:
        for source, path in zip(paths, (output, Path(f"{output}.weights")), strict=False):
            shutil.copyfile(source, path)
            names.append(str(path))
    plan = read_plan(file, where=reference)
    facts = plan_facts(plan, len(file))
    if as_json:
        print_json(
            {
                "source": reference,
                "target": str(target),
                "sha256": spec.sha256,
                "totals": facts["totals"],
                "about": facts["about"],
                "files": names,
                "seconds": round(seconds, 3),
            }
        )
        return
    for line in plan_summary(facts):
        typer.echo(line)
    where = f"written to {' and '.join(names)}" if names else "kept in the cache"
    typer.echo(f"{where} after {seconds:.1f} s")
