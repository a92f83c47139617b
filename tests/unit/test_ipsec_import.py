"""The guide's ipsec.conf as a section, the far side's settings, and Kubernetes objects."""

from __future__ import annotations

import ast
import re
from ipaddress import IPv4Network
from typing import Any, cast

import pytest
from tests.schemas import definitions, wrong

from underlay.errors import UsageError
from underlay.features.ipsec import legacy, manifests, peer
from underlay.features.ipsec.rules import RULES
from underlay.features.ipsec.settings import IPsec, Link
from underlay.settings import RawHost
from underlay.settings.network import Network
from underlay.settings.read import read_fleet

GUIDE = """
conn to-aws
    authby=secret
    left=203.0.113.1
    leftsubnet=10.244.0.0/16
    right=198.51.100.7
    rightsubnet=10.245.0.0/16
    ike=aes256-sha2_256-modp2048!
    esp=aes256-sha2_256!
    keyingtries=%forever
    auto=start
"""


def test_the_guides_file_becomes_a_section_that_is_valid() -> None:
    found = legacy.convert(GUIDE)
    link = Link.model_validate(found.links["to-aws"])
    assert link.proposals == ("aes256-sha256-modp2048",)
    assert link.esp_proposals == ("aes256-sha256",)
    assert [str(end.networks[0]) for end in link.ends.values()] == [
        "10.244.0.0/16",
        "10.245.0.0/16",
    ]
    assert link.psk is not None
    assert link.psk.file == "secrets/to-aws.psk"
    said = "\n".join(found.notes)
    for word in ("always strict", "no key exchange", "auto=start", "put the key of ipsec.secrets"):
        assert word in said
    assert "not translated" not in said


def test_the_text_is_python_that_says_the_same() -> None:
    found = legacy.convert(GUIDE)
    (statement,) = ast.parse(found.text()).body
    assert isinstance(statement, ast.Assign)
    section = ast.literal_eval(statement.value)
    assert IPsec.model_validate(section).links["to-aws"].ends["right"].address == "198.51.100.7"


def test_defaults_also_times_and_unknown_words_are_told() -> None:
    found = legacy.convert(
        "config setup\n  uniqueids=no\nconn %default\n  ikelifetime=8h\n  authby=secret\n"
        "conn base # of all\n  left=%defaultroute\n  leftid=@a.example\n  auto=add\n"
        "conn My_Net\n  also=base\n  right=192.0.2.9\n  ike=3des-sha1-modp1024\n"
        "  keylife=30m\n  dpddelay=20s\n  forceencaps=yes\n  mobike=yes\n"
        "include /etc/ipsec.d/*.conf\n"
    )
    assert list(found.links) == ["my-net"]
    link = found.links["my-net"]
    assert (link["rekey_s"], link["child_rekey_s"], link["dpd_delay_s"]) == (28800, 1800, 20)
    assert link["encapsulate"] is True
    assert Link.model_validate(link).ends["left"].identity == "@a.example"
    said = "\n".join(found.notes)
    for word in (
        "My_Net: is named my-net", "without `!`", "3des is weak", "mobike=yes is not translated",
        "auto=add", "no esp=", "config setup: uniqueids=no is not translated",
        "include /etc/ipsec.d/*.conf: is not followed", "left=%defaultroute: nobody calls this end",
        "no leftsubnet: name ends.left.networks", "9 minutes before",
    ):  # fmt: skip
        assert word in said, word


#: Two connections between the same gateways, as the old daemon has several children.
SEVERAL = """
conn %default
    authby=psk
    ike=aes256-sha256-modp2048!
    esp=aes256-sha256-modp2048!
    dpdaction=restart
    dpddelay=10s
conn nodes
    also=gateways
    leftsubnet=192.168.1.0/24,192.168.2.0/24
    rightsubnet=10.20.0.0/24
    auto=route
conn pods
    also=gateways
    leftsubnet=10.244.0.0/16
    rightsubnet=10.245.0.1/16
    auto=start
conn gateways
    left=203.0.113.1
    leftid="203.0.113.1"
    right=198.51.100.7
    rightid=@peer.example   # theirs
"""


def test_connections_between_the_same_ends_are_children_of_one_link() -> None:
    found = legacy.convert(SEVERAL)
    assert list(found.links) == ["nodes"]
    link = Link.model_validate(found.links["nodes"])
    assert {name: list(map(str, sides["left"])) for name, sides in link.children.items()} == {
        "nodes": ["192.168.1.0/24", "192.168.2.0/24"], "pods": ["10.244.0.0/16"],
    }  # fmt: skip
    assert list(map(str, link.ends["right"].networks)) == ["10.20.0.0/24", "10.245.0.0/16"]
    assert (link.ends["left"].identity, link.ends["right"].identity) == (None, "@peer.example")
    said = "\n".join(found.notes)
    for word in ("pods: is a child of link nodes", "10.245.0.1/16 is written as 10.245.0.0/16"):
        assert word in said
    assert "is not translated" not in said


