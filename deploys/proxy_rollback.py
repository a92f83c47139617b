"""Return kube-proxy to what it was before its last migration."""

from underlay.features.kube_proxy.deploy import roll_back

roll_back()
