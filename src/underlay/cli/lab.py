"""`underlay lab`: machines on this computer to rehearse on."""

from __future__ import annotations

import click


@click.group("lab")
def command() -> None:
    """Real machines on one computer, beside a real Kubernetes control plane."""
