"""kube-proxy runs as before, and nothing of ipvs is left."""


def test_it_says_so(host):
    assert host.run("curl -s -m 5 http://127.0.0.1:10249/proxyMode").stdout == "iptables"


def test_nothing_is_left(host):
    assert not host.interface("kube-ipvs0").exists
    assert "TCP" not in host.file("/proc/net/ip_vs").content_string
    assert "KUBE-" not in host.run("ipset list -n").stdout
