"""Install Calico, or bring the one that runs to the plan."""

from underlay.features.calico.deploy import install

install()
