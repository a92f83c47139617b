"""`underlay init DIR`: a working starter for one's own inventory."""

from __future__ import annotations

from pathlib import Path

import click

from underlay.errors import UnderlayError
from underlay.render import source

#: Every file of the starter: its place -> its template.
FILES = {
    "inventory.py": "init/inventory.py",
    "config.py": "init/config.py",
    "group_data/all.py": "init/group_data/all.py",
    "group_data/control_plane.py": "init/group_data/control_plane.py",
    "group_data/workers.py": "init/group_data/workers.py",
    "deploys/kernel_modules.py": "init/deploys/kernel_modules.py",
    "deploys/preflight.py": "init/deploys/preflight.py",
    "deploys/sysctl.py": "init/deploys/sysctl.py",
    "deploys/proxy_mode.py": "init/deploys/proxy_mode.py",
    "deploys/proxy_rollback.py": "init/deploys/proxy_rollback.py",
    "deploys/ipvs_migrate.py": "init/deploys/ipvs_migrate.py",
    "deploys/ipvs_rollback.py": "init/deploys/ipvs_rollback.py",
    ".github/workflows/network.yml": "init/workflow.yml",
    "README.md": "init/README.md",
}


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def command(*, directory: Path) -> None:
    """Write a starter into DIRECTORY: inventory, settings, deploys, CI workflow.

    It passes `underlay settings inventory.py` as it is; nothing that exists is overwritten.
    """
    there = [name for name in FILES if (directory / name).exists()]
    if there:
        raise UnderlayError(f"{directory / there[0]}: exists already; choose an empty folder")
    for name, template in FILES.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source(template))
        click.echo(f"wrote {target}")
    click.echo(
        f"\nNext: edit {directory / 'inventory.py'}, then\n  cd {directory}\n"
        "  underlay settings inventory.py\n  pyinfra --dry inventory.py deploys/sysctl.py"
    )
