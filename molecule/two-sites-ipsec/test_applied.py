"""What one site says to the other goes through the link, both ways."""

import time

import pytest

FAR = {"a-gw": "10.20.0.1", "b-gw": "10.10.0.1", "a1": "10.20.0.11", "b1": "10.10.0.11"}


def _name(host):
    return host.run("hostname").stdout.strip()


def _packets(host):
    """What the kernel counted in ESP, both directions."""
    lines = host.run("ip -s xfrm state | grep -A1 'lifetime current' | grep packets").stdout
    return lines


def test_the_far_site_answers(host):
    address = FAR[_name(host)]
    # after a reboot the link comes back by itself
    for _ in range(24):
        if host.run(f"ping -c 1 -W 3 {address}").rc == 0:
            return
        time.sleep(5)
    pytest.fail(f"no answer from {address}")


def test_the_gateway_encrypts(host):
    if not _name(host).endswith("-gw"):
        pytest.skip("not a gateway")
    before = _packets(host)
    # the network behind the far gateway, from the address of our own side
    own = "10.10.0.1" if _name(host) == "a-gw" else "10.20.0.1"
    assert host.run(f"ping -c 3 -W 3 -I {own} {FAR[_name(host)]}").rc == 0
    assert _packets(host) != before


def test_the_secret_is_private(host):
    if not _name(host).endswith("-gw"):
        pytest.skip("not a gateway")
    secrets = host.run("stat -c '%U %a' /etc/swanctl/conf.d/*secret-underlay*").stdout.splitlines()
    assert secrets
    assert set(secrets) == {"root 600"}
