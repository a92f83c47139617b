"""Bring the IPsec links of the inventory up, and take down what it no longer names."""

from underlay.features.ipsec.deploy import connect

connect()
