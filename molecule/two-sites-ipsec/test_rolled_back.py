"""Nothing of the link is left."""


def test_no_state_no_file(host):
    assert host.run("ip xfrm state; ip xfrm policy | grep -v socket | grep tmpl").stdout == ""
    assert host.run("ls /etc/swanctl/conf.d/ | grep underlay").stdout == ""
    assert not host.file("/etc/underlay/ipsec").exists
