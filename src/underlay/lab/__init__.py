"""Real machines on one computer: virtual machines, their networks and a real Kubernetes.

The rule: everything a lab does stays inside its own network namespace and its own state folder, so
that labs run side by side and `down` leaves nothing behind. Knows no feature.
"""
