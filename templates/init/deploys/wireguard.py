"""Bring the WireGuard overlays of the inventory up, and take down what it no longer names."""

from underlay.features.wireguard.deploy import connect

connect()
