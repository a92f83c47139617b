"""`underlay init DIR`: a working starter for one's own inventory."""

from __future__ import annotations

from pathlib import Path

import click

from underlay.errors import UnderlayError
from underlay.render import names, source

ROOT = "init/"


def files() -> dict[str, str]:
    """Every file of the starter: its place -> its template, `github` for the hidden folder."""
    found = {name.removeprefix(ROOT): name for name in names(ROOT)}
    return {f".{p}" if p.startswith("github/") else p: name for p, name in found.items()}


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def command(*, directory: Path) -> None:
    """Write a starter into DIRECTORY: inventory, settings, deploys, CI workflows.

    \b
    underlay init my-network
    cd my-network && underlay settings inventory.py

    It is valid as it is; nothing that exists is overwritten.
    """
    wanted = files()
    there = [name for name in wanted if (directory / name).exists()]
    if there:
        raise UnderlayError(f"{directory / there[0]}: exists already; choose an empty folder")
    for name, template in wanted.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source(template))
        click.echo(f"wrote {target}")
    click.echo(
        f"\nNext: edit {directory / 'inventory.py'}, then\n  cd {directory}\n"
        "  underlay settings inventory.py\n  pyinfra --dry inventory.py deploys/sysctl.py"
    )
