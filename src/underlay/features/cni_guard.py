"""What another CNI, or the same one at an earlier time, has left behind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from underlay.facts.cni import CniNode

#: name of a workload -> the CNI it belongs to
CNIS = {
    "calico-node": "Calico", "canal": "Canal", "tigera-operator": "Calico",
    "kube-flannel-ds": "flannel", "kube-flannel": "flannel", "cilium": "Cilium",
    "weave-net": "Weave Net", "antrea-agent": "Antrea", "kube-router": "kube-router",
    "kube-ovn-cni": "Kube-OVN", "aws-node": "the AWS CNI", "kindnet": "kindnet",
}  # fmt: skip
#: start of a device's name -> whose it is
DEVICES = {
    "cali": "Calico", "vxlan.calico": "Calico", "wireguard.cali": "Calico",
    "flannel": "flannel", "cilium": "Cilium", "lxc": "Cilium", "weave": "Weave Net",
    "antrea": "Antrea", "ovn0": "Kube-OVN",
}  # fmt: skip
#: From one CNI to another while pods run: (from, to) -> the one way there is.
WAYS = {
    (
        "flannel",
        "Calico",
    ): "Calico's migration controller moves a VXLAN flannel of two or more nodes"
    " (see its documentation of migration from flannel)",
}


def workloads(found: Iterable[Mapping[str, Any]], own: str) -> Iterator[str]:
    """Another CNI that runs; own: the name of the CNI to be installed."""
    for one in found:
        name, place = str(one["metadata"]["name"]), str(one["metadata"].get("namespace", ""))
        whose = CNIS.get(name)
        if whose is not None and whose != own:
            way = WAYS.get((whose, own), "build new nodes, or a new cluster, without it")
            yield f"{whose} runs here ({place}/{name}); a CNI is not changed in place: {way}"


def files(names: Sequence[str], ours: str, accepted: Sequence[str], section: str) -> Iterator[str]:
    """Files in /etc/cni/net.d; a runtime takes the first name, so what sorts before ours wins."""
    for name in names:
        if name == ours or not name.endswith((".conf", ".conflist", ".json")):
            continue
        if name < ours:
            yield f"/etc/cni/net.d/{name} sorts before {ours} and would win; move it away"
        elif name not in accepted:
            yield (
                f"/etc/cni/net.d/{name} is another CNI's; move it away, or name it in"
                f" {section}.accept_cni_files when it may stay"
            )


def devices(found: CniNode, *own: str) -> Iterator[str]:
    """The first device of another CNI than these."""
    for name in sorted(found.devices):
        whose = next((cni for start, cni in DEVICES.items() if name.startswith(start)), own[0])
        if whose not in own:
            yield f"the device {name} of {whose} is still there; reboot the node, or delete it"
            return


def too_small(found: CniNode, address: str, wanted: int) -> Iterator[str]:
    """The interface beneath the CNI must carry what the plan counts on."""
    for device in found.devices.values():
        if address and address in device.addresses and device.mtu < wanted:
            yield (
                f"{device.name} carries {device.mtu} bytes and the plan counts on {wanted}; set its"
                f" MTU, or network.mtu to {device.mtu}"
            )


def old_pods(found: CniNode, mtu: int) -> dict[str, int]:
    """Address -> MTU of pods that have another one than planned."""
    return {address: size for address, size in found.pods.items() if size != mtu}


def told(old: Mapping[str, int], names: Mapping[str, str], mtu: int) -> str:
    """The sentence about such pods; names: address -> `namespace/name`."""
    named = sorted(f"{names.get(address, address)} ({size})" for address, size in old.items())
    more = f" and {len(named) - 20} more" if len(named) > 20 else ""
    listed = ", ".join(named[:20])
    return f"pods with another MTU than {mtu}, until they are made again: {listed}{more}"
