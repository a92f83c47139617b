"""`underlay lab box` and `underlay lab image`: what machines are made of, and what they run."""

from __future__ import annotations

from pathlib import Path

import click

from underlay.lab import state
from underlay.lab.progress import clock


@click.command("box")
@click.option("--suite", help="Debian suite of the box. Default: this computer's own.")
@click.option("--install/--no-install", default=True, help="Install missing packages by apt.")
def box_command(*, suite: str | None, install: bool) -> None:
    """Make a Vagrant box for libvirt from this computer's own apt sources; prints its path.

    \b
    underlay lab box --suite trixie
    vagrant box add --name underlay "$(underlay lab box)"
    """
    from underlay.lab.box import box

    click.echo(box(suite, clock(), install=install))


@click.command("image")
@click.option("--name", help="Which lab. Default: $UNDERLAY_LAB, else `lab`, else the only one.")
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...",
                type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
def image_command(*, name: str | None, archives: tuple[Path, ...]) -> None:
    """Give container images to every machine: a lab has no way to a registry.

    An ARCHIVE is what `docker save`, `podman save` or `skopeo copy` write (docker or OCI).

    \b
    underlay lab image flannel.tar flannel-cni-plugin.tar
    """
    from underlay.lab import container_images

    lab = state.load(name) if name else state.chosen()
    for line in container_images.load(lab, archives, clock()):
        click.echo(line)
