"""Migrate kube-proxy to the mode that the inventory names, node by node, each one proved."""

from underlay.features.kube_proxy.deploy import migrate_to_mode

migrate_to_mode()
