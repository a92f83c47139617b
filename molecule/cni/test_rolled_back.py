"""flannel is what it was before the change that failed."""

import os

from test_applied import *  # noqa: F403 - the same must hold

from underlay.cluster.access import from_kubeconfig
from underlay.cluster.objects import DAEMON_SET
from underlay.lab import state


def test_the_version_of_before_runs():
    api = from_kubeconfig(state.load(os.environ["UNDERLAY_LAB"]).kubeconfig)
    found = api.find(DAEMON_SET, "kube-flannel-ds", "kube-flannel")
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [one["image"] for one in containers] == ["ghcr.io/flannel-io/flannel:v0.28.9"]
    assert found["status"]["numberReady"] == 3
