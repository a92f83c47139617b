"""How a gateway differs from its plan, from what one really printed (strongSwan 5.9.8, nft)."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from underlay.facts.ipsec import IPsecHost, parse, readings
from underlay.facts.ipsec_host import BEFORE, FOLDER, Host, Interface, Route, Selectors
from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import Link
from underlay.operations import ipsec_script
from underlay.operations.ipsec_plan import (
    HELPER,
    SHARED,
    compare,
    digest,
    shared_files,
    texts,
)
from underlay.operations.ipsec_proof import reason, unforeseen_nat
from underlay.operations.ipsec_refusals import notes, path_may_change, refusals
from underlay.operations.ipsec_rules import HOOKS, chain, live_exemption, rules
from underlay.operations.ipsec_tunnel import Tunnel
from underlay.render import source

LINK = Link.model_validate(
    {
        "ends": {
            "a": {
                "gateway": "a-gw", "address": "192.0.2.1", "networks": ["10.10.0.0/24"],
                "nodes": ["a1"], "inside": "10.10.0.1",
            },
            "b": {"gateway": "b-gw", "address": "192.0.2.2", "networks": ["10.20.0.0/24"]},
        },
        "psk": {"env": "KEY"},
    }
)  # fmt: skip
GATEWAY = plan.tunnel("a-b", LINK, "a-gw")
NODE = plan.tunnel("a-b", LINK, "a1")
RAW = (
    "list-sa event {a-b {uniqueid=2 version=2 state=ESTABLISHED local-host=192.0.2.1"
    " local-port=4500 local-id=192.0.2.1 remote-host=192.0.2.2 remote-port=4500"
    " remote-id=192.0.2.2 initiator=yes initiator-spi=f5e80f15c371dc97"
    " responder-spi=8b5616ae61c6b168 encr-alg=AES_GCM_16 encr-keysize=256"
    " prf-alg=PRF_HMAC_SHA2_384 dh-group=ECP_384 established=1 rekey-time=13054 child-sas {"
    "net-4 {name=net uniqueid=4 reqid=1 state=DELETED mode=TUNNEL protocol=ESP spi-in=5664f2ca"
    " local-ts=[10.10.0.0/24] remote-ts=[10.20.0.0/24]} "
    "net-5 {name=net uniqueid=5 reqid=1 state=INSTALLED mode=TUNNEL protocol=ESP spi-in=dbd93385"
    " encr-alg=AES_GCM_16 install-time=1 local-ts=[10.10.0.0/24] remote-ts=[10.20.0.0/24]}}}}"
)
CONNS = (
    "list-conn event {a-b {local_addrs=[192.0.2.1] remote_addrs=[192.0.2.2] version=IKEv2"
    " children {net {mode=TUNNEL local-ts=[10.10.0.0/24] remote-ts=[10.20.0.0/24]}}}}"
)


def _readings(wanted: Tunnel) -> dict[str, list[str]]:
    """What a host prints that is as wanted."""
    lines: dict[str, list[str]] = {name: [] for name in readings(())}
    lines["tools"] = ["swanctl", "ip", "iptables", "iptables-restore", "flock", "systemctl"]
    lines["daemon"] = [
        "version strongSwan swanctl 5.9.8",
        "strongswan enabled active",
        "strongswan-starter disabled inactive",
    ]
    lines["included"] = ["include conf.d/*.conf"]
    lines["algorithms"] = ["encryption:", "  AES_CBC[aesni]", "ke:", "  ECP_384[openssl]"]
    lines["loaded"] = [CONNS, "list-conns reply {}"]
    lines["associations"] = [RAW, "list-sas reply {}"]
    for path, (text, _) in texts(wanted).items():
        lines["files"] += [f"{Path(path).name}:{line}" for line in text.splitlines()]
    lines["hashes"] = [f"{digest(source(name))}  {path}" for path, (name, _) in SHARED.items()]
    lines["units"] = ["enabled", "active"]
    for kind, (table, start, _) in HOOKS.items():
        if kind in rules(wanted):
            lines["rules"].append(f"{table} -A {start} -j {chain(kind, 'a-b')}")
            own = chain(kind, "a-b")
            lines["rules"] += [f"{table} -A {own} {rule}" for rule in rules(wanted)[kind]]
    lines["rules"].append("nat -A POSTROUTING -s 10.244.0.0/16 -j MASQUERADE")
    if wanted.via:
        lines["table"] = ["10.20.0.0/24 via 10.10.0.1 dev eth1 mtu 1438 "]
        lines["ruled"] = ["218:\tfrom all lookup 218"]
    lines["nft"] = ["usable", *_nft(wanted)]
    lines["forward"] = ["1"]
    lines["main"] = [
        "default via 10.77.0.1 dev eth0 ",
        "10.10.0.0/24 dev eth1 proto kernel scope link src 10.10.0.1 ",
    ]
    lines["ssh"] = ["10.77.0.1 5000 10.77.0.10 22", "10.77.0.1 dev eth0 src 10.77.0.10 uid 0 "]
    return lines


def _nft(wanted: Tunnel) -> list[str]:
    """Our table as nft 1.0.6 prints it."""
    mark = live_exemption(wanted).mark
    return [
        "table ip underlay-ipsec-a-b {",
        "\tchain post {",
        "\t\ttype nat hook postrouting priority srcnat - 10; policy accept;",
        f'\t\tmeta mark & 0x00004000 == 0x00004000 return comment "{mark}"',
        *(f"\t\tip saddr {x} ip daddr {y} snat to ip saddr" for x, y in wanted.pairs),
        "\t}",
        "}",
    ]


def _host(wanted: Tunnel, **changes: Any) -> Host:
    return replace(parse(_readings(wanted)), **changes)


def test_a_gateway_and_a_node_as_wanted_need_nothing() -> None:
    for wanted in (GATEWAY, NODE):
        found = _host(wanted)
        assert compare(found, wanted).reasons == ()
        assert shared_files(found) == {}
    assert _host(GATEWAY).associations == {
        "a-b": {"net": Selectors(("10.10.0.0/24",), ("10.20.0.0/24",))}
    }
    assert _host(GATEWAY).connected == ("10.10.0.0/24",)


def _with(name: str, lines: list[str]) -> Callable[[dict[str, list[str]]], None]:
    return lambda found: found.__setitem__(name, lines)


DIFFERENT: dict[str, tuple[Tunnel, Callable[[dict[str, list[str]]], object], str]] = {
    "no association": (GATEWAY, _with("associations", []), "child net has no security association"),
    "being renewed only": (
        GATEWAY, _with("associations", [RAW.replace("INSTALLED", "REKEYED")]),
        "child net has no security association",
    ),
    "connecting": (
        GATEWAY, _with("associations", [RAW.replace("ESTABLISHED", "CONNECTING")]),
        "child net has no security association",
    ),
    "narrowed": (
        GATEWAY, _with("associations", [RAW.replace("10.20.0.0/24", "10.20.0.0/25")]),
        "carries 10.10.0.0/24 and 10.20.0.0/25",
    ),
    "not loaded": (GATEWAY, _with("loaded", []), "the daemon does not know the connection"),
    "forwarding": (GATEWAY, _with("forward", ["0"]), "net.ipv4.ip_forward is off"),
    "unit": (GATEWAY, _with("units", ["disabled", "active"]), "our unit does not run"),
    "timer": (NODE, _with("units", ["enabled", "inactive"]), "our unit does not run"),
    "file": (GATEWAY, lambda f: f["files"].pop(), "differs"),
    "masqueraded first": (
        NODE, lambda f: f["rules"].insert(0, "nat -A POSTROUTING -j MASQUERADE"),
        "POSTROUTING of nat does not come to IPSEC-NAT-a-b in time",
    ),
    "no table of nft": (NODE, _with("nft", ["usable"]), "our table of nft is not there"),
    "a rule of nft is gone": (
        NODE, lambda f: f["nft"].pop(5), "our table of nft is not there, or not as wanted",
    ),
    "another table of nft": (
        NODE,
        lambda f: f.__setitem__("nft", [re.sub('"[0-9a-f]+"', '"00"', x) for x in f["nft"]]),
        "our table of nft is not there, or not as wanted",
    ),
    "no route": (NODE, _with("table", []), "no route to 10.20.0.0/24 in table 218"),
    "another way": (
        NODE, _with("table", ["10.20.0.0/24 via 10.10.0.9 dev eth1 mtu 1438"]), "no route to",
    ),
    "route MTU": (NODE, _with("table", ["10.20.0.0/24 via 10.10.0.1 dev eth1"]), "has MTU 0"),
    "no rule": (NODE, _with("ruled", []), "no rule leads to table 218"),
    "killed before its proof": (GATEWAY, _with("kept", ["a-b"]), "before it was proved"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_named(case: str) -> None:
    wanted, change, said = DIFFERENT[case]
    found = _readings(wanted)
    change(found)
    reasons = compare(parse(found), wanted).reasons
    assert any(said in text for text in reasons), reasons


def test_a_host_whose_nft_cannot_do_it_is_told_when_something_masquerades_there() -> None:
    found = _readings(NODE)
    found["nft"] = []
    assert compare(parse(found), NODE).reasons == ()
    assert notes(parse(found), [NODE]) == []
    found["nft"] = ["nft_masq 16384 1 - Live 0x0000000000000000"]
    (told,) = notes(parse(found), [NODE])
    assert "no program nft is here" in told


def test_a_firewall_in_nft_is_told_what_to_let_pass() -> None:
    found = _readings(GATEWAY)
    found["dropping"] = [
        "table ip filter {", "\tchain INPUT {",
        "\t\ttype filter hook input priority filter; policy drop;", "\t}", "}",
        "table inet guard {", "\tchain in {",
        "\t\ttype filter hook input priority filter; policy drop;", "\t}", "\tchain fw {",
        "\t\ttype filter hook forward priority filter; policy drop;", "\t}", "\tchain out {",
        "\t\ttype filter hook output priority filter; policy accept;", "\t}", "}",
    ]  # fmt: skip
    told = notes(parse(found), [GATEWAY])
    assert len(told) == 2
    assert "nft's table inet guard drops what it does not accept (input)" in told[0]
    assert "UDP 500 and 4500, ESP and `meta ipsec exists` from 192.0.2.2" in told[0]
    assert "let packets between 10.10.0.0/24 and 10.20.0.0/24 pass there" in told[1]
    assert notes(parse(found), [NODE]) == []


def test_calico_may_come_first_and_a_cut_copy_is_none() -> None:
    found = _readings(NODE)
    found["rules"].insert(0, "nat -A POSTROUTING -m comment --comment x -j cali-POSTROUTING")
    found["kept"] = ["a-b.new"]
    assert compare(parse(found), NODE).reasons == ()


def test_route_mode_looks_at_the_interface() -> None:
    wanted = plan.tunnel("a-b", LINK.model_copy(update={"mode": "route", "if_id": 7}), "a-gw")
    live = {
        "interfaces": {"xf-a-b": Interface(7, 1438)},
        "table": {"10.20.0.0/24": Route("", "xf-a-b", 1438)},
        "ruled": True,
    }
    assert compare(_host(wanted, **live), wanted).reasons == ()
    other = {**live, "interfaces": {"xf-a-b": Interface(8, 1438)}}
    assert compare(_host(wanted, **other), wanted).reasons == (
        "a-b: xf-a-b has another if_id or MTU",
    )


def test_only_a_changed_connection_renews_the_association() -> None:
    found = _host(GATEWAY)
    old = {k: v for k, v in found.files.items() if not k.endswith(".env")}
    assert not compare(replace(found, files=old), GATEWAY).renewed
    old = {k: v for k, v in found.files.items() if not k.endswith(".conf")}
    assert compare(replace(found, files=old), GATEWAY).renewed


@pytest.mark.parametrize("left", [".env", ".rules", ".conf"])
def test_a_link_is_ours_by_any_file_that_a_killed_removal_left(left: str) -> None:
    found = _host(GATEWAY)
    files = {path: text for path, text in found.files.items() if path.endswith(left)}
    assert files
    assert replace(found, files=files).ours == ("a-b",)


def test_the_way_in_is_guarded_only_when_it_is_concerned() -> None:
    found = _host(GATEWAY, ssh=("10.20.0.5", "10.10.0.1"))
    assert "takes in this computer" in refusals(found, [GATEWAY], installs=False)[0]
    accepted = replace(GATEWAY, accept_covered=("10.20.0.5/32",))
    assert refusals(found, [accepted], installs=False) == []
    assert "lies in 10.20.0.0/24 behind a-b" in path_may_change(found, [accepted], [])
    assert "is reached through a-b" in path_may_change(found, [], ["a-b"])
    assert path_may_change(_host(GATEWAY), [GATEWAY], []) == ""


SAID = {
    "[IKE] received AUTHENTICATION_FAILED notify error": "authentication failed",
    "[IKE] received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built": "takes none of esp_proposals",
    "[IKE] received NO_PROPOSAL_CHOSEN notify error": "takes none of proposals",
    "[IKE] received TS_UNACCEPTABLE notify, no CHILD_SA built": "other networks for child net",
    "[IKE] retransmit 1 of request with message ID 0": "no answer from 192.0.2.2",
    "initiate failed: CHILD_SA 'net' not established after 10000ms": "no answer from 192.0.2.2",
    "something nobody foresaw": "something nobody foresaw",
}


@pytest.mark.parametrize("line", SAID)
def test_a_failure_is_told_in_a_sentence_that_names_the_link(line: str) -> None:
    text = reason(["failed net initiate", "initiate failed: 'net'", line], GATEWAY)
    assert text.startswith("a-b: child net cannot be established with 192.0.2.2: ")
    assert SAID[line] in text


def test_a_refused_renewal_speaks_of_the_key_exchange() -> None:
    assert "refuses to renew child net" in reason(["failed net renew"], GATEWAY)


#: A daemon with one child; a far side that wants another key exchange refuses to renew it.
DAEMON = """
n=$(cat "$0.number" 2>/dev/null || echo 0)
child() { echo "{name=net uniqueid=$1 reqid=1 state=$2 $(cat "$0.group" 2>/dev/null) }"; }
case "$1 $*" in
  "--initiate "*) echo 1 > "$0.number" ;;
  "--rekey "*) echo x >> "$0.rekeys"; [ -e "$0.refuses" ] || echo $((n + 1)) > "$0.number" ;;
  *--raw*) [ "$n" -lt 2 ] || child $((n - 1)) DELETED; [ "$n" = 0 ] || child "$n" INSTALLED ;;
  "--list-sas "*) [ "$n" = 0 ] || echo "  net: #$n, reqid 1, INSTALLED, TUNNEL, ESP" ;;
