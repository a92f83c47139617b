"""The MTU chain against the tables of vendors and kernels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.addressing.mtu import CIPHERS, OVERHEAD, Layer, chain, esp, inner, mss

L = Layer


@pytest.mark.parametrize(
    ("underlay", "layers", "left"),
    [
        # Calico's table: IPIP, VXLAN v4 and v6, WireGuard v4 and v6
        *[
            (underlay, [layer], value)
            for underlay, values in {
                1500: (1480, 1450, 1430, 1440, 1420),
                1460: (1440, 1410, 1390, 1400, 1380),
                9001: (8981, 8951, 8931, 8941, 8921),
                1400: (1380, 1350, 1330, 1340, 1320),
            }.items()
            for layer, value in zip(
                (L.IPIP, L.VXLAN, L.VXLAN_V6, L.WIREGUARD, L.WIREGUARD_V6), values, strict=True
            )
        ],
        # a CNI on a tunnel that leaves room for an IPv6 underlay, as the kernel does by default
        (1500, [L.WIREGUARD_V6, L.VXLAN], 1370),
        (1500, [L.WIREGUARD_V6, L.IPIP], 1400),
        (1500, [L.WIREGUARD_V6, L.NONE], 1420),
        (9001, [L.WIREGUARD_V6, L.VXLAN], 8871),
        (1492, [L.WIREGUARD_V6, L.VXLAN], 1362),
        (1400, [L.WIREGUARD_V6, L.VXLAN], 1270),
    ],
)
def test_layers(underlay: int, layers: list[Layer], left: int) -> None:
    assert chain(underlay, layers)[-1].mtu == left


#: cipher -> bytes inside at 1500, 1500 with NAT-T, 9001, 1400
ESP = {
    "aes-sha256": (1438, 1422, 8926, 1326),
    "aes-sha384": (1422, 1422, 8926, 1326),
    "aes-sha512": (1422, 1406, 8910, 1310),
    "aesgcm16": (1446, 1438, 8946, 1346),
    "chacha20poly1305": (1446, 1438, 8946, 1346),
}


@pytest.mark.parametrize(("name", "sizes"), ESP.items())
def test_esp(name: str, sizes: tuple[int, ...]) -> None:
    cipher = CIPHERS[name]
    assert esp(1500, cipher) == sizes[0]
    assert esp(1500, cipher, nat_t=True) == sizes[1]
    assert esp(9001, cipher) == sizes[2]
    assert esp(1400, cipher) == sizes[3]


def test_mss_of_known_tunnels() -> None:
    assert esp(1500, CIPHERS["aes-sha1"]) == 1438
    assert mss(esp(1500, CIPHERS["aesgcm16"])) == 1406
    assert mss(esp(1500, CIPHERS["aes-sha256"], nat_t=True)) == 1382


def test_a_chain_tells_its_numbers() -> None:
    told = " -> ".join(map(str, chain(1500, [L.WIREGUARD_V6, L.VXLAN])))
    assert told == "underlay 1500 -> wireguard 1420 (-80) -> vxlan 1370 (-50)"


@given(st.integers(1280, 9216), st.lists(st.sampled_from(list(Layer)), max_size=4))
def test_a_chain_adds_up(underlay: int, layers: list[Layer]) -> None:
    hops = chain(underlay, layers)
    assert hops[-1].mtu == underlay - sum(OVERHEAD[layer] for layer in layers)
    assert [hop.mtu for hop in hops] == sorted((hop.mtu for hop in hops), reverse=True)


@given(st.integers(600, 9216), st.sampled_from(list(CIPHERS.values())), st.booleans())
def test_esp_fits_and_wastes_less_than_a_block(mtu: int, cipher: object, nat_t: bool) -> None:
    found = next(c for c in CIPHERS.values() if c is cipher)
    size = esp(mtu, found, nat_t=nat_t)
    whole = size + 2
    assert whole % found.block == 0
    outer = whole + 20 + 8 + found.iv + found.tag + (8 if nat_t else 0)
    assert mtu - found.block < outer <= mtu
    assert inner(mtu, Layer.IPIP) > size
