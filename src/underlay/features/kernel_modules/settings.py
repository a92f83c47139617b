"""The `kernel_modules` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from underlay.facts.kernel import MODULE_NAME, normal
from underlay.settings import Section

#: What each need of the network takes. `kubernetes`: kubeadm's own list.
SETS: dict[str, tuple[str, ...]] = {
    "kubernetes": ("overlay", "br_netfilter"),
    "conntrack": ("nf_conntrack",),
    "ipvs": ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack"),
    "nftables": ("nf_tables", "nf_conntrack"),
    "wireguard": ("wireguard",),
    "vxlan": ("vxlan",),
    "ipip": ("ipip",),
    "ipsec": ("xfrm_user", "esp4", "xfrm_interface"),
    "bbr": ("tcp_bbr", "sch_fq"),
}

#: Parameters that are worth setting, with their range (kernel 6.1 and 6.12).
PARAMETERS: dict[str, tuple[int, int]] = {
    # IP_VS_TAB_BITS, ip_vs_conn.c; only on a fresh load
    "ip_vs.conn_tab_bits": (8, 27),
    # nf_conntrack_core.c; each bucket is 8 bytes
    "nf_conntrack.hashsize": (32, 16_777_216),
}


class KernelModules(Section):
    """Modules of one host [modules-load.d(5)].

    state: `absent` removes our files and unloads what we loaded [underlay].
    sets: groups of modules, by what needs them [kubeadm, container runtimes; KEP-3866; linux,
        drivers/net and net/netfilter].
    modules: more modules, as `lsmod` shows them {each a name of a module}.
    options: module -> parameter -> value {`ip_vs.conn_tab_bits` 8 to 27, `nf_conntrack.hashsize` 32
        to 16777216, others letters, digits and `,-_`} [modprobe.d(5); linux 6.12, ip_vs_conn.c and
        nf_conntrack_core.c].
    """

    KEY: ClassVar[str] = "kernel_modules"

    state: Literal["present", "absent"] = "present"
    sets: tuple[str, ...] = Field(
        default=(), json_schema_extra={"items": {"type": "string", "enum": [*SETS]}}
    )
    modules: tuple[str, ...] = ()
    options: dict[str, dict[str, int | str]] = Field(default_factory=dict)

    @field_validator("sets")
    @classmethod
    def _known_sets(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in found if name not in SETS]
        if unknown:
            raise ValueError(f"no set {unknown[0]!r}; use {', '.join(SETS)}")
        return found

    @field_validator("modules")
    @classmethod
    def _names(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for name in found:
            if not MODULE_NAME.fullmatch(name):
                raise ValueError(f"not a module name: {name!r}; write it as lsmod shows it")
        return tuple(normal(name) for name in found)

    @model_validator(mode="after")
    def _ranges(self) -> KernelModules:
        for module, parameters in self.options.items():
            for name, value in parameters.items():
                _check_parameter(f"{normal(module)}.{name}", value)
        return self

    def wanted(self) -> tuple[str, ...]:
        """Every module once, sets first."""
        if self.state == "absent":
            return ()
        named = [module for name in self.sets for module in SETS[name]]
        return tuple(dict.fromkeys([*named, *self.modules]))


def _check_parameter(name: str, value: int | str) -> None:
    module, _, parameter = name.partition(".")
    if not MODULE_NAME.fullmatch(module) or not MODULE_NAME.fullmatch(parameter):
        raise ValueError(f"not a module parameter: {name!r}; write module: {{parameter: value}}")
    if not str(value).replace("_", "").replace(",", "").replace("-", "").isalnum():
        raise ValueError(f"{name}: not a plain value: {value!r}; use letters, digits and , - _")
    limits = PARAMETERS.get(name)
    if limits and not (isinstance(value, int) and limits[0] <= value <= limits[1]):
        raise ValueError(f"{name}: {value!r} is out of range; use {limits[0]} to {limits[1]}")