def test_what_an_imported_file_says_is_an_inventory_without_problem() -> None:
    link = legacy.convert(SEVERAL).links["nodes"]
    ends = cast(dict[str, dict[str, Any]], link["ends"])
    ends["left"]["gateway"] = "gw"
    raw = [RawHost("gw", (), {"ipsec": {"links": {"nodes": link}}}, {})]
    fleet, problems = read_fleet(raw, [IPsec, Network])
    assert [*problems, *(problem for rule in RULES for problem in rule(fleet))] == []


CONN = "conn a\n  left=192.0.2.1\n  right=192.0.2.2\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no `conn`"),
        ("include /etc/ipsec.d/*.conf\n", "import these files, too"),
        ("[Interface]\n", "line 1: neither section nor keyword"),
        ("  left=192.0.2.1\n", "line 1: a keyword before any section"),
        ("conn a\n  left\n", "line 2: no `=`"),
        ("conn a\n  also=b\n", "line 2: conn a: also=b names no connection"),
        ("conn a\n  also=b\nconn b\n  also=a\n", "includes itself"),
        (
            "conn a\n  also=b\n  also=c\nconn b\n  auto=add\nconn c\n  auto=start\n",
            "line 3: conn a: also gives auto twice",
        ),
        (f"{CONN}  ikelifetime=soon\n", "line 4: no time: 'soon'"),
        (f"{CONN}  ikelifetime=1m\n", "conn a: ipsec.links.a.rekey_s: input should be greater"),
        (f"{CONN}  leftsubent=10.1.0.0/16\n", "line 4: no keyword 'leftsubent'; did you mean"),
        (f"{CONN}  keyexchange=ikev1\n", "line 4: keyexchange=ikev1: only IKEv2 is spoken"),
        (f"{CONN}  type=transport\n", "line 4: type=transport: only tunnels"),
        (f"{CONN}  auto=maybe\n", "line 4: auto=maybe: not known"),
        (f"{CONN}  rightauth=eap-mschapv2\n", "line 4: rightauth=eap-mschapv2: a link has a pre"),
        (f"{CONN}  leftauth=psk\n  rightauth=pubkey\n", "line 5: rightauth=pubkey: both ends"),
        (f"{CONN}  leftsubnet=10.1.0.0/16[tcp/80]\n", "line 4: '10.1.0.0/16[tcp/80]': no list"),
        (f"{CONN}  leftsubnet=fd00::/64\n", "line 4: fd00::/64: networks of a link are IPv4"),
        (
            "conn a\n  left=<local-gateway-ip>\n",
            "line 2: left=<local-gateway-ip>: neither address nor name",
        ),
        (
            f"{CONN}  auto=add\nconn b\n  also=a\n  esp=aes128-sha256\n",
            "line 5: conn b: joins the same ends as a with other settings",
        ),
        (
            f"{CONN}conn A\n  left=192.0.2.1\n  right=192.0.2.3\n",
            "line 4: conn A: another one is named a here; rename it",
        ),
    ],
)
def test_what_is_no_ipsec_conf_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        legacy.convert(text)
    assert refused.value.exit_code == 2


LINK = Link.model_validate(
    {
        "ends": {
            "here": {"gateway": "gw", "address": "203.0.113.1", "networks": ["10.244.0.0/16"]},
            "aws": {"address": "198.51.100.7", "networks": ["10.245.0.0/16"]},
        },
        "psk": {"env": "KEY"},
        "proposals": ["aes256-sha256-modp2048"],
        "esp_proposals": ["aes256-sha256-modp2048"],
    }
)


def test_the_far_side_in_three_dialects() -> None:
    generic = peer.settings("to-aws", LINK, "generic")
    assert "peer's address, identity    203.0.113.1, 203.0.113.1" in generic
    assert "aes256, sha256, group 14 (modp2048)" in generic
    assert "1438, 1398" in generic
    aws = peer.settings("to-aws", LINK, "aws")
    for line in (
        "IP address: 203.0.113.1", "Phase 1 encryption algorithms: AES256",
        "Phase 2 integrity algorithms: SHA2-256", "Phase 2 DH group numbers: 14",
        "Startup action: add",
    ):  # fmt: skip
        assert line in aws
    alibaba = peer.settings("to-aws", LINK, "alibaba")
    for line in (
        "IKE Encryption Algorithm: aes256", "IPsec DH Group: group14", "RemoteId: 203.0.113.1",
        "Local Network: 10.245.0.0/16", "IPsec Authentication Algorithm: sha256",
    ):  # fmt: skip
        assert line in alibaba


def test_what_a_cloud_does_not_have_is_said() -> None:
    link = LINK.model_copy(update={"esp_proposals": ("chacha20poly1305-curve25519",)})
    assert "it has no chacha20poly1305" in peer.settings("to-aws", link, "aws")


