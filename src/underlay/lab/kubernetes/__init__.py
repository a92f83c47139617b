"""A real Kubernetes for a lab: the control plane natively in the namespace, kubelets on machines.

Only `config` knows how versions differ.
"""
