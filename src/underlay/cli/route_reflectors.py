"""`underlay route-reflectors plan`: topology, sessions and routes, the mesh against reflectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.cli.terminal import say
from underlay.errors import UnderlayError, UsageError
from underlay.exit_codes import ExitCode

_ROWS = (
    ("sessions", "BGP sessions in all"),
    ("sessions_per_node", "sessions of a node"),
    ("sessions_per_reflector", "sessions of a reflector"),
    ("routes_per_node", "routes of a node"),
    ("copies_per_node", "copies of routes a node is told"),
    ("copies_per_reflector", "copies a reflector is told"),
    ("copies", "copies in all"),
    ("updates_per_change", "updates when one block moves"),
)


@click.group("route-reflectors")
def command() -> None:
    """Look at the BGP route reflectors of an inventory.

    \b
    underlay route-reflectors plan inventory.py
    underlay route-reflectors plan inventory.py --live
    """


@command.command("plan")
@click.argument("inventory_file", metavar="INVENTORY")
@DATA
@click.option("--live", is_flag=True, help="Ask the cluster for nodes, labels and peers.")
@click.option("--nodes", type=click.IntRange(1, 2000), help="As if there were so many nodes.")
@click.option("--blocks", default=1, type=click.IntRange(1, 1000), help="Pod blocks of a node.")
@click.option("--json", "as_json", is_flag=True, help="docs/schemas/route-reflectors.json.")
def plan_command(
    *,
    inventory_file: str,
    data: tuple[str, ...],
    live: bool,
    nodes: int | None,
    blocks: int,
    as_json: bool,
) -> int:
    """Show groups, BGPPeers, sessions and routes, and what is cut off while a reflector is down.

    \b
    underlay route-reflectors plan inventory.py
    underlay route-reflectors plan inventory.py --live       as the cluster is now
    underlay route-reflectors plan inventory.py --nodes 300  how it grows

    Exit code 3 when a route would not reach every node.
    """
    if live and nodes:
        raise UsageError("--nodes: the cluster says how many there are; leave it or --live out")
    found = _report(inventory.load(inventory_file, parsed(data)), live, nodes, blocks)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    return ExitCode.CHECKS_FAILED if found["cut_off"] else ExitCode.PASSED


def _report(loaded: Any, live: bool, nodes: int | None, blocks: int) -> dict[str, Any]:
    from underlay.features.fleet import fleet_of
    from underlay.features.route_reflectors import plan, report, view
    from underlay.features.route_reflectors.deploy import node_names, store_of
    from underlay.features.route_reflectors.settings import RouteReflectors
    from underlay.settings.cluster import Cluster

    first = next(iter(fleet_of(loaded)))
    settings = first.section(RouteReflectors)
    if not first.names(RouteReflectors):
        raise UnderlayError(
            "route_reflectors: no such section in this inventory; see docs/route-reflectors.md"
        )
    node_of = node_names(loaded)
    target = plan.wanted(settings, node_of)
    if live:
        with Progress() as progress, _api(loaded, first.section(Cluster), progress) as api:
            progress("asking the cluster", 0, 1)
            now = view.read(api, store_of(api), settings.label)
            return report.report(settings, now.layout, now.state, target, blocks=blocks)
    _only_labels_of_ours(settings)
    layout = plan.imagined(settings, list(node_of.values()), nodes or 0)
    return report.report(settings, layout, plan.State(mesh=True), target, blocks=blocks)


@contextmanager
def _api(loaded: Any, settings: Any, progress: Progress) -> Iterator[Any]:
    """By the kubeconfig, or through a control-plane host; no other host is connected."""
    from underlay.cluster.access import from_kubeconfig
    from underlay.cluster.of_run import GROUP, api_of

    if settings.kubeconfig is not None:
        yield from_kubeconfig(Path(settings.kubeconfig).expanduser(), settings.context)
        return
    with inventory.connected(loaded, (GROUP,), progress) as hosts:
        yield api_of(hosts[0].state, settings)


def _only_labels_of_ours(settings: Any) -> None:
    from underlay.features.route_reflectors import selector

    for name, group in settings.groups.items():
        unknown = selector.keys(group.clients) - {settings.label, "kubernetes.io/hostname"}
        if unknown:
            raise UsageError(
                f"route_reflectors.groups.{name}.clients: looks at the label {min(unknown)}, which"
                " only the cluster knows; add --live"
            )


def _print(found: dict[str, Any]) -> None:
    say(f"{found['nodes']} nodes, AS {found['as_number']}, {found['blocks_per_node']} block")
    for group in found["groups"]:
        names = ", ".join(group["reflectors"])
        say(f"  {group['name']}: {group['cluster_id']} on {names}; {group['clients']} nodes")
    for peer in found["peers"]:
        say(f"  BGPPeer {peer['name']}: {json.dumps(peer['spec'])}")
    say(f"\n{'':34}{'mesh':>10}{'planned':>10}")
    for key, title in _ROWS:
        say(f"{title:34}{found['mesh'][key]:>10}{found['planned'][key]:>10}")
    click.echo("")
    for name, cut in found["cut_off_while_down"].items():
        what = f"{len(cut)} nodes miss routes, as {cut[0]}" if cut else "every route stays"
        say(f"{name} down: {what}")
    if found["cut_off"]:
        say(f"{len(found['cut_off'])} nodes miss routes, as {found['cut_off'][0]}")
    for line in found["changes"]:
        say(f"  {line}")
