"""`underlay schema`: every setting there is, for editors and for readers."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option(
    "--format", "form", type=click.Choice(["json", "markdown"]), default="json",
    help="JSON schema of an inventory in YAML, or the reference for people.",
)  # fmt: skip
@click.option("--section", help="Only this section, for example kube_proxy.")
def command(*, form: str, section: str | None) -> None:
    """Print every setting with type, default, range, meaning and source.

    \b
    underlay schema > inventory.schema.json
    underlay schema --section kube_proxy
    underlay schema --format markdown --section sysctl

    How an editor uses it: docs/yaml-inventory.md.
    """
    # the features are imported late, because with pyinfra they take most of a second
    from underlay.features import all_sections
    from underlay.settings.keys import CONNECTOR_PREFIXES
    from underlay.settings.reference import markdown, section_lines
    from underlay.settings.schema import DIALECT, inventory_schema, section_schema

    known = {found.KEY: found for found in all_sections()}
    if section is not None and section not in known:
        raise click.BadParameter(
            f"no section {section!r}; use one of {', '.join(known)}", param_hint="--section"
        )
    if form == "markdown":
        chosen = known[section] if section else None
        lines = "\n".join(section_lines(chosen)) if chosen else markdown([*known.values()])
        click.echo(lines.rstrip("\n"))
        return
    found = (
        {"$schema": DIALECT, **section_schema(known[section])}
        if section
        else inventory_schema([*known.values()], CONNECTOR_PREFIXES)
    )
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
