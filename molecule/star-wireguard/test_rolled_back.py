"""Nothing of the overlay is left."""


def test_no_interface_no_folder_no_unit(host):
    assert not host.interface("wg0").exists
    assert not host.file("/etc/underlay/wireguard").exists
    assert host.run("systemctl is-active underlay-wireguard@wg0").stdout.strip() != "active"
