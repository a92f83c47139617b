"""Look at every node and the network between them; end the hosts that are not ready."""

from underlay.features.preflight.deploy import preflight

preflight()
