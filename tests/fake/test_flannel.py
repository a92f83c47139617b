"""flannel on a cluster in memory: order, guards, a failure at every write, and the way back."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.cluster import Cluster
from tests.fake.cni_world import READINGS, World
from tests.fake.world import Clock, Run, run_on

from underlay.errors import ClusterError
from underlay.facts import cni
from underlay.features.flannel import deploy
from underlay.operations import cluster_objects, flannel_device

NAMES = ("@fake/cp1", "@fake/w1", "@fake/w2")
NETWORK: dict[str, Any] = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "mtu": 1500}


def _device(mtu: int) -> list[str]:
    return [json.dumps([{"ifname": "flannel.1", "mtu": mtu, "txqlen": 1000, "addr_info": []}])]


@dataclass
class Flannel(World):
    """The nodes, and their cluster in memory."""

    cluster: Cluster = field(default_factory=Cluster)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Flannel:
    """Three nodes with a block each, and no CNI."""
    found = Flannel()
    for number, name in enumerate(NAMES):
        found.cluster.put(
            {
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "spec": {"podCIDR": f"10.244.{number}.0/24"},
            }
        )  # fmt: skip
    monkeypatch.setattr(
        FakeConnector, "_lookup_response", lambda self, text: found.answer(self.host.name, text)
    )
    monkeypatch.setattr(deploy, "api_of", lambda state, settings: found.cluster)
    monkeypatch.setattr(cluster_objects, "time", Clock())
    monkeypatch.chdir(tmp_path)
    return found


def install(flannel: dict[str, Any] | None = None, **network: Any) -> Run:
    """Run the deploy."""
    data: dict[str, object] = {"flannel": flannel or {}, "network": {**NETWORK, **network}}
    return run_on(list(NAMES), deploy.install, data)


def net_conf(world: Flannel) -> dict[str, Any]:
    """The live net-conf.json."""
    config = world.cluster.objects["ConfigMap", "kube-flannel", "kube-flannel-cfg"]
    found: dict[str, Any] = json.loads(config["data"]["net-conf.json"])
    return found


def test_install_then_nothing(world: Flannel, tmp_path: Path) -> None:
    assert install().failed == set()
    assert [call.split()[1] for call in world.cluster.writes] == [
        "Namespace", "ClusterRole", "ClusterRoleBinding", "ServiceAccount", "ConfigMap",
        "DaemonSet",
    ]  # fmt: skip
    assert net_conf(world)["Backend"] == {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1500}
    assert set(world.backed_up) == set(NAMES)
    assert (tmp_path / "network-backup/manifest.json").is_file()
    world.cluster.calls.clear()
    again = install()
    assert (again.failed, again.operations, world.cluster.writes) == (set(), 0, [])


def test_a_new_mtu_reaches_the_config_map_and_the_device_and_old_pods_are_told(
    world: Flannel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert install().failed == set()
    world.cluster.put(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {}, "status": {"podIP": "10.244.1.7"},
        }
    )  # fmt: skip
    pod = {"ifname": "eth0", "mtu": 1450, "addr_info": [{"local": "10.244.1.7"}]}
    world.readings = {name: {"devices": _device(1450)} for name in NAMES}
    world.readings["@fake/w1"]["pods"] = [json.dumps([pod])]
    world.cluster.calls.clear()
    assert install(mtu=1400).failed == set()
    assert world.cluster.writes == [
        "apply ConfigMap kube-flannel-cfg",
        "apply DaemonSet kube-flannel-ds",
    ]
    assert net_conf(world)["Backend"]["MTU"] == 1400
    assert all("ip link set dev flannel.1 mtu 1350" in world.changed[name] for name in NAMES)
    saved = sorted((tmp_path / "network-backup-objects").iterdir())[-1]
    kinds = [item["kind"] for item in json.loads(saved.read_text())["items"]]
    assert kinds == ["ConfigMap", "DaemonSet"]


@pytest.mark.parametrize(
    ("flannel", "network", "sentence"),
    [
        ({}, {"encapsulation": "none"}, "Backend.Type is 'vxlan' and would become 'host-gw'"),
        ({"vni": 7}, {}, "Backend.VNI is 1 and would become 7"),
        ({"port": 4789}, {}, "Backend.Port is 8472 and would become 4789"),
        ({}, {"pod_cidr": "10.244.0.0/17"}, "Network is '10.244.0.0/16' and would become"),
        ({}, {"pod_cidr_v6": "fd00::/56"}, "IPv6Network is None and would become 'fd00::/56'"),
    ],
)
def test_what_flannel_cannot_change_is_refused_with_the_supported_way(
    world: Flannel, flannel: dict[str, Any], network: dict[str, Any], sentence: str
) -> None:
    assert install().failed == set()
    before = world.cluster.state()
    with pytest.raises(ClusterError) as error:
        install(flannel, **network)
    assert sentence in str(error.value)
    assert "supported way: new nodes" in str(error.value)
    assert world.cluster.state() == before


def test_another_cni_is_refused(world: Flannel) -> None:
    world.cluster.put(
        {
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "calico-node", "namespace": "calico-system"}, "spec": {},
        }
    )  # fmt: skip
    with pytest.raises(ClusterError, match="Calico runs here"):
        install()
    assert world.cluster.writes == []


@pytest.mark.parametrize(
    ("readings", "network"),
    [
        ({"plugins": ["portmap"]}, {}),
        ({"bridge-nf": []}, {}),
        ({"bridge-nf": ["0", "1"]}, {}),
        ({"files": ["05-calico.conflist"]}, {}),
        ({"files": ["10-lab.conflist"]}, {}),
        ({"devices": ['[{"ifname": "cali123", "mtu": 1450}]']}, {}),
        ({"devices": ['[{"ifname": "cni0", "mtu": 1500, "addr_info": [{"local": "10.9.0.1"}]}]']},
         {}),
        ({"ways": ['[{"dst": "192.0.2.9", "gateway": "192.0.2.1", "dev": "eth0"}]']},
         {"encapsulation": "none"}),
    ],
)  # fmt: skip
def test_one_node_that_lacks_something_stops_everything(
    world: Flannel, readings: dict[str, list[str]], network: dict[str, Any]
) -> None:
    world.readings["@fake/w2"] = readings
    assert install(**network).failed == set(NAMES)
    assert world.cluster.writes == []
    assert world.changed == {}


@pytest.mark.parametrize("number", range(6))
def test_a_failure_at_any_write_takes_everything_back(world: Flannel, number: int) -> None:
    before = world.cluster.state()
    writes: list[str] = []

    def refuse(call: str) -> bool:
        if not call.startswith("apply"):
            return False
        writes.append(call)
        return len(writes) == number + 1

    world.cluster.refuse = refuse
    assert install().failed == set(NAMES)
    assert world.cluster.state() == before
    world.cluster.refuse = lambda call: False
    assert install().failed == set()


def test_pods_that_do_not_come_up_take_a_change_back(world: Flannel) -> None:
    assert install().failed == set()
    before = net_conf(world)
    world.cluster.ready = lambda found: (
        "1400" not in world.cluster.objects["ConfigMap", "kube-flannel", "kube-flannel-cfg"]["data"]
        ["net-conf.json"]
    )  # fmt: skip
    assert install(mtu=1400).failed == set(NAMES)
    assert net_conf(world) == before
    assert world.changed == {}
    world.cluster.ready = lambda found: True
    # what the rollback wrote is ours, not another manager's
    assert install(mtu=1400).failed == set()
    assert net_conf(world)["Backend"]["MTU"] == 1400


def test_a_field_of_another_manager_is_named_and_taken_only_when_told(world: Flannel) -> None:
    assert install().failed == set()
    key = ("ConfigMap", "kube-flannel", "kube-flannel-cfg")
    found = world.cluster.objects[key]
    found["data"]["net-conf.json"] = json.dumps({**net_conf(world), "EnableNFTables": True})
    world.cluster.owners[key]["data", "net-conf.json"] = "kubectl-edit"
    with pytest.raises(ClusterError, match=r"\.data\.net-conf\.json belongs to 'kubectl-edit'"):
        install()
    assert install({"take_over": ["kubectl-edit"]}).failed == set()
    assert net_conf(world)["EnableNFTables"] is False


def test_addresses_become_annotations_of_the_nodes(world: Flannel) -> None:
    public = {"@fake/w1": "203.0.113.7"}
    assert install({"public_ips": public}).failed == set()
    meta = world.cluster.objects["Node", "", "@fake/w1"]["metadata"]
    assert meta["annotations"] == {"flannel.alpha.coreos.com/public-ip-overwrite": "203.0.113.7"}
    assert "annotations" not in world.cluster.objects["Node", "", "@fake/w2"]["metadata"]


def test_a_node_without_a_block_is_refused(world: Flannel) -> None:
    world.cluster.objects["Node", "", "@fake/w1"]["spec"] = {}
    with pytest.raises(ClusterError, match=r"no block of 10\.244\.0\.0/16; start kube-controller"):
        install()


def test_the_device_is_tuned_and_stays_so(world: Flannel) -> None:
    tools = ["/usr/sbin/ethtool", "/usr/bin/udevadm"]
    off = "tx-checksum-ip-generic"
    world.readings = {
        name: {"devices": _device(1450), "offload": [f"{off}: on"], "tools": tools}
        for name in NAMES
    }
    settings = {"tx_queue_length": 5000, "offload": {off: False}}
    assert install(settings).failed == set()
    text = world.changed["@fake/w1"]
    assert f"ethtool -K flannel.1 {off} off" in text
    assert "ip link set dev flannel.1 txqueuelen 5000" in text
    assert 'KERNEL=="flannel.1", ATTR{tx_queue_len}="5000"' in text
    assert f'RUN+="/usr/sbin/ethtool -K flannel.1 {off} off"' in text
    assert "udevadm control --reload" in text


@pytest.mark.parametrize("trouble", ["full", "unwritable"])
def test_the_device_is_not_touched_when_its_rule_cannot_be_written(
    tmp_path: Path, trouble: str
) -> None:
    folder = tmp_path / "rules.d"
    if trouble == "full":
        folder.mkdir()
        # every write to it ends with "No space left on device"
        (folder / ".90-underlay-flannel.rules.new").symlink_to("/dev/full")
    else:
        folder.touch()
    readings: dict[str, list[str]] = {name: [] for name in READINGS} | {"devices": _device(1450)}
    wanted = flannel_device.Device("flannel.1", 1400, tx_queue_length=5000)
    text = flannel_device.script(cni.parse(readings), wanted)
    stand_ins = f"ip() {{ echo ip $* >> {tmp_path}/touched; }}\n"
    script = text.replace("/etc/udev/rules.d", str(folder))
    done = subprocess.run(["sh", "-c", stand_ins + script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be written; make room on its file system" in done.stderr
    assert not (tmp_path / "touched").exists()
    if trouble == "full":
        (folder / ".90-underlay-flannel.rules.new").unlink(missing_ok=True)
    else:
        folder.unlink()
    assert subprocess.run(["sh", "-c", stand_ins + script]).returncode == 0
    assert "mtu 1400" in (tmp_path / "touched").read_text()
