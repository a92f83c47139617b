"""The machines are as they were before they were prepared: no file of ours is left."""


def test_no_file_of_ours(host):
    places = "/etc/sysctl.d /etc/modules-load.d /etc/modprobe.d"
    assert host.run(f"grep -rls 'Written by underlay' {places}").stdout == ""
