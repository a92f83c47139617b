"""flannel: what is rendered, against upstream's own manifest; what is refused; the device."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.upstream import upstream

from underlay.facts.cni import CniNode, Device, Way
from underlay.features import all_sections, cni_guard
from underlay.features import net_conf as flannel_conf
from underlay.features.address_plan import plan_of
from underlay.features.flannel import addresses, guard, plan
from underlay.features.flannel.rules import problems
from underlay.features.flannel.settings import VERSIONS, Flannel
from underlay.operations import flannel_device
from underlay.operations.flannel_device import script
from underlay.settings import Fleet, RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet, read_section

NETWORK: dict[str, Any] = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "mtu": 1500}
UPSTREAM = upstream("flannel/v0.28.9/kube-flannel.yml")


def fleet(flannel: dict[str, Any] | None = None, more: Any = None, **network: Any) -> Fleet:
    """Two hosts."""
    data = {"flannel": flannel or {}, "network": {**NETWORK, **network}, **(more or {})}
    hosts = [RawHost(name, ("all",), data, {}) for name in ("w1", "w2")]
    found, wrong = read_fleet(hosts, all_sections())
    assert wrong == []
    return found


def objects(flannel: dict[str, Any] | None = None, **network: Any) -> dict[str, dict[str, Any]]:
    """Kind -> rendered object."""
    found = fleet(flannel, **network)
    assert list(problems(found)) == []
    planned = plan_of(found)
    assert planned is not None
    settings = next(iter(found)).section(Flannel)
    return {one["kind"]: one for one in plan.objects(settings, planned)}


def net_conf(flannel: dict[str, Any] | None = None, **network: Any) -> dict[str, Any]:
    """The rendered net-conf.json."""
    text = objects(flannel, **network)["ConfigMap"]["data"]["net-conf.json"]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("encapsulation", "backend"),
    [
        ("none", {"Type": "host-gw"}),
        ("vxlan", {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1500}),
        ("vxlan-cross-subnet", {"Type": "vxlan", "VNI": 1, "Port": 8472, "DirectRouting": True,
                                "MTU": 1500}),
        ("ipip", {"Type": "ipip"}),
        ("ipip-cross-subnet", {"Type": "ipip", "DirectRouting": True}),
        ("wireguard", {"Type": "wireguard", "ListenPort": 51820, "ListenPortV6": 51821,
                       "Mode": "separate", "PersistentKeepaliveInterval": 0, "MTU": 1500}),
    ],
)  # fmt: skip
def test_every_backend(encapsulation: str, backend: dict[str, Any]) -> None:
    assert net_conf(encapsulation=encapsulation)["Backend"] == backend


def test_the_value_is_what_lies_beneath_the_encapsulation() -> None:
    assert net_conf(pod_mtu=1350)["Backend"]["MTU"] == 1400


def test_dual_stack_and_nftables() -> None:
    found = net_conf({"nftables": True}, pod_cidr_v6="fd00:10:244::/56")
    assert found["EnableIPv6"] is True
    assert found["IPv6Network"] == "fd00:10:244::/56"
    assert found["EnableNFTables"] is True


@pytest.mark.parametrize(
    ("flannel", "arguments"),
    [
        ({}, ["--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081"]),
        ({"ip_masq": False, "version": "v0.28.8"}, ["--kube-subnet-mgr"]),
        ({"interface": "bond0"}, ["--iface=bond0"]),
        ({"interface_regex": "^192\\.0\\.2\\."}, ["--iface-regex=^192\\.0\\.2\\."]),
        ({"can_reach": "192.0.2.1"}, ["--iface-can-reach=192.0.2.1"]),
    ],
)
def test_arguments(flannel: dict[str, Any], arguments: list[str]) -> None:
    found = objects(flannel)["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert found[-len(arguments) :] == arguments


@pytest.mark.parametrize("version", VERSIONS)
def test_images_come_from_the_registry_that_is_named(version: str) -> None:
    spec = objects({"version": version, "registry": "registry.example/net/"})["DaemonSet"]["spec"]
    pod = spec["template"]["spec"]
    images = {one["image"] for one in (*pod["initContainers"], *pod["containers"])}
    assert images == {
        f"registry.example/net/flannel:{version}",
        f"registry.example/net/flannel-cni-plugin:{VERSIONS[version]}",
    }


def test_a_new_configuration_is_a_new_pod() -> None:
    marks = {
        objects(mtu=mtu)["DaemonSet"]["spec"]["template"]["metadata"]["annotations"][
            "underlay.dev/configuration"
        ]
        for mtu in (1400, 1500, 1400)
    }
    assert len(marks) == 2


def test_nothing_else_differs_from_the_manifest_of_upstream() -> None:
    theirs = {one["kind"]: one for one in yaml.safe_load_all(UPSTREAM.read_text())}
    ours = objects({"version": "v0.28.9"})
    del ours["DaemonSet"]["spec"]["template"]["metadata"]["annotations"]
    for found in (theirs, ours):
        data = found["ConfigMap"]["data"]
        found["ConfigMap"]["data"] = {name: json.loads(text) for name, text in data.items()}
    backend = ours["ConfigMap"]["data"]["net-conf.json"]["Backend"]
    # flannel's defaults, said
    assert (backend.pop("VNI"), backend.pop("Port"), backend.pop("MTU")) == (1, 8472, 1500)
    assert ours == theirs


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.36"])
@pytest.mark.parametrize("probes", ["v0.28.8", "v0.28.9"])
def test_every_object_is_what_kubernetes_says(version: str, probes: str) -> None:
    for one in objects({"version": probes}, pod_cidr_v6="fd00:10:244::/56").values():
        kubernetes_validate.validate(one, version, strict=True)
    wrong = objects()["DaemonSet"]
    wrong["spec"]["template"]["spec"]["hostNetwerk"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


OVERLAY = {
    "overlay_cidr": "10.200.0.0/24", "hubs": ["w1"], "accept_single_hub": True, "port": 51820,
    "nodes": {name: {"address": f"10.200.0.{n}", "endpoint": f"192.0.2.{n}:51820"}
              for n, name in enumerate(("w1", "w2"), 1)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("flannel", "network", "sentence"),
    [
        ({}, {"cni": "none"}, "network.cni: flannel is to be installed (got 'none')"),
        ({}, {"pod_cidr": None}, "network.pod_cidr: flannel needs it"),
        ({}, {"pod_mtu": 1480}, "network.pod_mtu: larger than its path leaves"),
        ({}, {"encapsulation": "udp"}, "copies every packet through a process"),
        ({}, {"encapsulation": "ipsec"}, "stale policies"),
        ({"tx_queue_length": 1000}, {"encapsulation": "none"}, "is for the VXLAN device"),
        ({"interface": "eth0", "can_reach": "192.0.2.1"}, {}, "interface is given too"),
        ({"interface": "eth0"}, {"transport": "wg0"}, "flannel.interface: network.transport is"),
        ({"public_ips": {"w9": "203.0.113.1"}}, {}, "public_ips.w9: no host of that name"),
        (
            {"public_ips": {"w1": "203.0.113.1", "w2": "203.0.113.1"}},
            {},
            "public_ips.w2: is the address of w1",
        ),
        ({"public_ips": {"w1": "127.0.0.1"}}, {}, "public_ips.w1: is the address of no host"),
        ({"public_ips": {"w1": "169.254.1.1"}}, {}, "public_ips.w1: is link-local"),
        ({"public_ips": {"w1": "10.244.3.4"}}, {}, "public_ips.w1: lies in pod_cidr"),
        ({"public_ips": {"w1": "2001:db8::1"}}, {}, "is IPv6, and flannel has no IPv6"),
        ({"public_ips": {"w1": "203.0.113.1"}}, {"encapsulation": "none"}, "as a gateway"),
        ({"by_node_address": True}, {}, "network.address: flannel.by_node_address needs it"),
        ({}, {"encapsulation": "wireguard", "transport": None}, "the overlay wg0 listens there"),
    ],
)
def test_bad_input(flannel: dict[str, Any], network: dict[str, Any], sentence: str) -> None:
    more = {"wireguard": {"overlays": {"wg0": OVERLAY}}}
    assert sentence in "\n".join(map(str, problems(fleet(flannel, more, **network))))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"version": "v0.27.0"}, "no template for 'v0.27.0'; use one of v0.28.6"),
        ({"interface": "-x"}, "not an interface name"),
        ({"interface_regex": "("}, "not a regular expression"),
        ({"offload": {"a b": False}}, "not a feature"),
        ({"vni": 16_777_216}, "less than or equal to 16777215"),
        ({"psk": "x"}, "no such setting"),
    ],
)
def test_bad_values(section: dict[str, Any], sentence: str) -> None:
    _, found = read_section("w1", section, Flannel)
    assert sentence in "\n".join(f"{p.what}; {p.do}" for p in found)


def test_an_address_of_another_node_is_no_public_one() -> None:
    own = {"w2": {"network": {**NETWORK, "address": "192.0.2.2"}}}
    data = {"flannel": {"public_ips": {"w1": "192.0.2.2"}}, "network": NETWORK}
    hosts = [RawHost(n, ("all",), {**data, **own.get(n, {})}, {}) for n in ("w1", "w2")]
    found, _ = read_fleet(hosts, all_sections())
    assert "public_ips.w1: is the address of w2" in "\n".join(map(str, problems(found)))


def test_annotations_of_both_families() -> None:
    shared = {"by_node_address": True, "public_ips": {"w1": "203.0.113.7"}}
    six = {"pod_cidr_v6": "fd00::/56", "address": "192.0.2.1", "address_v6": "2001:db8::1"}
    host = next(iter(fleet(shared, **six)))
    prefix = "flannel.alpha.coreos.com/"
    assert addresses.of_node(host) == {
        f"{prefix}node-public-ip": "192.0.2.1", f"{prefix}node-public-ipv6": "2001:db8::1",
        f"{prefix}public-ip-overwrite": "203.0.113.7",
    }  # fmt: skip
    wanted = addresses.of_node(host)
    there = frozenset({"192.0.2.1", "2001:db8::1"})
    assert list(addresses.not_there(wanted, there)) == []
    told = "".join(addresses.not_there(wanted, there - {"192.0.2.1"}))
    assert "no interface has 192.0.2.1, by which flannel is to choose one" in told


def test_an_unknown_backend() -> None:
    _, found = read_section("w1", {"encapsulation": "geneve"}, Network)
    assert "network.encapsulation" in str(found[0])


READY = CniNode({}, ("10-flannel.conflist",), frozenset({"bridge"}), (True, True))
WANTED = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}


def live(text: str) -> dict[str, Any]:
    """A ConfigMap with this net-conf.json."""
    meta = {"namespace": "kube-flannel", "name": "kube-flannel-cfg"}
    return {"metadata": meta, "data": {"net-conf.json": text}}


def test_a_backend_that_is_absent_means_udp() -> None:
    found = list(flannel_conf.refusals(WANTED, live('{"Network": "10.244.0.0/16"}')))
    assert len(found) == 1
    assert "Backend.Type is 'udp' and would become 'vxlan'" in found[0]


def test_keys_are_compared_as_flannel_does() -> None:
    text = '{"network": "10.244.0.0/16", "backend": {"type": "VXLAN", "vni": 1, "port": 8472}}'
    assert list(flannel_conf.refusals(WANTED, live(text))) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Backend": 1}'])
def test_a_net_conf_that_cannot_be_read_is_told(text: str) -> None:
    assert "is no JSON object" in "".join(flannel_conf.refusals(WANTED, live(text)))


@pytest.mark.parametrize(
    ("ways", "sentence"),
    [
        ({"192.0.2.2": Way("eth0", "", neighbour=True)}, ""),
        (
            {"198.51.100.2": Way("eth0", "192.0.2.1", neighbour=False)},
            "behind the router 192.0.2.1",
        ),
        ({"192.0.2.9": Way("eth0", "", neighbour=False)}, "does not answer on eth0"),
    ],
)
def test_host_gw_needs_one_link(ways: dict[str, Way], sentence: str) -> None:
    found = "\n".join(guard.not_on_link(CniNode({}, (), frozenset(), None, ways=ways)))
    assert sentence in found
    assert bool(found) == bool(sentence)


def test_an_interface_that_carries_less_than_planned() -> None:
    node = CniNode({"eth0": Device("eth0", 1400, 1000, ("192.0.2.1",))}, (), frozenset(), None)
    assert "eth0 carries 1400 bytes" in "".join(cni_guard.too_small(node, "192.0.2.1", 1500))
    assert list(cni_guard.too_small(node, "192.0.2.1", 1400)) == []


def test_a_file_that_sorts_later_may_stay_when_that_is_said() -> None:
    node = CniNode({}, ("10-flannel.conflist", "99-old.conf"), frozenset({"bridge"}), (True, True))
    section = Network(**NETWORK)
    assert "is another CNI's" in "".join(guard.node_refusals(node, Flannel(), section))
    said = Flannel(accept_cni_files=("99-old.conf",))
    assert list(guard.node_refusals(node, said, section)) == []


DEVICE = Device("flannel.1", 1450, 1000)


@pytest.mark.parametrize(
    ("flannel", "network", "names"),
    [
        ({}, {}, ["flannel.1"]),
        ({"vni": 7}, {"pod_cidr_v6": "fd00::/56"}, ["flannel.7", "flannel-v6.7"]),
        ({}, {"pod_cidr_v6": "fd00::/56", "encapsulation": "none"}, []),
        ({}, {"encapsulation": "wireguard"}, ["flannel-wg"]),
        ({}, {"encapsulation": "wireguard", "pod_cidr_v6": "fd00::/56"},
         ["flannel-wg", "flannel-wg-v6"]),
        ({"wireguard_mode": "auto"}, {"encapsulation": "wireguard", "pod_cidr_v6": "fd00::/56"},
         ["flannel-wg"]),
        ({}, {"encapsulation": "ipip"}, ["flannel.ipip"]),
    ],
)  # fmt: skip
def test_the_devices_of_every_backend(
    flannel: dict[str, Any], network: dict[str, Any], names: list[str]
) -> None:
    found = fleet(flannel, **network)
    planned = plan_of(found)
    assert planned is not None
    devices = flannel_conf.devices(next(iter(found)).section(Flannel), planned)
    assert [one.name for one in devices] == names
    assert len({one.rule for one in devices}) == len(names)


def test_a_device_as_planned_needs_nothing() -> None:
    node = CniNode({"flannel.1": DEVICE}, (), frozenset(), None)
    assert script(node, flannel_device.Device("flannel.1", 1450)) == ""
    assert script(CniNode({}, (), frozenset(), None), flannel_device.Device("flannel.1", 1)) == ""


def test_a_script_undoes_what_it_did_and_is_a_shell_text() -> None:
    off = {"tx-checksum-ip-generic": True}
    node = CniNode(
        {"flannel.1": DEVICE},
        (),
        frozenset(),
        None,
        offload=off,
        tools={"ethtool": "/sbin/ethtool"},
    )
    wanted = flannel_device.Device("flannel.1", 1350, 5000, {"tx-checksum-ip-generic": False})
    text = script(node, wanted)
    subprocess.run(["sh", "-n", "-c", text], check=True)
    undo = text.splitlines()[1]
    assert "mtu 1450" in undo
    assert "txqueuelen 1000" in undo
    assert "tx-checksum-ip-generic on" in undo
    done = CniNode(
        {"flannel.1": Device("flannel.1", 1350, 5000)}, (), frozenset(), None,
        offload={"tx-checksum-ip-generic": False}, tools={"ethtool": "/sbin/ethtool"},
        rule=flannel_device.rule_text(node, wanted),
    )  # fmt: skip
    assert script(done, wanted) == ""
    # nothing wanted any more: the rule goes
    assert "rm -f /etc/udev" in script(done, flannel_device.Device("flannel.1", 1350))


def test_ethtool_that_is_missing_and_a_feature_that_is_not_there() -> None:
    wanted = flannel_device.Device("flannel.1", 1450, None, {"nonsense": False})
    node = CniNode({"flannel.1": DEVICE}, (), frozenset(), None)
    assert "ethtool is not installed" in flannel_device.refusals(node, wanted)[0]
    node = CniNode({"flannel.1": DEVICE}, (), frozenset(), None, tools={"ethtool": "/sbin/ethtool"})
    assert "has no such feature" in flannel_device.refusals(node, wanted)[0]
