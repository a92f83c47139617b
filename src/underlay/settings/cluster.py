"""The shared `cluster` section: how the Kubernetes API is reached."""

from __future__ import annotations

from typing import ClassVar

from pydantic import field_validator

from underlay.settings.section import Section

#: Bytes of a path on Linux.
_LONGEST = 4095


class Cluster(Section):
    """By a kubeconfig on this computer, or over SSH with the admin.conf of a control-plane host.

    kubeconfig: file on this computer, none goes over SSH {a path} [Kubernetes, kubeconfig files].
    context: which context of that kubeconfig, none for its current one {a name in it} [Kubernetes,
        kubeconfig files].
    admin_conf: file on the hosts of the group `control_plane`, read where no kubeconfig is given
        {an absolute path} [kubeadm, constants.go].
    """

    KEY: ClassVar[str] = "cluster"

    kubeconfig: str | None = None
    context: str | None = None
    admin_conf: str = "/etc/kubernetes/admin.conf"

    @field_validator("admin_conf")
    @classmethod
    def _path(cls, found: str) -> str:
        if not found.startswith("/") or not found.isprintable() or len(found) > _LONGEST:
            raise ValueError("not an absolute path; write it from / on, on one line")
        return found
