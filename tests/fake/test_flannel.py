"""flannel on a cluster in memory: order, guards, a failure at every write, and the way back."""

from __future__ import annotations

import json
import logging
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from pyinfra.connectors.fake import FakeConnector
from tests.fake.cluster import Cluster
from tests.fake.cni_world import READINGS, World
from tests.fake.rbac import Guard, granted, unused
from tests.fake.world import Clock, Run, run_on

from underlay.errors import ClusterError
from underlay.facts import cni
from underlay.features import cni_change
from underlay.features.flannel import deploy
from underlay.features.preflight.backup import read_backup
from underlay.features.preflight.copying import take
from underlay.features.preflight.scene import Backup
from underlay.operations import cluster_objects, flannel_device

NAMES = ("@fake/cp1", "@fake/w1", "@fake/w2")
NETWORK: dict[str, Any] = {"cni": "flannel", "pod_cidr": "10.244.0.0/16", "mtu": 1500}


def _device(mtu: int, *names: str) -> list[str]:
    return [
        json.dumps([{"ifname": name, "mtu": mtu, "txqlen": 1000, "addr_info": []}])
        for name in names or ("flannel.1",)
    ]


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


def backups(folder: Path) -> list[Backup]:
    """Those of the runs, as `underlay restore` reads them, in order."""
    found = sorted(folder.glob("network-backup-flannel-*Z*"), key=lambda one: one.stat().st_mtime)
    every = [read_backup(str(one)) for one in found]
    assert [one.problems for one in every if one.taken is None or one.problems] == []
    return every


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
    assert [len(one.hosts) for one in backups(tmp_path)] == [len(NAMES)]
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
    # the same second, or not: each run has its own
    first, second = backups(tmp_path)
    assert (first.objects, second.objects) == (1, 2)
    saved = json.loads((Path(second.path) / "objects.json").read_text())["items"]
    assert [item["kind"] for item in saved] == ["ConfigMap", "DaemonSet"]
    assert '"MTU": 1500' in saved[0]["data"]["net-conf.json"]
    # kubectl takes no object that names its version
    assert [set(item["metadata"]) for item in saved] == [{"name", "namespace", "labels"}] * 2


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


def test_an_annotation_that_nobody_names_and_an_address_that_nobody_has(world: Flannel) -> None:
    key = "flannel.alpha.coreos.com/public-ip-overwrite"
    meta = world.cluster.objects["Node", "", "@fake/w1"]["metadata"]
    meta["annotations"] = {key: "203.0.113.7", "flannel.alpha.coreos.com/public-ip": "192.0.2.1"}
    with pytest.raises(ClusterError, match=r"public-ip-overwrite = '203\.0\.113\.7', which the"):
        install()
    assert install({"public_ips": {"@fake/w1": "203.0.113.7"}}).failed == set()
    del meta["annotations"]
    own: dict[str, dict[str, object]] = {}
    for number, name in enumerate(NAMES, 1):
        address = f"192.0.2.{number}"
        own[name] = {"network": {**NETWORK, "address": address}}
        link = {"ifname": "eth0", "mtu": 1500, "addr_info": [{"local": address}]}
        world.readings[name] = {"devices": [json.dumps([link])]}
    world.readings["@fake/w2"] = {}
    world.cluster.calls.clear()
    data: dict[str, object] = {"flannel": {"by_node_address": True}}
    assert run_on(list(NAMES), deploy.install, data, own).failed == set(NAMES)
    assert world.cluster.writes == []


OVERWRITE = "flannel.alpha.coreos.com/public-ip-overwrite"


def _annotations(world: Flannel, name: str) -> dict[str, str]:
    found = world.cluster.objects["Node", "", name]["metadata"].get("annotations") or {}
    return dict(found)


