"""`underlay ipsec plan`, `import`, `peer`, `calico` and `service`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from underlay import inventory
from underlay.cli.data import DATA, parsed
from underlay.cli.terminal import say
from underlay.errors import UnderlayError, UsageError

if TYPE_CHECKING:
    from underlay.features.ipsec.settings import IPsec


@click.group("ipsec")
def command() -> None:
    """Look at the IPsec links of an inventory, and at what the other side needs.

    \b
    underlay ipsec plan inventory.py
    underlay ipsec peer inventory.py site-b > site-b.conf
    underlay ipsec import /etc/ipsec.conf
    """


@command.command("plan")
@click.argument("inventory_file", metavar="INVENTORY")
@DATA
def plan_command(*, inventory_file: str, data: tuple[str, ...]) -> None:
    """Show links, networks and packet sizes; no host is asked and no secret is read.

    \b
    underlay ipsec plan inventory.py
    """
    section = _section(inventory_file, data)
    from underlay.features.ipsec import plan

    head = ("link", "ends", "networks", "mode", "MTU", "MSS")
    rows = [
        (row.link, row.ends, row.networks, row.mode, str(row.mtu), str(row.mss))
        for row in plan.rows(section)
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        words = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        say("  ".join(words).rstrip())


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_command(*, file: Path) -> None:
    """Print FILE, an ipsec.conf, as the section `ipsec`, and what changes in meaning.

    \b
    underlay ipsec import /etc/ipsec.conf
    """
    from underlay.features.ipsec import legacy

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as text ({type(error).__name__})") from None
    try:
        found = legacy.convert(text)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    click.echo(found.text(), nl=False)


@command.command("peer")
@click.argument("inventory_file", metavar="INVENTORY")
@click.argument("link")
@DATA
@click.option(
    "--as", "form", type=click.Choice(["generic", "aws", "alibaba"]), default="generic",
    show_default=True, help="Whose names to use.",
)  # fmt: skip
def peer_command(*, inventory_file: str, link: str, data: tuple[str, ...], form: str) -> None:
    """Print what the far side of LINK must be set to; the secret is named, not shown.

    \b
    underlay ipsec peer inventory.py to-aws --as aws
    """
    section = _section(inventory_file, data, link)
    from underlay.features.ipsec import peer

    click.echo(peer.settings(link, section.present[link], form), nl=False)


@command.command("calico")
@click.argument("inventory_file", metavar="INVENTORY")
@click.argument("link")
@DATA
@click.option("--end", help="The end whose cluster gets them; by default the first of ours.")
@click.option("--bgp-peer", help="Also a BGPPeer: address of the other cluster's speaker.")
@click.option("--as-number", type=click.IntRange(1, 4294967295), help="Its AS number.")
@click.option("--nodes", default="all()", show_default=True, help="Selector of nodes that peer.")
def calico_command(
    *, inventory_file: str, link: str, data: tuple[str, ...], end: str | None,
    bgp_peer: str | None, as_number: int | None, nodes: str,
) -> None:  # fmt: skip
    """Print the disabled IPPools that keep pods' addresses over LINK, for kubectl apply.

    \b
    underlay ipsec calico inventory.py to-aws | kubectl apply -f -
    """
    section = _section(inventory_file, data, link)
    from underlay.features.ipsec import manifests

    found = section.present[link]
    side = end or found.managed[0]
    if side not in found.ends:
        raise click.UsageError(f"--end {side}: the ends of {link} are {', '.join(found.ends)}")
    if (bgp_peer is None) != (as_number is None):
        raise click.UsageError("--bgp-peer and --as-number belong together")
    objects = list(manifests.pools(link, found, side))
    if bgp_peer is not None and as_number is not None:
        objects.append(manifests.bgp_peer(link, _address(bgp_peer), as_number, nodes))
    click.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


@command.command("service")
@click.argument("name")
@click.option("--address", "addresses", multiple=True, required=True, help="May be repeated.")
@click.option("--port", "ports", multiple=True, required=True, help="PORT or PORT:THERE.")
@click.option("--namespace", default="default", show_default=True)
def service_command(
    *, name: str, addresses: tuple[str, ...], ports: tuple[str, ...], namespace: str
) -> None:
    """Print a Service for pods or a ClusterIP of the other cluster, for kubectl apply.

    \b
    underlay ipsec service remote-api --address 10.245.1.7 --port 80:8080
    """
    from underlay.features.ipsec import manifests

    pairs = {}
    for text in ports:
        port, _, there = text.partition(":")
        if not port.isdigit() or not (there or port).isdigit():
            raise click.UsageError(f"--port {text}: write it as 80 or 80:8080")
        if int(port) in pairs:
            raise click.UsageError(f"--port {text}: {port} is given twice; give it once")
        pairs[int(port)] = int(there or port)
    checked = tuple(_address(text) for text in addresses)
    try:
        objects = list(manifests.service(name, namespace, checked, pairs))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


def _address(text: str) -> str:
    from ipaddress import IPv4Address

    try:
        return str(IPv4Address(text))
    except ValueError:
        raise click.UsageError(f"{text}: no IPv4 address; write it as 10.245.1.7") from None


def _section(path: str, data: tuple[str, ...], link: str | None = None) -> IPsec:
    """The links of a checked inventory; an error when the one that is asked for is not there."""
    from underlay.features.fleet import fleet_of
    from underlay.features.ipsec.settings import IPsec

    for host in fleet_of(inventory.load(path, parsed(data))):
        section = host.section(IPsec)
        if section.present and (link is None or link in section.present):
            return section
    wanted = "no link is present" if link is None else f"no link {link} is present"
    raise UnderlayError(f"ipsec.links: {wanted} in {path}; see docs/ipsec.md")
