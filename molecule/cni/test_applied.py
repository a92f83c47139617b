"""Pods of all nodes answer through flannel, from every node, after a reboot too."""

import time

NODES = {"cp1", "w1", "w2"}


def test_pods_of_every_node_answer(host):
    found = set()
    # after a reboot flannel and the pods need a while
    for _ in range(60):
        answer = host.run("for n in $(seq 10); do curl -s -m 5 http://127.0.0.1:30080/; done")
        found |= {name for name in NODES if f"node={name} " in answer.stdout}
        if found == NODES:
            break
        time.sleep(5)
    assert found == NODES


def test_the_device_has_its_size(host):
    assert host.file("/sys/class/net/flannel.1/mtu").content_string.strip() == "1450"
    assert host.file("/etc/cni/net.d/10-flannel.conflist").exists
