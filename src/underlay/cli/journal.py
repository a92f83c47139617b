"""`underlay journal`: which changes were made on each host, and how far each came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.journal import Entry

#: Events that leave a change half made; a run of its deploy goes on from there.
_OPEN = {"snapshot", "switched"}


@click.command("journal")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@click.option("--host", "hosts", multiple=True, help="Only this host or group; may be repeated.")
@click.option("--change", help="Only this change, for example kube_proxy.")
@click.option("--all", "everything", is_flag=True, help="Every entry, not only the last.")
@DATA
@click.option("--json", "as_json", is_flag=True, help="docs/schemas/journal.json.")
def command(
    *,
    inventory_file: str,
    hosts: tuple[str, ...],
    change: str | None,
    everything: bool,
    data: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show who is where: the last entry of each change on each host.

    \b
    underlay journal inventory.py
    underlay journal inventory.py --change kube_proxy --all
    underlay journal inventory.py --json

    Exit code 3 when a change is half made on a host: run its deploy again, or its rollback.
    """
    from underlay.exit_codes import ExitCode
    from underlay.facts.journal import Journals

    found = inventory.load(inventory_file, parsed(data))
    report: list[dict[str, Any]] = []
    with Progress() as say, inventory.connected(found, hosts, say) as chosen:
        for number, host in enumerate(chosen):
            say("reading", number, len(chosen))
            journals = host.get_fact(Journals) or {}
            found_here = changes(journals, change, everything=everything or as_json)
            report.append({"name": host.name, "changes": found_here})
    half = any(entry["open"] for host in report for entry in host["changes"])
    if as_json:
        click.echo(json.dumps({"version": 1, "hosts": report}, indent=2))
    else:
        _print(report)
    return ExitCode.CHECKS_FAILED if half else ExitCode.PASSED


def changes(
    journals: Mapping[str, Sequence[Entry]], change: str | None, *, everything: bool
) -> list[dict[str, Any]]:
    """Each change of one host with its last entry or all of them; pure."""
    return [
        {
            "change": name,
            "open": entries[-1].event in _OPEN,
            "entries": [
                json.loads(entry.line()) for entry in (entries if everything else entries[-1:])
            ],
        }
        for name, entries in sorted(journals.items())
        if entries and change in (None, name)
    ]


def _print(report: list[dict[str, Any]]) -> None:
    for host in report:
        click.secho(host["name"], bold=True)
        if not host["changes"]:
            click.echo("  nothing was changed here")
        for change in host["changes"]:
            for entry in change["entries"]:
                click.echo(
                    f"  {change['change']:<14} {entry['at']}  {entry['event']:<12}"
                    f" {_words(entry['data'])}".rstrip()
                )
            if change["open"]:
                click.echo("      half made: run its deploy again to go on, or its rollback")


def _words(data: Mapping[str, Any]) -> str:
    """The few words of an entry that a person wants on one line."""
    words = [str(data["mode"])] if "mode" in data else []
    for key in ("previous", "loaded", "unloaded", "restored"):
        if isinstance(data.get(key), dict | list):
            words.append(f"{key} {len(data[key])}")
    for seen in data.get("watched") or []:
        words.append(
            f"{seen['target']}: {seen['failed']} of {seen['tries']} failed,"
            f" gap {seen['longest_gap_ms'] / 1000:.1f} s"
        )
    return "; ".join(words)
