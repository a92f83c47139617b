"""`underlay backup`: the CNI's configuration of every node, into a folder on this computer."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.exit_codes import ExitCode


@click.command("backup")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@click.option("--output", help="Folder. Default: preflight.backup of the inventory.")
@DATA
def command(*, inventory_file: str, output: str | None, data: tuple[str, ...]) -> int:
    """Take CNI files, firewall rules and CNI objects of every node; nothing is changed there.

    \b
    underlay backup inventory.py
    underlay backup inventory.py --output backups/monday

    An earlier backup in the folder is replaced only when every node was read, and where a kubelet
    runs, the cluster too. Exit code 5 when a node was not read, 1 when the cluster was not.
    """
    found = inventory.load(inventory_file, parsed(data))
    from underlay.features.fleet import fleet_of
    from underlay.features.preflight.asking import api
    from underlay.features.preflight.backup import write_backup
    from underlay.features.preflight.cluster_objects import configuration
    from underlay.features.preflight.copying import take
    from underlay.features.preflight.settings import Preflight
    from underlay.features.preflight.snapshot import runs_kubelet

    fleet = fleet_of(found)
    folder = output or next(iter(fleet)).section(Preflight).backup
    objects = {}
    with Progress() as say, inventory.connected(found, say=say) as hosts:
        parts, failed = take(hosts, say)
        joined = any(runs_kubelet(each) for each in parts.values())
        if joined and not failed:
            say("asking the cluster", 0, 1)
            objects = configuration(api(hosts[0], fleet))
    for name, reason in failed.items():
        click.echo(f"{name}: not taken: {reason}", err=True)
    if failed:
        click.echo(f"{folder}: left as it was; see the nodes above", err=True)
        return ExitCode.UNREACHABLE
    count = write_backup(folder, datetime.now(timezone.utc), parts, objects)
    cluster = f", {len(objects)} of the cluster" if objects else ""
    click.echo(f"{folder}: {count} files, {len(parts)} nodes{cluster}")
    return ExitCode.PASSED
