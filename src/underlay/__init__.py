"""Provision, tune, migrate and verify the network beneath Kubernetes pods."""

__version__ = "0.1.0"
