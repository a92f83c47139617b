"""The shared `cluster` section: how the Kubernetes API is reached."""

from __future__ import annotations

from typing import ClassVar

from underlay.settings.section import Section


class Cluster(Section):
    """By a kubeconfig on this computer, or over SSH with the admin.conf of a control-plane host.

    kubeconfig: path on this computer; None goes over SSH. context: of that kubeconfig, None for its
    current one. admin_conf: path on the hosts of the group `control_plane`.
    """

    KEY: ClassVar[str] = "cluster"

    kubeconfig: str | None = None
    context: str | None = None
    admin_conf: str = "/etc/kubernetes/admin.conf"
