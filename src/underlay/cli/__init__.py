"""The `underlay` command: one module per subcommand, imported only when it is called.

The one rule: nothing here knows a feature, and every error a user can act on ends in one message on
standard error and the exit code its class names.
"""

from __future__ import annotations

import importlib
import sys

import click

from underlay import __version__
from underlay.cli.terminal import colour
from underlay.errors import UnderlayError
from underlay.exit_codes import ExitCode

#: subcommand -> (module that holds it as `command`, one-line help shown without importing it)
COMMANDS: dict[str, tuple[str, str]] = {
    "advise": (
        "underlay.cli.advise",
        "CNI, proxy mode and reflectors that suit, with settings to paste.",
    ),
    "demo": ("underlay.cli.demo", "Migrate a lab cluster to IPVS and back, every command shown."),
    "init": ("underlay.cli.init", "Write a starter: inventory, settings, deploys, CI workflow."),
    "ipsec": (
        "underlay.cli.ipsec",
        "IPsec links: plan, import ipsec.conf, the far side's settings.",
    ),
    "journal": ("underlay.cli.journal", "Which changes were made where, and how far they came."),
    "plan": ("underlay.cli.plan", "Addresses and packet sizes from the underlay to the pods."),
    "preflight": ("underlay.cli.preflight", "Every check before a change, with the port matrix."),
    "verify": ("underlay.cli.verify", "The checks that must hold after a change."),
    "backup": ("underlay.cli.backup", "The CNI's configuration of every node, into a folder."),
    "restore": ("underlay.cli.restore", "What putting such a backup back would change."),
    "schema": ("underlay.cli.schema", "Every setting: JSON schema for editors, or a reference."),
    "settings": ("underlay.cli.settings", "What every host will get, and where it came from."),
    "sysctl-report": (
        "underlay.cli.sysctl_report",
        "Who sets each kernel setting, now and at boot.",
    ),
    "wireguard": (
        "underlay.cli.wireguard",
        "WireGuard overlays: plan as table and picture, rotate keys.",
    ),
    "route-reflectors": (
        "underlay.cli.route_reflectors",
        "BGP route reflectors: sessions and routes, against the mesh.",
    ),
    "lab": ("underlay.cli.lab", "Real machines on one computer: up, status, ssh, exec, down."),
}


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when they are run, not when help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = importlib.import_module(module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="underlay")
def group() -> None:
    """Provision, tune, migrate and verify the network beneath Kubernetes pods.

    \b
    underlay init my-network && cd my-network    a starter, valid as it is
    underlay settings inventory.py               what every host will get
    underlay preflight inventory.py              is the network ready?
    pyinfra --dry inventory.py deploys/sysctl.py what a deploy would change

    Completion in your shell: eval "$(_UNDERLAY_COMPLETE=bash_source underlay)", or zsh_source; for
    fish: _UNDERLAY_COMPLETE=fish_source underlay | source.

    Exit codes: 0 passed, 1 error, 2 usage or invalid settings, 3 checks failed,
    4 warnings under --fail-on warn, 5 host unreachable.
    """


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors go to standard error."""
    try:
        result = group.main(
            args=arguments, prog_name="underlay", standalone_mode=False, color=colour()
        )
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode.ERROR
    except click.Abort:
        click.echo("underlay: interrupted", err=True)
        return ExitCode.ERROR
    except UnderlayError as error:
        click.echo(f"underlay: {error}", err=True)
        return error.exit_code
    return result if isinstance(result, int) else ExitCode.PASSED


def main() -> None:
    """Entry point of the `underlay` script."""
    sys.exit(run(sys.argv[1:]))
