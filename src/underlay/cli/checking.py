"""What `underlay preflight` and `underlay verify` share: options, output, exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import click
import yaml

from underlay import inventory
from underlay.checks.model import Phase
from underlay.checks.report import Report, as_json, html, junit, text
from underlay.checks.report.exit_code import exit_code
from underlay.checks.select import Waiver, read_waivers, waived
from underlay.cli.data import DATA, parsed
from underlay.cli.progress import Progress
from underlay.cli.terminal import columns
from underlay.errors import UsageError

FORMATS = ("text", "json", "junit", "html")


@dataclass(frozen=True)
class CheckOptions:
    """The options as click gives them."""

    inventory_file: str
    scope: str | None
    form: str
    output: Path | None
    fail_on: str
    skips: tuple[str, ...]
    reasons: tuple[str, ...]
    waivers: Path | None
    sample: int | None
    seed: int | None
    hosts: tuple[str, ...]
    probe: bool
    data: tuple[str, ...]

    @staticmethod
    def of(given: dict[str, Any]) -> CheckOptions:
        """From the arguments of a command."""
        return CheckOptions(**{field.name: given[field.name] for field in fields(CheckOptions)})


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    found = [
        click.argument("inventory_file", metavar="INVENTORY", type=click.Path()),
        click.option("--for", "scope", metavar="FEATURE|CHANGE", help="Only what this needs."),
        click.option("--format", "form", type=click.Choice(FORMATS), default="text"),
        click.option(
            "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there."
        ),
        click.option("--fail-on", type=click.Choice(["fail", "warn"]), default="fail"),
        click.option("--skip", "skips", multiple=True, metavar="ID", help="With --reason."),
        click.option("--reason", "reasons", multiple=True, metavar="TEXT", help="Why."),
        click.option(
            "--waivers", type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="YAML file of id, reason and until.",
        ),
        click.option("--sample", type=click.IntRange(1), help="Random peers of each node."),
        click.option("--seed", type=int, help="Repeat the sample of an earlier run."),
        click.option("--host", "--limit", "hosts", multiple=True, help="Only this host or group."),
        click.option("--probe/--no-probe", default=True, help="Try ports, or only read."),
        DATA,
    ]  # fmt: skip
    for option in reversed(found):
        command = option(command)
    return command


def run(name: str, given: CheckOptions) -> int:
    """Look, evaluate, tell; the exit code."""
    waivers = _waivers(given)
    found = inventory.load(given.inventory_file, parsed(given.data))
    # the features are imported late, because with pyinfra they take most of a second
    from underlay.features.fleet import fleet_of
    from underlay.features.preflight.checks import CHECKS
    from underlay.features.preflight.gather import Options, look
    from underlay.features.preflight.run import report, results, scope_of

    # what is wrong with the options is told before any host is connected
    inventory.chosen(found, given.hosts)
    waived(CHECKS, waivers, date.today())
    wanted = Options(scope_of(given.scope), given.sample, given.seed, given.probe)
    fleet = fleet_of(found)
    began = time.monotonic()
    with Progress(began) as say, inventory.reached(found, given.hosts, say) as (hosts, lost):
        away = {name: f"not reachable over SSH: {why}" for name, why in lost.items()}
        scene = look(hosts, away, fleet, wanted, say)
    told, notes = results(scene, Phase(name), waivers, date.today())
    seconds = time.monotonic() - began
    final = report(
        scene, told, notes, command=name, inventory=given.inventory_file, seconds=seconds
    )
    _write(final, given)
    return exit_code(final, fail_on_warn=given.fail_on == "warn")


def _waivers(given: CheckOptions) -> list[Waiver]:
    if len(given.skips) != len(given.reasons):
        raise UsageError(
            f"--skip: {len(given.skips)} given with {len(given.reasons)} --reason; a skipped check"
            " needs a reason"
        )
    found = [Waiver(each, why) for each, why in zip(given.skips, given.reasons, strict=True)]
    if given.waivers is not None:
        try:
            read = yaml.safe_load(given.waivers.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{given.waivers}: not YAML: {error}") from error
        found += read_waivers(read, str(given.waivers))
    return found


def _write(report: Report, given: CheckOptions) -> None:
    colour = given.output is None and sys.stdout.isatty()
    if given.form == "text":
        made = text.render(report, colour=colour, width=columns())
    else:
        made = {"json": as_json.render, "junit": junit.render, "html": html.render}[given.form](
            report
        )
    if given.output is None:
        click.echo(made, nl=False)
    else:
        given.output.write_text(made)
        click.echo(f"wrote {given.output}", err=True)
