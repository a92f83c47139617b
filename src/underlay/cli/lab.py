"""`underlay lab`: machines on this computer to rehearse on."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import click

from underlay.cli.lab_images import box_command, image_command
from underlay.exit_codes import ExitCode
from underlay.lab import down as removing
from underlay.lab import links, machines, network, process, returning, ssh, state, wait
from underlay.lab.cache import locked
from underlay.lab.paths import default_name, lab_dir
from underlay.lab.progress import clock
from underlay.lab.topology import TOPOLOGIES

_NAME = click.option(
    "--name", default=None, help="Which lab. Default: $UNDERLAY_LAB, else `lab`, else the only one."
)


def _lab(name: str | None) -> state.Lab:
    return state.load(name) if name else state.chosen()


@click.group("lab")
def command() -> None:
    """Real machines on one computer, with a real Kubernetes.

    \b
    underlay lab up                          three machines with Kubernetes
    underlay lab status                      what runs
    underlay lab exec -- uname -r            on every machine
    underlay lab ssh w1                      a shell on one
    pyinfra -y inventory.py deploys/sysctl.py
    underlay lab down                        nothing is left
    """


command.add_command(box_command)
command.add_command(image_command)


@command.command("up")
@click.option("--name", default=None, help="Name of the new lab. Default: $UNDERLAY_LAB or `lab`.")
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="flat", show_default=True)
@click.option("--machines", type=int, help="Number of machines (flat, star).")
@click.option("--suite", help="Debian suite of the machines. Default: this computer's own.")
@click.option(
    "--with-kubernetes/--no-kubernetes",
    default=None,
    help="Default: with it on flat, else without.",
)
@click.option(
    "--kubernetes", "kubernetes_dir", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with kubeadm, kubelet, kube-proxy, kube-apiserver, ... to use.",
)  # fmt: skip
@click.option(
    "--cni", type=click.Choice(["bridge", "none"]), default="bridge", show_default=True,
    help="The lab's own pod network, or none: pods wait for the CNI that you install.",
)  # fmt: skip
@click.option("--memory", type=int, default=1024, show_default=True, help="MiB per machine.")
@click.option("--install/--no-install", default=True, help="Install missing packages by apt.")
@click.option("--timeout", type=float, default=900, show_default=True, help="Seconds to wait.")
def up_command(
    *, name: str | None, topology: str, machines: int | None, suite: str | None,
    with_kubernetes: bool | None, kubernetes_dir: Path | None, cni: str, memory: int,
    install: bool, timeout: float,
) -> None:  # fmt: skip
    """Make a lab and wait until it can be used.

    \b
    underlay lab up
    underlay lab up --topology star --machines 4 --memory 512
    underlay lab up --cni none               to rehearse the installation of a CNI
    """
    from underlay.lab.up import Request, up

    chosen = name or default_name()
    request = Request(
        chosen, topology, machines, suite, with_kubernetes, kubernetes_dir,
        memory=memory, install=install, timeout=timeout, cni=cni,
    )  # fmt: skip
    with locked(lab_dir(chosen).with_suffix(".lock")):
        lab = up(request, clock())
    kubernetes = f" with Kubernetes {lab.kubernetes}" if lab.kubernetes else ""
    click.echo(f"lab {lab.name}: {len(lab.ssh_ports)} machines{kubernetes}")


@command.command("down")
@_NAME
@click.option("--all", "everything", is_flag=True, help="Every lab, also broken ones.")
def down_command(*, name: str | None, everything: bool) -> None:
    """Remove a lab; nothing of it is left, also after a crash.

    \b
    underlay lab down
    underlay lab down --all
    """
    say = clock()
    names = removing.every_name() if everything else [name or default_name()]
    for found in names:
        removing.down(found, say)
        lab_dir(found).with_suffix(".lock").unlink(missing_ok=True)
    if not names:
        click.echo("no lab is there")


@command.command("status")
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status_command(*, name: str | None, as_json: bool) -> None:
    """What runs: machines, links, control plane.

    \b
    underlay lab status --json
    """
    lab = _lab(name)
    running = {p.name: process.alive(p) for p in lab.processes}
    rows = [
        {
            "name": machine.name,
            "running": running.get(machine.name, False),
            "groups": list(machine.groups),
            "addresses": [port.address for port in machine.ports],
            "ssh_port": lab.ssh_ports[machine.name],
        }
        for machine in lab.topology.machines
    ]
    wires = links.links(lab)
    report = {
        "name": lab.name, "topology": lab.topology_name, "suite": lab.suite, "ready": lab.ready,
        "accelerator": lab.accelerator, "kubernetes": lab.kubernetes, "machines": rows,
        "links": wires, "kubeconfig": str(lab.kubeconfig) if lab.kubernetes else "",
        "processes": running,
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    kubernetes = f", Kubernetes {lab.kubernetes}" if lab.kubernetes else ""
    click.echo(f"lab {lab.name}: {lab.topology_name}, {lab.suite}, {lab.accelerator}{kubernetes}")
    for machine in lab.topology.machines:
        up = "running" if running.get(machine.name) else "off"
        addresses = " ".join(port.address for port in machine.ports)
        click.echo(f"  {machine.name:<6} {up:<8} {','.join(machine.groups):<20} {addresses}")
    for link in wires:
        state_ = "up" if link["up"] else "down"
        shape = f"loss {link['loss_percent']} %, delay {link['delay_ms']} ms"
        click.echo(f"  link {link['name']!s:<8} {state_:<5} mtu {link['mtu']}, {shape}")
    dead = [name for name, alive in running.items() if not alive and name not in lab.ssh_ports]
    if dead:
        click.echo(f"  ended: {', '.join(dead)}; see {lab.directory / 'log'}")


@command.command("exec", context_settings={"ignore_unknown_options": True})
@_NAME
@click.option("--on", "hosts", multiple=True, help="Only this machine; may be repeated.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(*, name: str | None, hosts: tuple[str, ...], words: tuple[str, ...]) -> int:
    """Run a command on every machine, each line marked by its name.

    \b
    underlay lab exec -- uname -r
    underlay lab exec --on w1 -- reboot

    Ends with the first exit code that is not 0. After `exec -- reboot` it waits until the machines
    are back.
    """
    lab = _lab(name)
    names = list(hosts) or [machine.name for machine in lab.topology.machines]
    remote = words[0] if len(words) == 1 else shlex.join(words)
    if words[0] == "reboot":
        returning.reboot(lab, names, clock())
        return 0
    code = 0
    for answer in ssh.everywhere(lab, names, remote):
        for text, err in ((answer.stdout, False), (answer.stderr, True)):
            for line in text.splitlines():
                click.echo(f"{answer.machine}: {line}", err=err)
        if answer.code == ssh.NO_CONNECTION:
            click.echo(f"{answer.machine}: no connection", err=True)
            code = code or ExitCode.UNREACHABLE
        code = code or answer.code
    return code


@command.command("ssh", context_settings={"ignore_unknown_options": True})
@_NAME
@click.argument("machine")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ssh_command(*, name: str | None, machine: str, words: tuple[str, ...]) -> None:
    """A shell on one machine, or one command on it.

    \b
    underlay lab ssh w1
    underlay lab ssh w1 -- ip route
    """
    call = [*ssh.command(_lab(name), machine), *(["--", *words] if words else [])]
    os.execvp(call[0], call)  # noqa: S606 - the terminal goes to ssh


@command.command("ssh-config")
@_NAME
def ssh_config_command(*, name: str | None) -> None:
    """The machines as an ssh_config file, for `ssh -F FILE MACHINE` and tools that read one.

    \b
    underlay lab ssh-config > lab.conf && ssh -F lab.conf w1
    """
    click.echo(ssh.config(_lab(name)), nl=False)


@command.command("wait")
@_NAME
def wait_command(*, name: str | None) -> None:
    """Wait until every machine that is powered on answers and its node is Ready.

    \b
    underlay lab wait
    """
    lab = _lab(name)
    returning.wait_ready(lab, wait.running(lab), clock())


@command.command("machine")
@_NAME
@click.argument("action", type=click.Choice(["poweroff", "start", "reboot", "cut", "join"]))
@click.argument("machine")
@click.option("--hard", is_flag=True, help="Take the power away instead of shutting down.")
def machine_command(*, name: str | None, action: str, machine: str, hard: bool) -> None:
    """Power a machine off or on, reboot it, cut it off from every link, or join it again.

    \b
    underlay lab machine poweroff w1 --hard
    underlay lab machine cut w1
    """
    lab = _lab(name)
    if action == "start":
        lab = machines.start_machine(lab, machine)
        returning.wait_ready(lab, [machine], clock())
    elif action == "poweroff":
        machines.power_off(lab, machine, hard=hard)
    elif action == "reboot":
        returning.reboot(lab, [machine], clock(), hard=hard)
    elif action == "cut":
        links.cut(lab, machine)
    else:
        links.join(lab, machine)
    click.echo(f"{machine}: {action} done")


@command.command("link")
@_NAME
@click.argument("link")
@click.option("--mtu", type=click.IntRange(576, 9216), help="Bytes; larger frames vanish.")
@click.option("--loss", type=click.FloatRange(0, 100), help="Percent, each way.")
@click.option("--delay", type=click.FloatRange(0, 10000), help="Milliseconds, each way.")
@click.option("--up/--down", default=None, help="Connect or cut the link.")
def link_command(
    *, name: str | None, link: str, mtu: int | None, loss: float | None, delay: float | None,
    up: bool | None,
) -> None:  # fmt: skip
    """Change one link while the lab runs.

    \b
    underlay lab link transit --mtu 1400 --loss 5 --delay 20
    """
    lab = _lab(name)
    links.set_link(lab, link, mtu=mtu, loss=loss, delay=delay, up=up)


@command.command("sniff", context_settings={"ignore_unknown_options": True})
@_NAME
@click.argument("link")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def sniff_command(*, name: str | None, link: str, words: tuple[str, ...]) -> None:
    """Capture on a link with tcpdump; everything after LINK goes to tcpdump.

    \b
    underlay lab sniff transit udp port 4789
    """
    lab = _lab(name)
    if link not in lab.topology.links:
        raise click.UsageError(f"no link {link!r}; there are {', '.join(lab.topology.links)}")
    call = ["ip", "netns", "exec", lab.netns, "tcpdump", "-n", "-i", network.bridge(link), *words]
    os.execvp(call[0], call)  # noqa: S606 - the terminal goes to tcpdump
