"""The `calico` section: the same for every host. Addresses and encapsulation are `network`'s."""

from __future__ import annotations

import difflib
import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from underlay.features.calico.upstream import FELIX, TIMES, WORDS
from underlay.settings import Part, Section
from underlay.settings.network import Cidr
from underlay.settings.registry import Registry

_VERSION = re.compile(r"v\d+\.\d+\.\d+")
_SUM = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"([0-9]+(ms|s|m|h))+")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


PoolEncapsulation = Literal["none", "vxlan", "vxlan-cross-subnet", "ipip", "ipip-cross-subnet"]


class Pool(Part):
    """One IP pool [Calico, IPPool].

    cidr: network of the pool's addresses.
    block_size: prefix length of the blocks that nodes take, none for 26, in IPv6 122 {20 to 32,
        IPv6 116 to 128}.
    encapsulation: what the pool's packets are wrapped in, none for `network.encapsulation`.
    nat_outgoing: masquerade what leaves all pools.
    node_selector: nodes that take blocks of this pool {a selector of Calico}.
    disable_bgp_export: tell no BGP peer of this pool.
    """

    cidr: Cidr
    block_size: int | None = Field(default=None, ge=20, le=128)
    encapsulation: PoolEncapsulation | None = None
    nat_outgoing: bool = True
    node_selector: str = "all()"
    disable_bgp_export: bool = False


class Calico(Section):
    """Calico of the cluster.

    install: how Calico is installed, `canal` is policy only over flannel [Calico, installation].
    version: release that is installed {`vN.N.N`} [Calico, releases].
    sums: file -> its sha256, for a release that underlay does not know {each 64 hexadecimal digits}
        [underlay].
    manifests: where upstream's files are, none for upstream {a URL or a folder} [Calico,
        manifests].
    registry: registry in place of upstream's {a registry and a path} [Calico, Installation
        registry].
    pools: name -> pool, none for one of `network.pod_cidr` and one of `pod_cidr_v6` [Calico,
        IPPool].
    dataplane: how Felix writes its rules, none for the one that goes with kube-proxy's mode
        [Calico, Installation linuxDataplane].
    felix: field of FelixConfiguration -> value {a switch, a number, a time or a word, as the field
        takes it} [Calico, FelixConfiguration].
    metrics: let Felix and Typha answer Prometheus, with a Service for it [Calico,
        FelixConfiguration prometheusMetricsEnabled].
    api_server: serve projectcalico.org/v3, by the operator [Calico, APIServer].
    typha_from: number of nodes from which a plain manifest brings Typha [Calico, installation].
    accept_cni_files: files of others in /etc/cni/net.d that may stay {each a file name} [CNI
        specification].
    take_over: field managers whose fields become ours {each a field manager} [Kubernetes,
        server-side apply].
    wait_s: seconds that all pods of Calico may take to run, 0 waits for nothing [underlay].
    """

    KEY: ClassVar[str] = "calico"

    install: Literal["operator", "manifest", "canal"] = "operator"
    version: str = "v3.32.1"
    sums: dict[str, str] = Field(default_factory=dict)
    manifests: str | None = None
    registry: Registry | None = None
    pools: dict[str, Pool] = Field(default_factory=dict)
    dataplane: Literal["iptables", "nftables"] | None = None
    felix: dict[str, bool | int | str] = Field(default_factory=dict)
    metrics: bool = False
    api_server: bool = True
    typha_from: int = Field(default=50, ge=1)
    accept_cni_files: tuple[str, ...] = ()
    take_over: tuple[str, ...] = ()
    wait_s: int = Field(default=600, ge=0, le=3600)

    @field_validator("version")
    @classmethod
    def _version(cls, found: str) -> str:
        if not _VERSION.fullmatch(found):
            raise ValueError(f"not a release: {found!r}; write it as v3.32.1")
        return found

    @field_validator("sums")
    @classmethod
    def _sums(cls, found: dict[str, str]) -> dict[str, str]:
        for name, text in found.items():
            if not _SUM.fullmatch(text):
                raise ValueError(f"{name}: not a sha256: {text!r}; take it from sha256sum")
        return found

    @field_validator("pools")
    @classmethod
    def _names(cls, found: dict[str, Pool]) -> dict[str, Pool]:
        for name in found:
            if not _NAME.fullmatch(name):
                raise ValueError(f"not a name of an object: {name!r}; use a-z, 0-9, - and .")
        return found

    @field_validator("felix")
    @classmethod
    def _felix(cls, found: dict[str, bool | int | str]) -> dict[str, bool | int | str]:
        for name, value in found.items():
            kind = FELIX.get(name)
            if kind is None:
                close = difflib.get_close_matches(name, FELIX, n=1)
                do = f"did you mean {close[0]!r}?" if close else "see docs/calico.md for those"
                raise ValueError(f"Felix has no {name!r} that is set here; {do}")
            if type(value) is not kind:
                raise ValueError(f"{name}: not {kind.__name__}: {value!r}; correct it")
            words = WORDS.get(name, ())
            if words and value not in words:
                raise ValueError(f"{name}: no such word: {value!r}; use one of {', '.join(words)}")
            if name in TIMES and not _TIME.fullmatch(str(value)):
                raise ValueError(f"{name}: not a time: {value!r}; write it as 90s, 1m30s or 500ms")
        return found
