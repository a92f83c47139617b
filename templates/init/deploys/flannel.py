"""Install flannel, or bring the one that runs to the plan."""

from underlay.features.flannel.deploy import install

install()