esac
"""


@pytest.mark.parametrize(
    ("refuses", "group", "how", "rekeys", "said"),
    [
        (False, "", "fresh", 1, ""),
        (True, "", "fresh", 1, "failed net renew"),
        (True, "", "kept", 0, ""),
        # it had an exchange of its own already
        (True, "dh-group=MODP_2048", "fresh", 0, ""),
    ],
)
def test_a_new_child_is_renewed_at_once_with_or_without_a_key_exchange(
    tmp_path: Path, refuses: bool, group: str, how: str, rekeys: int, said: str
) -> None:
    daemon = tmp_path / "swanctl"
    daemon.write_text(f"#!/bin/sh\n{DAEMON}")
    daemon.chmod(0o755)
    if refuses:
        (tmp_path / "swanctl.refuses").touch()
    if group:
        (tmp_path / "swanctl.group").write_text(group)
    wanted = replace(GATEWAY, esp_proposals=("aes256-sha256",))
    (tmp_path / "a-b.env").write_text(texts(wanted)[f"{FOLDER}/a-b.env"][0])
    helper = source("ipsec/underlay-ipsec.sh").replace("+ 20)", "+ 2)")
    for old, new in ((FOLDER, tmp_path), ("/run/underlay-ipsec", tmp_path)):
        helper = helper.replace(old, str(new))
    helper = helper.replace("PATH=", f"PATH={tmp_path}:").replace("journalctl -q", "echo log")
    words = ["sh", "-c", helper, "helper", "prove", "a-b", "5", how]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode != 0) == bool(said), done.stderr
    assert said in done.stdout
    log = tmp_path / "swanctl.rekeys"
    assert (len(log.read_text().split()) if log.exists() else 0) == rekeys


def test_a_nat_that_the_plan_does_not_know_is_seen() -> None:
    nat = RAW.replace("protocol=ESP", "protocol=ESP encap=yes")
    assert not unforeseen_nat([RAW], GATEWAY)
    assert unforeseen_nat([nat], GATEWAY)
    assert not unforeseen_nat([nat.replace("{a-b", "{a-c")], GATEWAY)
    known = plan.tunnel("a-b", LINK.model_copy(update={"encapsulate": True}), "a-gw")
    assert not unforeseen_nat([nat], known)


def test_the_way_back_keeps_the_first_state_and_restores_it(tmp_path: Path) -> None:
    """The real shell, with folders of this test in place of the host's."""

    def run(text: str) -> None:
        for folder in (BEFORE, FOLDER, "/etc/swanctl", HELPER):
            text = text.replace(folder, f"{tmp_path}{folder}")
        subprocess.run(["sh", "-ec", text.replace("systemctl", "false")], check=True)

    env = tmp_path / f"{FOLDER}/a-b.env".lstrip("/")
    secret = tmp_path / "etc/swanctl/conf.d/secret-underlay-a-b.conf"
    new = tmp_path / "etc/swanctl/private/underlay-a-b.pem"
    for path in (env, secret, new):
        path.parent.mkdir(parents=True)
    secret.touch(0o600)
    secret.write_text("first")
    run(ipsec_script.keep("a-b"))
    secret.write_text("second")
    env.write_text("new")
    new.write_text("new")
    run(ipsec_script.keep("a-b"))
    run(ipsec_script.restore(["a-b"]))
    assert secret.read_text() == "first"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not env.exists()
    assert not new.exists()
    assert not (tmp_path / BEFORE.lstrip("/")).exists()
    run(ipsec_script.keep("a-b"))
    run(ipsec_script.kept_away("a-b"))
    assert not (tmp_path / BEFORE.lstrip("/")).exists()


def test_every_text_is_shell() -> None:
    scripts = [
        ipsec_script.change(
            texts(GATEWAY), [GATEWAY], ["a-b"], ["old"], [], forwarding_was_off=True
        ),
        ipsec_script.remove_all(()), ipsec_script.restore(["a-b"]), ipsec_script.install(),
        ipsec_script.start_daemon({"daemon": "inactive"}), source("ipsec/underlay-ipsec.sh"),
        shlex.split(str(IPsecHost().command(hashed=tuple(SHARED))))[2],
    ]  # fmt: skip
    for text in scripts:
        subprocess.run(["sh", "-n", "-c", text], check=True)