def test_a_cloud_gets_what_it_can_choose_from_our_defaults() -> None:
    """Ours begin with AES-GCM and ECP-384, which Alibaba Cloud does not offer."""
    link = Link.model_validate({**LINK.model_dump(exclude={"proposals", "esp_proposals"})})
    alibaba = peer.settings("to-aws", link, "alibaba")
    assert "it has no" not in alibaba
    for line in ("IKE Encryption Algorithm: aes256", "IKE DH Group: group14"):
        assert line in alibaba
    aws = peer.settings("to-aws", link, "aws")
    assert "Phase 1 encryption algorithms: AES256-GCM-16, AES256\n" in aws
    assert "Phase 2 DH group numbers: 20, 19, 14\n" in aws


def test_a_cloud_is_told_every_network_and_what_it_cannot_do() -> None:
    children = {
        "one": {"here": ["10.244.0.0/16"], "aws": ["10.245.0.0/16"]},
        "two": {"here": ["192.168.1.0/24"], "aws": ["10.246.0.0/16"]},
    }
    given = LINK.model_dump(exclude={"ends"}) | {
        "ends": {
            "here": {"gateway": "gw", "address": "203.0.113.1"}, "aws": {"address": "198.51.100.7"},
        },
        "children": children, "rekey_s": 86400, "allow_weak": True,
        "proposals": ["aes256-sha1-curve25519", "3des-md5-modp2048"],
    }  # fmt: skip
    aws = peer.settings("to-aws", Link.model_validate(given), "aws")
    for line in (
        "Static IP prefixes: 10.244.0.0/16, 192.168.1.0/24\n",
        "Local IPv4 network CIDR: 0.0.0.0/0", "Phase 1 integrity algorithms: SHA1 (it has no md5)",
        "Phase 1 DH group numbers: 14 (it has no curve25519)",
        "Phase 1 lifetime (seconds): 86400 (it takes 900 to 28800",
    ):  # fmt: skip
        assert line in aws
    alibaba = peer.settings("to-aws", Link.model_validate(given), "alibaba")
    for line in (
        "Remote Network: 10.244.0.0/16, 192.168.1.0/24\n", "IKE Encryption Algorithm: 3des\n",
        "IKE Authentication Algorithm: md5\n",
    ):  # fmt: skip
        assert line in alibaba


def test_pools_cover_the_far_side_and_give_no_address() -> None:
    (pool,) = manifests.pools("to-aws", LINK, "here")
    assert pool["metadata"]["name"] == "ipsec-to-aws-10-245-0-0-16"
    assert pool["spec"] == {"cidr": "10.245.0.0/16", "disabled": True, "natOutgoing": False}


def test_calico_takes_pools_of_networks_that_overlap_or_are_small() -> None:
    networks = ("10.245.0.0/16", "10.245.7.0/24", "192.168.7.16/28", "192.168.9.9/32")
    far = LINK.ends["aws"].model_copy(update={"networks": tuple(map(IPv4Network, networks))})
    link = LINK.model_copy(update={"ends": {**LINK.ends, "aws": far}})
    found = list(manifests.pools("to-aws", link, "here"))
    assert [(pool["spec"]["cidr"], pool["spec"].get("blockSize")) for pool in found] == [
        ("10.245.0.0/16", None), ("192.168.7.16/28", 28), ("192.168.9.9/32", 32),
    ]  # fmt: skip
    objects = [*found, manifests.bgp_peer("to-aws", "10.245.0.1", 64513, "all()")]
    assert [wrong(one, definitions()) for one in objects] == [[]] * 4


@pytest.mark.parametrize(
    ("name", "address", "port", "said"),
    [
        ("Remote_API", "10.245.1.7", 80, "no name of Kubernetes: 'Remote_API'"),
        ("api", "127.0.0.1", 80, "no address of a pod or Service"),
        ("api", "10.245.1.7", 70000, "no port: 70000"),
    ],
)
def test_a_service_that_kubernetes_would_refuse_is_refused(
    name: str, address: str, port: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        list(manifests.service(name, "default", (address,), {port: port}))


def test_a_remote_service_has_endpoints_instead_of_a_selector() -> None:
    service, slice_ = manifests.service("api", "shop", ("10.245.1.7",), {80: 8080})
    assert "selector" not in service["spec"]
    assert "externalName" not in service["spec"]
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "api"
    assert slice_["ports"] == [{"name": "p80", "port": 8080, "protocol": "TCP"}]
    assert slice_["endpoints"][0]["addresses"] == ["10.245.1.7"]


def test_a_bgp_peer_needs_an_address() -> None:
    spec = manifests.bgp_peer("to-aws", "10.245.0.1", 64513, "all()")["spec"]
    assert spec == {"peerIP": "10.245.0.1", "asNumber": 64513, "nodeSelector": "all()"}
    with pytest.raises(ValueError, match="cluster2"):
        manifests.bgp_peer("to-aws", "cluster2", 64513, "all()")
