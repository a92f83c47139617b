"""The shared `cluster` section: how the Kubernetes API is reached."""

from __future__ import annotations

from typing import ClassVar

from underlay.settings.section import Section


class Cluster(Section):
    """By a kubeconfig on this computer, or over SSH with the admin.conf of a control-plane host.

    kubeconfig: file on this computer, none goes over SSH {a path} [Kubernetes, kubeconfig files].
    context: which context of that kubeconfig, none for its current one {a name in it} [Kubernetes,
        kubeconfig files].
    admin_conf: file on the hosts of the group `control_plane`, read where no kubeconfig is given {a
        path} [kubeadm, constants.go].
    """

    KEY: ClassVar[str] = "cluster"

    kubeconfig: str | None = None
    context: str | None = None
    admin_conf: str = "/etc/kubernetes/admin.conf"
