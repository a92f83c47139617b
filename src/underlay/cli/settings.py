"""`underlay settings`: what every host will get, and where each value came from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.settings.fleet import Fleet, RawHost
from underlay.settings.section import Section

DEFAULTS = "defaults"


@click.command("settings")
@click.argument("inventory_file", metavar="INVENTORY", type=click.Path())
@click.option("--host", "hosts", multiple=True, help="Only this host or group; may be repeated.")
@DATA
@click.option(
    "--json", "as_json", is_flag=True, help="Machine-readable; docs/schemas/settings.json."
)
def command(
    *, inventory_file: str, hosts: tuple[str, ...], data: tuple[str, ...], as_json: bool
) -> None:
    """Show what every host will get, and where each value came from.

    \b
    underlay settings inventory.py
    underlay settings inventory.py --host workers --data 'sysctl={"profiles": []}'

    A section is replaced as a whole: defaults, group_data/all.py, other groups, host, --data.
    """
    found = inventory.load(inventory_file, parsed(data))
    chosen = [host.name for host in inventory.chosen(found, hosts)]
    # the features are imported late, because with pyinfra they take most of a second
    from underlay.features.fleet import fleet_of, raw_hosts

    fleet = fleet_of(found)
    raw = {host.name: host for host in raw_hosts(found) if host.name in chosen}
    rows = {name: list(_rows(fleet, raw[name])) for name in chosen}
    if as_json:
        click.echo(
            json.dumps({"version": 1, "hosts": [_json(raw[n], rows[n]) for n in chosen]}, indent=2)
        )
        return
    for name in chosen:
        click.secho(f"{name}  ({', '.join(raw[name].groups)})", bold=True)
        width = max(len(row["key"]) for row in rows[name])
        for row in rows[name]:
            for line in _lines(row, width, shutil.get_terminal_size((120, 24)).columns):
                click.echo(line)


def _rows(fleet: Fleet, host: RawHost) -> Iterator[dict[str, Any]]:
    for section in fleet.hosts[host.name].sections.values():
        source = host.sources.get(section.KEY, DEFAULTS)
        for key, value in _leaves(section):
            given = _named(host.data.get(section.KEY), key.split("."))
            yield {
                "key": f"{section.KEY}.{key}",
                "value": value,
                "source": source if given else DEFAULTS,
            }


def _named(given: object, path: list[str]) -> bool:
    """Whether the inventory itself names the key at this path of a section."""
    for part in path:
        if not isinstance(given, Mapping) or part not in given:
            return False
        given = given[part]
    return True


def _leaves(section: Section) -> Iterator[tuple[str, Any]]:
    """Fields of a section; nested sections by dotted path, mappings of free keys as one value."""
    for name, value in section.model_dump(mode="json").items():
        field = getattr(section, name)
        if isinstance(value, dict) and hasattr(field, "model_dump"):
            for inner, found in value.items():
                yield f"{name}.{inner}", found
        else:
            yield name, value


def _json(host: RawHost, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": host.name, "groups": list(host.groups), "settings": rows}


def _lines(row: Mapping[str, Any], width: int, columns: int) -> Iterator[str]:
    """One line, or two where one is wider than the terminal; a long value is cut."""
    key, value, source = row["key"], json.dumps(row["value"]), f"[{row['source']}]"
    if len(value) > 70:
        value = f"{value[:67]}..."
    line = f"  {key:<{width}}  {value}  {source}"
    if len(line) <= columns:
        yield line
        return
    yield f"  {key}"
    room = max(12, columns - len(source) - 8)
    value = value if len(value) <= room else f"{value[: room - 3]}..."
    yield f"      {value}  {source}"
