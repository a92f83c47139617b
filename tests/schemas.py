"""Objects against schemas: upstream's definitions where this computer has them, else our own few.

A definition of Kubernetes drops what it does not know; here, what it does not know is an error.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.upstream import upstream

Schema = dict[str, Any]

_TEXT, _BOOL, _INT = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}


def _closed(**fields: Any) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": fields}


def _one_of(*words: str) -> Schema:
    return {"enum": list(words)}


_MODE = _one_of("Always", "CrossSubnet", "Never")
_SWITCH = _one_of("Enabled", "Disabled")
#: By kind: `spec` as the documentation of Calico v3.32 says.
OWN: dict[str, Schema] = {
    "Installation": _closed(
        variant=_TEXT, registry=_TEXT, typhaMetricsPort=_INT,
        calicoNetwork=_closed(
            bgp=_SWITCH, mtu=_INT, linuxDataplane=_one_of("Iptables", "BPF", "VPP", "Nftables"),
            nodeAddressAutodetectionV4=_closed(
                kubernetes=_one_of("NodeInternalIP"), interface=_TEXT,
                cidrs={"type": "array", "items": _TEXT},
            ),
            nodeAddressAutodetectionV6=_closed(kubernetes=_one_of("NodeInternalIP")),
            ipPools={
                "type": "array", "maxItems": 25,
                "items": _closed(
                    name=_TEXT, cidr=_TEXT, blockSize=_INT, natOutgoing=_SWITCH, nodeSelector=_TEXT,
                    disableBGPExport=_BOOL,
                    encapsulation=_one_of(
                        "IPIPCrossSubnet", "IPIP", "VXLAN", "VXLANCrossSubnet", "None"
                    ),
                ),
            },
        ),
    ),
    "APIServer": _closed(),
    # the fields that a test sets, each with another kind of limit
    "FelixConfiguration": _closed(
        iptablesRefreshInterval={"type": "string", "pattern": "^([0-9]+(ms|s|m|h))*$"},
        chainInsertMode=_one_of("Insert", "Append"), ipForwarding=_SWITCH, vxlanVNI=_INT,
        removeExternalRoutes=_BOOL, wireguardEnabled=_BOOL, wireguardEnabledV6=_BOOL,
        prometheusMetricsEnabled=_BOOL,
        prometheusMetricsPort=_INT,
    ),
    "IPPool": _closed(
        cidr=_TEXT, blockSize={"type": "integer", "minimum": 20, "maximum": 128}, ipipMode=_MODE,
        vxlanMode=_MODE, natOutgoing=_BOOL, nodeSelector=_TEXT, disableBGPExport=_BOOL,
    ),
}  # fmt: skip


@cache
def definitions() -> dict[str, Schema]:
    """Kind -> schema of its `spec`, from upstream's definitions."""
    path = upstream("calico/v3.32.1/operator-crds.yaml")
    found = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for one in yaml.load_all(path.read_text(), loader):
        if one:
            schema = one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            found[one["spec"]["names"]["kind"]] = _strict(schema["properties"].get("spec", {}))
    return found


def _strict(schema: Any) -> Any:
    """Unknown fields refused; patterns of Go as Python writes them."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: {name: _strict(one) for name, one in value.items()}
        if key == "properties"
        else _strict(value)
        for key, value in schema.items()
        if not (key == "format" and not isinstance(value, dict))
    }
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        found["pattern"] = pattern.replace("^(?i)", "(?i)^")
    if isinstance(found.get("properties"), dict) and "additionalProperties" not in found:
        found["additionalProperties"] = bool(found.get("x-kubernetes-preserve-unknown-fields"))
    return found


def wrong(found: dict[str, Any], schemas: dict[str, Schema]) -> list[str]:
    """What a schema says against an object."""
    validator = Draft202012Validator(schemas[found["kind"]])
    return [error.message for error in validator.iter_errors(found.get("spec", {}))]
