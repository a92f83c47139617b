"""The `--data KEY=VALUE` option, read as pyinfra reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

DATA = click.option(
    "--data",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key for every host; JSON or text.",
)


def parsed(given: Sequence[str]) -> dict[str, object]:
    """Key to value; a value that is no JSON is text."""
    found: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"not KEY=VALUE: {text!r}", param_hint="--data")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
