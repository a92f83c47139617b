"""`underlay advise`: which CNI, proxy mode and reflectors suit, and the settings to paste."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from underlay import inventory
from underlay.advice.model import Need, Situation
from underlay.advice.report import advise, as_data, as_text
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.cli.terminal import columns
from underlay.errors import ClusterError, UsageError
from underlay.exit_codes import ExitCode


@click.command("advise")
@click.argument("inventory_file", metavar="INVENTORY")
@click.option(
    "--need", "needs", multiple=True, metavar="NEED",
    type=click.Choice([need.value for need in Need]),
    help=f"What it is meant for: {', '.join(need.value for need in Need)}. May be repeated.",
)  # fmt: skip
@click.option("--nodes", type=click.IntRange(1), help="As many as are planned, if more than now.")
@click.option("--services", type=click.IntRange(0), help="As many as are planned.")
@click.option("--kubernetes", metavar="1.34", help="Version, where no cluster can be asked.")
@click.option("--kernel", metavar="5.10", help="Of the oldest node, where no cluster can be asked.")
@click.option("--cluster/--no-cluster", default=True, help="Ask the running cluster, or only plan.")
@click.option("--json", "as_json", is_flag=True, help="For programs: docs/schemas/advice.json.")
@DATA
def command(
    *,
    inventory_file: str,
    needs: tuple[str, ...],
    nodes: int | None,
    services: int | None,
    kubernetes: str | None,
    kernel: str | None,
    cluster: bool,
    as_json: bool,
    data: tuple[str, ...],
) -> int:
    """Advise on CNI, packet size, reflectors and proxy mode, each with its reasons and sources.

    \b
    underlay advise inventory.py
    underlay advise inventory.py --need network-policy --nodes 300
    underlay advise inventory.py --no-cluster --kubernetes 1.34 --kernel 5.10

    Nothing is changed. Without a cluster it says what it does not know and what follows from that.
    """
    found = inventory.load(inventory_file, parsed(data))
    from underlay.features.advising import situation
    from underlay.features.fleet import fleet_of

    version, oldest = (
        _version("--kubernetes", kubernetes, "1.34"),
        _version("--kernel", kernel, "5.10"),
    )
    now = situation(fleet_of(found), [Need(need) for need in needs])
    if cluster:
        with Progress() as say:
            now = _asked(found, now, say)
    now = replace(
        now, nodes=max(now.nodes, nodes or 0), kubernetes=version or now.kubernetes,
        kernel=oldest or now.kernel,
        services=services if services is not None else now.services,
    )  # fmt: skip
    advice = advise(now)
    given = _given(found)
    if as_json:
        click.echo(json.dumps(as_data(now, advice, inventory_file, given), indent=2))
    else:
        click.echo(as_text(now, advice, inventory_file, given, columns()), nl=False)
    return ExitCode.PASSED


def _version(option: str, text: str | None, example: str) -> tuple[int, int] | None:
    from underlay.features.advising import dotted

    found = dotted(text) if text else None
    if text and found is None:
        raise UsageError(f"{option}: not a version (got {text!r}); write it as {example}")
    return found


def _asked(found: Any, now: Situation, say: Progress) -> Situation:
    """With what the cluster says; that it cannot be asked is a note, not an error."""
    from underlay.cluster.access import from_kubeconfig
    from underlay.cluster.of_run import GROUP, api_of
    from underlay.features.advising import with_cluster
    from underlay.features.fleet import fleet_of
    from underlay.settings.cluster import Cluster

    settings = next(iter(fleet_of(found))).section(Cluster)
    try:
        if settings.kubeconfig is not None:
            path = Path(settings.kubeconfig).expanduser()
            say("asking the cluster", 0, 1)
            return with_cluster(now, from_kubeconfig(path, settings.context))
        if not now.control_plane:
            raise ClusterError(f"no host in the group {GROUP} and no cluster.kubeconfig")
        with inventory.reached(found, (GROUP,), say) as (hosts, lost):
            if not hosts:
                names = ", ".join(lost)
                raise ClusterError(f"{names}: not reachable over SSH")
            say("asking the cluster", 0, 1)
            return with_cluster(now, api_of(hosts[0].state, settings))
    except ClusterError as error:
        said = " ".join(line.strip() for line in str(error).splitlines())
        return replace(now, notes=(*now.notes, f"the cluster was not asked: {said}"))


def _given(found: Any) -> Mapping[str, Mapping[str, Any]]:
    """The sections of group_data/all.py as they are written there."""
    return {key: value for key, value in found.data.items() if isinstance(value, dict)}
