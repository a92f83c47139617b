"""The Kubernetes API: how it is reached, and the few verbs a deploy needs.

The rule: nothing else talks to an API server, and every failure is a ClusterError that names the
verb, the object and the remedy.
"""

from __future__ import annotations

from underlay.cluster.api import Api, Object
from underlay.cluster.objects import Kind

__all__ = ["Api", "Kind", "Object"]
