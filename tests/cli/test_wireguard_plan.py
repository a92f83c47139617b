"""`underlay wireguard plan` as a person sees it: everything within 80 columns, and the picture."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Project

NODES: dict[str, dict[str, Any]] = {
    "cp-1": {"address": "10.200.0.100", "endpoint": "hub.frankfurt.example.org:51820"},
    "worker-17.dc-frankfurt.example.org": {
        "address": "10.200.0.1", "behind_nat": True,
        "pod_cidrs": ["10.244.1.0/24", "10.244.17.0/24", "10.244.33.0/24"],
    },
    "w2": {"address": "10.200.0.2", "endpoint": "[2001:db8:1234:5678::abcd]:51820"},
}  # fmt: skip


def _plan(project: Project, nodes: dict[str, dict[str, Any]], *words: str) -> list[str]:
    section = {
        "overlays": {
            "wg0": {
                "overlay_cidr": "10.200.0.0/24", "hubs": ["cp-1"], "accept_single_hub": True,
                "nodes": nodes,
            }
        }
    }  # fmt: skip
    project.write("inventory.py", f"nodes = {list(nodes)!r}\n")
    for old in ("control_plane", "workers"):
        (project.folder / f"group_data/{old}.py").unlink(missing_ok=True)
    project.write("group_data/all.py", f"wireguard = {section!r}\n")
    done = project.underlay("wireguard", "plan", "inventory.py", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_long_names_stay_within_a_terminal(project: Project) -> None:
    lines = _plan(project, NODES, "--svg", "overlay.svg")
    # sentences are wrapped where there is a terminal (tests/cli/test_terminal.py), a table always
    table = [line for line in lines if not line.startswith("  wg0: ")]
    assert [line for line in table if len(line) > 80] == []
    text = "\n".join(lines)
    for node in NODES.values():
        assert node["address"] in text
        assert all(word in text for word in (node.get("endpoint", ""), *node.get("pod_cidrs", ())))
    assert "room for 248 more peers at cp-1" in text
    assert (project.folder / "overlay.svg").read_text().startswith("<svg")


def test_a_row_that_fits_is_one_line(project: Project) -> None:
    nodes: dict[str, dict[str, Any]] = {
        "cp-1": {"address": "10.200.0.100", "endpoint": "192.0.2.1:51820"},
        "w1": {"address": "10.200.0.1", "behind_nat": True},
    }
    lines = _plan(project, nodes)
    assert lines[:4] == [
        "wg0: 10.200.0.0/24, UDP 51820",
        "  host  role   address       peers  endpoint",
        "  cp-1  hub    10.200.0.100  1      192.0.2.1:51820",
        "  w1    spoke  10.200.0.1    1      behind NAT",
    ]
    assert "  underlay 1500 -> wireguard 1420 (-80) -> vxlan 1370 (-50) on cp-1, w1" in lines