def test_an_address_that_leaves_the_inventory_leaves_the_node(
    world: Flannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pyinfra")
    other = {"@fake/cp1": "203.0.113.9"}
    assert install({"public_ips": {"@fake/w1": "203.0.113.7", **other}}).failed == set()
    world.cluster.objects["Node", "", "@fake/w1"]["metadata"]["annotations"]["of"] = "another"
    world.cluster.calls.clear()
    caplog.clear()
    assert install({"public_ips": other}).failed == set()
    assert world.cluster.writes == ["apply Node @fake/w1", "merge Node @fake/w1"]
    assert f"-    {OVERWRITE}: 203.0.113.7" in caplog.text
    assert _annotations(world, "@fake/w1") == {"of": "another"}
    assert _annotations(world, "@fake/cp1") == {OVERWRITE: "203.0.113.9"}
    assert install({"public_ips": other}).operations == 0


def test_an_address_that_a_rollback_wrote_is_ours_and_one_that_went_comes_back(
    world: Flannel,
) -> None:
    assert install({"public_ips": {"@fake/w1": "203.0.113.7"}}).failed == set()
    for section in ({"public_ips": {"@fake/w1": "203.0.113.8"}}, {}):
        world.cluster.ready = lambda found: False
        assert install(section, mtu=1400).failed == set(NAMES)
        assert _annotations(world, "@fake/w1") == {OVERWRITE: "203.0.113.7"}
    world.cluster.ready = lambda found: True
    assert install().failed == set()
    assert _annotations(world, "@fake/w1") == {}


def test_an_annotation_of_somebody_else_stays_unless_it_is_taken_over(world: Flannel) -> None:
    assert install({"public_ips": {"@fake/w1": "203.0.113.7"}}).failed == set()
    owners = world.cluster.owners["Node", "", "@fake/w1"]
    owners["metadata", "annotations", OVERWRITE] = "kubectl-annotate"
    before = world.cluster.state()
    with pytest.raises(ClusterError, match="does not name and 'kubectl-annotate' wrote; name it"):
        install()
    assert world.cluster.state() == before
    assert install({"take_over": ["kubectl-annotate"]}).failed == set()
    assert _annotations(world, "@fake/w1") == {}


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


def test_the_device_of_the_second_family_gets_its_size_and_its_rule(world: Flannel) -> None:
    for number, name in enumerate(NAMES):
        blocks = [f"10.244.{number}.0/24", f"fd00:0:0:{number}::/64"]
        world.cluster.objects["Node", "", name]["spec"] = {"podCIDRs": blocks}
    six: dict[str, Any] = {"pod_cidr_v6": "fd00::/56"}
    assert install(**six).failed == set()
    off = "tx-checksum-ip-generic"
    world.readings = {
        name: {"devices": _device(1450, "flannel.1", "flannel-v6.1"), "offload": [f"{off}: on"],
               "tools": ["/usr/sbin/ethtool", "/usr/bin/udevadm"]}
        for name in NAMES
    }  # fmt: skip
    assert install({"offload": {off: False}}, mtu=1400, **six).failed == set()
    assert net_conf(world)["Backend"]["MTU"] == 1380
    for name in NAMES:
        first, second = world.scripts[name][-2:]
        assert "ip link set dev flannel.1 mtu 1330" in first
        assert "ip link set dev flannel-v6.1 mtu 1330" in second
        assert 'KERNEL=="flannel-v6.1"' in second
        assert "/etc/udev/rules.d/90-underlay-flannel-v6.rules" in second
        assert "90-underlay-flannel-v6" not in first


def test_two_backups_of_one_second_are_two(
    world: Flannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Stopped:
            return cls(2026, 1, 2, tzinfo=tz)

    monkeypatch.setattr(cni_change, "datetime", Stopped)
    for mtu in (1500, 1400, 1300):
        assert install(mtu=mtu).failed == set()
    names = {Path(one.path).name for one in backups(tmp_path)}
    stamp = "network-backup-flannel-20260102T000000Z"
    assert names == {stamp, f"{stamp}-2", f"{stamp}-3"}


def test_no_backup_no_change(world: Flannel, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("a file, and no folder")
    data: dict[str, object] = {
        "flannel": {}, "network": NETWORK, "preflight": {"backup": "elsewhere/below"},
    }  # fmt: skip
    assert run_on(list(NAMES), deploy.install, data).failed == set(NAMES)
    assert world.cluster.writes == []


def test_what_somebody_changed_meanwhile_is_not_overwritten(
    world: Flannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install().failed == set()
    key = ("ConfigMap", "kube-flannel", "kube-flannel-cfg")

    def slow(hosts: Any) -> Any:
        world.cluster.objects[key]["data"]["cni-conf.json"] = "{}"
        return take(hosts)

    monkeypatch.setattr("underlay.features.cni_change.take", slow)
    assert install(mtu=1400).failed == set(NAMES)
    assert net_conf(world)["Backend"]["MTU"] == 1500
    assert world.cluster.objects[key]["data"]["cni-conf.json"] == "{}"


#: No time passes in which a lease would be renewed.
NOT_RENEWED = {"patch leases underlay-cni"}


def with_role(world: Flannel, without: str = "") -> Guard:
    """The cluster lets the user do what the files for flannel and its backup say, once applied."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-flannel"}}
    world.cluster.put(namespace)
    return Guard(world.cluster, granted("flannel.yaml", "read-only.yaml", without=without))


def test_the_role_is_enough_and_all_of_it_is_used(world: Flannel) -> None:
    guard = with_role(world)
    before = world.cluster.state()
    world.cluster.ready = lambda found: False
    assert install().failed == set(NAMES)
    assert world.cluster.state() == before
    world.cluster.ready = lambda found: True
    public = {"public_ips": {"@fake/w1": "203.0.113.7"}}
    assert install(public).failed == set()
    # every object is changed and put back
    for found in world.cluster.objects.values():
        if found["metadata"]["name"] in ("flannel", "kube-flannel"):
            found["metadata"].pop("labels")
    changed = world.cluster.state()
    world.cluster.ready = lambda found: False
    other = {"public_ips": {"@fake/w1": "203.0.113.8"}}
    assert install(other, mtu=1400).failed == set(NAMES)
    assert _without_versions(world.cluster.state()) == _without_versions(changed)
    assert unused(granted("flannel.yaml"), guard) == NOT_RENEWED


def _without_versions(found: dict[tuple[str, str, str], Any]) -> dict[tuple[str, str, str], Any]:
    for each in found.values():
        each["metadata"].pop("resourceVersion", None)
    return found


@pytest.mark.parametrize(
    "taken",
    ["list nodes", "list pods", "list deployments", "patch namespaces kube-flannel",
     "create clusterroles", "patch clusterroles flannel", "patch nodes/status", "create configmaps",
     "create daemonsets", "create leases", "get leases underlay-cni"],
)  # fmt: skip
def test_without_any_of_the_role_nothing_stays_changed(world: Flannel, taken: str) -> None:
    with_role(world, taken)
    before = world.cluster.state()
    try:
        failed = install().failed
    except ClusterError:
        failed = set(NAMES)
    assert failed
    assert world.cluster.state() == before


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
