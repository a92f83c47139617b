"""The pre-flight has looked, and nothing of it is there."""


def test_no_process_no_folder(host):
    assert host.run("pgrep -f underlay-preflight").stdout == ""
    assert host.run("ls /run /tmp | grep underlay-preflight").stdout == ""


def test_only_sshd_listens(host):
    lines = host.run("ss -lntH").stdout.splitlines()
    assert {line.split()[3].rpartition(":")[2] for line in lines} == {"22"}
