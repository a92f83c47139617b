"""`underlay restore --dry`: what putting a backup of the CNI's configuration back would change."""

from __future__ import annotations

from collections.abc import Iterable

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.errors import UsageError
from underlay.exit_codes import ExitCode


@click.command("restore")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@click.option("--dry", is_flag=True, help="Compare only; the one way this command works.")
@click.option("--from", "folder", help="Folder. Default: preflight.backup of the inventory.")
@DATA
def command(*, inventory_file: str, dry: bool, folder: str | None, data: tuple[str, ...]) -> int:
    """Compare a backup with every node; exit code 3 when something is different.

    \b
    underlay restore inventory.py --dry
    underlay restore inventory.py --dry --from backups/monday
    """
    if not dry:
        raise UsageError("restore: writes nothing by itself; add --dry and put back what it names")
    found = inventory.load(inventory_file, parsed(data))
    from underlay.features.fleet import fleet_of
    from underlay.features.preflight.asking import api
    from underlay.features.preflight.backup import read_backup, read_objects, read_parts
    from underlay.features.preflight.cluster_objects import configuration
    from underlay.features.preflight.copying import take
    from underlay.features.preflight.settings import Preflight
    from underlay.features.preflight.snapshot import differences, object_differences

    fleet = fleet_of(found)
    place = folder or next(iter(fleet)).section(Preflight).backup
    backup = read_backup(place)
    if backup.taken is None or backup.problems:
        problems = "; ".join(backup.problems) or "there is none"
        raise UsageError(f"{place}: no backup that can be restored ({problems}); take one first")
    objects = {}
    with Progress() as say, inventory.connected(found, say=say) as hosts:
        parts, failed = take(hosts, say)
        if backup.objects:
            say("asking the cluster", 0, 1)
            objects = configuration(api(hosts[0], fleet))
    different = 0
    for name in backup.hosts:
        if name not in parts:
            click.echo(
                f"{name}: not compared: {failed.get(name, 'not in the inventory')}", err=True
            )
            continue
        different += _tell(name, differences(read_parts(place, name), parts[name]))
    if backup.objects:
        different += _tell("cluster", object_differences(read_objects(place), objects))
    if failed:
        return ExitCode.UNREACHABLE
    return ExitCode.CHECKS_FAILED if different else ExitCode.PASSED


def _tell(name: str, found: Iterable[str]) -> int:
    """What is different at one node or in the cluster; how many lines."""
    lines = list(found)
    click.secho(f"{name}: {'as in the backup' if not lines else ''}".rstrip(), bold=True)
    for line in lines:
        click.echo(f"  {line}")
    return len(lines)
