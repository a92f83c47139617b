"""Every machine of the star reaches every other one through the overlay."""

import pytest

ADDRESSES = ["10.200.0.1", "10.200.0.2", "10.200.0.100"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_it_reaches(host, address):
    assert host.run(f"ping -c 5 -W 5 {address}").rc == 0


def test_the_key_is_private(host):
    key = host.file("/etc/underlay/wireguard/wg0.key")
    assert (key.user, key.mode) == ("root", 0o600)
