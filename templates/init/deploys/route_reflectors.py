"""Replace Calico's BGP mesh by route reflectors, or bring it back, without losing a route."""

from underlay.features.route_reflectors.deploy import reflect

reflect()
