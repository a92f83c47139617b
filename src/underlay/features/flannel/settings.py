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
    """flannel of the cluster [flannel, backends.md].

    version: release that is installed, one whose manifest the template was compared with {v0.28.6
        to v0.28.9} [flannel, releases].
    registry: where its images are {a registry and a path} [flannel, kube-flannel.yml].
    vni: number of the VXLAN network [RFC 7348; flannel, backends.md].
    port: UDP port of VXLAN [linux, drivers/net/vxlan; flannel, backends.md].
    wireguard_port: UDP port of the backend wireguard.
    wireguard_port_v6: UDP port of its second tunnel, for IPv6.
    wireguard_mode: whether both families have a tunnel each, or share one.
    keepalive_s: seconds between two keepalives of the backend wireguard, 0 for none.
    interface: interface that flannel uses, by its name {a name of an interface} [flannel,
        configuration.md].
    interface_regex: interface that flannel uses, by a regular expression on its name or address {a
        regular expression} [flannel, configuration.md].
    can_reach: interface that flannel uses, by the route to this address [flannel,
        configuration.md].
    by_node_address: interface that flannel uses, by `network.address` of each host [flannel,
        kubernetes.md].
    public_ips: host -> address that others reach it at, behind NAT [flannel, kubernetes.md].
    nftables: write flannel's rules with nft, which flannel calls experimental [flannel,
        configuration.md].
    ip_masq: masquerade what leaves the pod network [flannel, configuration.md].
    cni_bin: folder of the CNI's plugins on the nodes {an absolute path} [CNI specification].
    tx_queue_length: packets that the VXLAN device may queue for sending, none for the kernel's
        number [ip-link(8)].
    offload: feature of the VXLAN device -> whether it is on {names as `ethtool -k` shows them}
        [ethtool(8); flannel, troubleshooting.md].
    accept_cni_files: files of others in /etc/cni/net.d that may stay {each a file name} [CNI
        specification].
    take_over: field managers whose fields become ours {each a field manager} [Kubernetes,
        server-side apply].
    wait_s: seconds that all pods of flannel may take to run the new configuration, 0 waits for
        nothing [underlay].
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
