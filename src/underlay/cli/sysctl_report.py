"""`underlay sysctl-report`: for every declared setting, who sets it now and at boot."""

from __future__ import annotations

import json
from typing import Any

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress


@click.command("sysctl-report")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@click.option("--host", "hosts", multiple=True, help="Only this host or group; may be repeated.")
@DATA
@click.option("--json", "as_json", is_flag=True, help="docs/schemas/sysctl-report.json.")
def command(
    *, inventory_file: str, hosts: tuple[str, ...], data: tuple[str, ...], as_json: bool
) -> int:
    """Show declared, live and boot-time value of each setting, and who else writes it.

    \b
    underlay sysctl-report inventory.py
    underlay sysctl-report inventory.py --host workers --json

    Exit code 3 when a live value or the winner at boot differs from what is declared.
    """
    from underlay.exit_codes import ExitCode
    from underlay.facts.sysctl import Sysctls
    from underlay.features.fleet import load
    from underlay.features.sysctl.report import rows
    from underlay.features.sysctl.settings import Sysctl
    from underlay.operations.sysctl_script import CHANGE, PATH

    found = inventory.load(inventory_file, parsed(data))
    report: list[dict[str, Any]] = []
    with Progress() as say, inventory.connected(found, hosts, say) as chosen:
        for number, host in enumerate(chosen):
            say("reading", number, len(chosen))
            wanted = load(host, Sysctl).wanted()
            fact = host.get_fact(Sysctls, keys=tuple(wanted), path=PATH, change=CHANGE)
            report.append({"name": host.name, "settings": rows(fact, wanted)})
    wrong = any(row["status"] != "ok" for host in report for row in host["settings"])
    if as_json:
        click.echo(json.dumps({"version": 1, "hosts": report}, indent=2))
    else:
        _print(report)
    return ExitCode.CHECKS_FAILED if wrong else ExitCode.PASSED


def _print(report: list[dict[str, Any]]) -> None:
    for host in report:
        click.secho(host["name"], bold=True)
        for row in host["settings"]:
            sign = "✓" if row["status"] == "ok" else "✗"
            click.echo(f"  {sign} {row['key']} = {row['declared']}  (live {row['live']})")
            for line in row["boot"]:
                wins = "  <- wins at boot" if line["wins"] else ""
                click.echo(f"      {line['path']}: {line['value']}{wins}")
            for writer in row["writers"]:
                click.echo(f"      also written by {writer}")
