"""`underlay plan`: the chain of packet sizes of every node, from the inventory alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.terminal import say
from underlay.errors import UsageError

if TYPE_CHECKING:
    from underlay.features.address_plan import Plan


@click.command("plan")
@click.argument("inventory_file", metavar="INVENTORY")
@DATA
@click.option("--json", "as_json", is_flag=True, help="Machine-readable; docs/schemas/plan.json.")
def command(*, inventory_file: str, data: tuple[str, ...], as_json: bool) -> None:
    """Show each node's chain underlay, tunnel, CNI, pods; no host is asked.

    \b
    underlay plan inventory.py
    underlay plan inventory.py --json

    A plan that cannot work is refused with every problem, and exit code 2.
    """
    found = inventory.load(inventory_file, parsed(data))
    from underlay.features.address_plan import plan_of, problems
    from underlay.features.calico import rules as calico
    from underlay.features.flannel import rules as flannel
    from underlay.features.fleet import fleet_of
    from underlay.settings import refuse

    fleet = fleet_of(found)
    # pools, backends and ports of a CNI that the inventory is to install belong to the plan
    refuse([*problems(fleet), *flannel.installable(fleet), *calico.installable(fleet)])
    plan = plan_of(fleet)
    if plan is None:
        raise UsageError(f"{inventory_file}: no host has a section network; see docs/plan.md")
    if as_json:
        click.echo(json.dumps(report(plan), indent=2))
        return
    for line in lines(plan):
        say(line)


def report(plan: Plan) -> dict[str, Any]:
    """The document of docs/schemas/plan.json."""
    section = plan.network
    return {
        "version": 1,
        "cni": section.cni,
        "encapsulation": section.encapsulation,
        "pod_cidrs": [cidr for cidr in (section.pod_cidr, section.pod_cidr_v6) if cidr],
        "pod_mtu": plan.pod_mtu,
        "cni_setting": (
            {"name": plan.value[0], "value": plan.value[1]} if plan.value is not None else None
        ),
        "nodes": [
            {
                "name": node.name,
                "address": node.address or None,
                "most": node.room,
                "chain": [
                    {"name": hop.name, "takes": hop.overhead, "mtu": hop.mtu} for hop in node.hops
                ],
            }
            for node in plan.nodes
        ],
        "advice": list(plan.advice),
    }


def lines(plan: Plan) -> list[str]:
    """For people: one line for each node, then what the CNI is told."""
    section = plan.network
    wide = max(len(node.name) for node in plan.nodes)
    far = max(len(node.address) for node in plan.nodes)
    nodes = [f"{node.name:<{wide}}  {node.address:<{far}}  {node}" for node in plan.nodes]
    told = f"pods get {plan.pod_mtu} everywhere"
    if plan.value is not None:
        told += f"; {section.cni} is told {plan.value[0]} {plan.value[1]}"
    return [*nodes, told, *(f"  {text}" for text in plan.advice)]
