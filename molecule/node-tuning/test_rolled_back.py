"""Nothing of the deploys is left."""

import pytest


@pytest.mark.parametrize(
    "path",
    [
        "/etc/sysctl.d/90-underlay.conf",
        "/etc/modules-load.d/90-underlay.conf",
        "/etc/modprobe.d/90-underlay.conf",
    ],
)
def test_our_files_are_gone(host, path):
    assert not host.file(path).exists


def test_the_value_of_before_is_back(host):
    assert host.sysctl("net.core.somaxconn") == 4096
