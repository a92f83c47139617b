"""Migrate kube-proxy to IPVS, node by node, each one proved before the next."""

from underlay.features.kube_proxy.deploy import migrate_to_ipvs

migrate_to_ipvs()
