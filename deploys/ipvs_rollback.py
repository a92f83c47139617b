"""Return kube-proxy to what it was before IPVS, and leave nothing of IPVS behind."""

from underlay.features.kube_proxy.deploy import roll_back_from_ipvs

roll_back_from_ipvs()
