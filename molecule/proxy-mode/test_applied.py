"""kube-proxy runs in ipvs mode on every node, after a reboot too."""

import time


def test_it_says_so_and_has_virtual_servers(host):
    # after a reboot kube-proxy needs a while
    for _ in range(60):
        mode = host.run("curl -s -m 5 http://127.0.0.1:10249/proxyMode").stdout
        if mode == "ipvs" and "TCP" in host.file("/proc/net/ip_vs").content_string:
            break
        time.sleep(5)
    assert mode == "ipvs"
    assert host.interface("kube-ipvs0").exists
