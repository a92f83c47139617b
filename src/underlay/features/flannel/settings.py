"""The `flannel` section: the same for every host. Addresses and encapsulation are `network`'s."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from underlay.settings import Section
from underlay.settings.network import Address
from underlay.settings.registry import Registry

#: version of flannel -> of its CNI plugin, as its own manifests pair them
VERSIONS = {
    "v0.28.6": "v1.9.1-flannel2",
    "v0.28.7": "v1.9.1-flannel2",
    "v0.28.8": "v1.9.1-flannel2",
    "v0.28.9": "v1.9.1-flannel3",
}

_FEATURE = re.compile(r"[a-z0-9][a-z0-9-]{1,60}")
_INTERFACE = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}")


class Flannel(Section):
    """flannel of the cluster.

    version: a release that a template was compared with; registry: where its images are; vni, port:
    of VXLAN; wireguard_port, wireguard_port_v6, wireguard_mode: of the backend wireguard, its ports
    and whether both families share a tunnel; keepalive_s: 0 for none; interface, interface_regex,
    can_reach: flannel's own ways to choose the interface; by_node_address: choose it by
    network.address of each host; public_ips: host -> address that others reach it at, behind NAT;
    nftables: flannel's rules in nft (experimental there); ip_masq: masquerade what leaves the pod
    network; cni_bin: folder of the plugins on the nodes; tx_queue_length, offload: of the VXLAN
    device, offload: ethtool feature -> on; accept_cni_files: files in /etc/cni/net.d of others that
    may stay; take_over: field managers whose fields become ours; wait_s: for all pods of flannel.
    """

    KEY: ClassVar[str] = "flannel"

    version: str = "v0.28.9"
    registry: Registry = "ghcr.io/flannel-io"
    vni: int = Field(default=1, ge=1, le=16_777_215)
    port: int = Field(default=8472, ge=1, le=65535)
    wireguard_port: int = Field(default=51820, ge=1, le=65535)
    wireguard_port_v6: int = Field(default=51821, ge=1, le=65535)
    wireguard_mode: Literal["separate", "auto", "ipv4", "ipv6"] = "separate"
    keepalive_s: int = Field(default=0, ge=0, le=3600)
    interface: str | None = None
    interface_regex: str | None = None
    can_reach: Address | None = None
    by_node_address: bool = False
    public_ips: dict[str, Address] = Field(default_factory=dict)
    nftables: bool = False
    ip_masq: bool = True
    cni_bin: str = Field(default="/opt/cni/bin", pattern=r"^/[A-Za-z0-9/_.-]+$")
    tx_queue_length: int | None = Field(default=None, ge=100, le=1_000_000)
    offload: dict[str, bool] = Field(default_factory=dict)
    accept_cni_files: tuple[str, ...] = ()
    take_over: tuple[str, ...] = ()
    wait_s: int = Field(default=300, ge=0, le=3600)

    @field_validator("version")
    @classmethod
    def _version(cls, found: str) -> str:
        if found not in VERSIONS:
            raise ValueError(f"no template for {found!r}; use one of {', '.join(VERSIONS)}")
        return found

    @field_validator("interface")
    @classmethod
    def _interface(cls, found: str | None) -> str | None:
        if found is not None and not _INTERFACE.fullmatch(found):
            raise ValueError(f"not an interface name: {found!r}; write it as ip link shows it")
        return found

    @field_validator("interface_regex")
    @classmethod
    def _regex(cls, found: str | None) -> str | None:
        try:
            re.compile(found or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error}); correct it") from error
        return found

    @field_validator("offload")
    @classmethod
    def _offload(cls, found: dict[str, bool]) -> dict[str, bool]:
        for name in found:
            if not _FEATURE.fullmatch(name):
                raise ValueError(f"not a feature: {name!r}; write it as ethtool -k shows it")
        return found
