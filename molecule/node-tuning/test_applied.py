"""What deploys/kernel_modules.py and deploys/sysctl.py have declared, as the kernel has it."""


def test_settings_are_live(host):
    assert host.sysctl("net.ipv4.ip_forward") == 1
    assert host.sysctl("net.core.somaxconn") == 32768


def test_modules_are_loaded_now_and_at_boot(host):
    loaded = host.run("cut -d' ' -f1 /proc/modules").stdout.split()
    assert {"br_netfilter", "ip_vs", "ip_vs_rr", "nf_conntrack"} <= set(loaded)
    assert "ip_vs" in host.file("/etc/modules-load.d/90-underlay.conf").content_string.split()


def test_the_file_is_ours_and_readable(host):
    found = host.file("/etc/sysctl.d/90-underlay.conf")
    assert (found.user, found.mode) == ("root", 0o644)
    assert found.contains("net.core.somaxconn")
