"""Which path an object of the Kubernetes API has. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of object: its API version, its plural as in paths, whether it has a namespace."""

    version: str
    name: str
    plural: str
    namespaced: bool = True

    def path(self, name: str | None = None, namespace: str | None = None) -> str:
        """The path of one object, or of all of them when `name` is None."""
        root = f"/api/{self.version}" if "/" not in self.version else f"/apis/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
DAEMON_SET = Kind("apps/v1", "DaemonSet", "daemonsets")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
POD = Kind("v1", "Pod", "pods")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
ENDPOINTS = Kind("v1", "Endpoints", "endpoints")
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
ACCESS_REVIEW = Kind(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
    namespaced=False,
)  # fmt: skip
FELIX = Kind(
    "crd.projectcalico.org/v1", "FelixConfiguration", "felixconfigurations", namespaced=False
)
INSTALLATION = Kind("operator.tigera.io/v1", "Installation", "installations", namespaced=False)
_RBAC = "rbac.authorization.k8s.io/v1"
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
CLUSTER_ROLE = Kind(_RBAC, "ClusterRole", "clusterroles", namespaced=False)
ROLE = Kind(_RBAC, "Role", "roles")
ROLE_BINDING = Kind(_RBAC, "RoleBinding", "rolebindings")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CRD = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions",
    namespaced=False,
)  # fmt: skip
TIGERA_STATUS = Kind("operator.tigera.io/v1", "TigeraStatus", "tigerastatuses", namespaced=False)
API_SERVER = Kind("operator.tigera.io/v1", "APIServer", "apiservers", namespaced=False)
IP_POOL = Kind("crd.projectcalico.org/v1", "IPPool", "ippools", namespaced=False)
IP_POOL_V3 = Kind("projectcalico.org/v3", "IPPool", "ippools", namespaced=False)
FELIX_V3 = Kind(
    "projectcalico.org/v3", "FelixConfiguration", "felixconfigurations", namespaced=False
)
KINDS = (
    NAMESPACE,
    CLUSTER_ROLE,
    ROLE,
    ROLE_BINDING,
    DISRUPTION_BUDGET,
    CRD,
    TIGERA_STATUS,
    API_SERVER,
    IP_POOL,
    IP_POOL_V3,
    FELIX_V3,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    LEASE,
    ACCESS_REVIEW,
    FELIX,
    INSTALLATION,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    ENDPOINTS,
    CLUSTER_ROLE_BINDING,
)


def kind_of(version: str, name: str) -> Kind:
    """The Kind of an object's `apiVersion` and `kind`; KeyError for one nothing here applies."""
    for kind in KINDS:
        if (kind.version, kind.name) == (version, name):
            return kind
    raise KeyError(f"{version} {name}")
