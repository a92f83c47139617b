"""The JSON schema of an inventory in YAML, from the models of all sections. Pure.

The rule: the schema says no more than the models do. What takes code to decide (addresses, rules
across hosts) is left to `underlay settings`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel

from underlay.settings.keys import OWN_PREFIX
from underlay.settings.meaning import about, meanings
from underlay.settings.models import parts
from underlay.settings.section import Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def inventory_schema(sections: Sequence[type[Section]], connector: Collection[str]) -> Schema:
    """What `underlay.yaml_inventory` reads: `data`, and `groups` of hosts with data of their own.

    connector: prefixes of the keys that pyinfra's connectors read, for example `ssh_`.
    """
    found = {section.KEY: section_schema(section) for section in sections}
    definitions: Schema = {}
    for schema in found.values():
        definitions.update(schema.pop("$defs", {}))
    own = "|".join(sorted({OWN_PREFIX, "_", *connector}))
    return {
        "$schema": DIALECT,
        "title": "underlay inventory",
        "description": "Hosts by group, and the settings of all, of a group and of one host.",
        "type": "object",
        "additionalProperties": False,
        "required": ["groups"],
        "properties": {
            "data": {"$ref": "#/$defs/data", "description": "Settings of every host."},
            "groups": {
                "type": "object",
                "propertyNames": {"pattern": "^(?!all$)[A-Za-z][A-Za-z0-9_]*$"},
                "additionalProperties": {"$ref": "#/$defs/group"},
            },
        },
        "$defs": {
            "group": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {
                    "data": {"$ref": "#/$defs/data", "description": "Settings of its hosts."},
                    "hosts": {
                        "type": ["object", "null"],
                        "description": "Host name to its own settings, or to nothing.",
                        "additionalProperties": {"$ref": "#/$defs/data"},
                    },
                },
            },
            "data": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "patternProperties": {f"^({own})": {}},
                "properties": found,
            },
            **dict(sorted(definitions.items())),
        },
    }


def section_schema(section: type[Section]) -> Schema:
    """One section; the models inside it are in its `$defs`, named after the section."""
    schema = section.model_json_schema(ref_template=f"#/$defs/{section.KEY}.{{model}}")
    models = {model.__name__: model for model in parts(section).values()}
    inner = {
        f"{section.KEY}.{name}": _told(found, models.get(name))
        for name, found in schema.pop("$defs", {}).items()
    }
    return {**_told(schema, section), **({"$defs": inner} if inner else {})}


Schema = dict[str, Any]


def _told(schema: Schema, model: type[BaseModel] | None) -> Schema:
    """The same with meanings for an editor to show, and without pydantic's titles."""
    found = {key: value for key, value in schema.items() if key != "title"}
    if model is None:
        return found
    texts = meanings(model)
    found["description"] = about(model)
    found["properties"] = {
        name: {
            **{key: value for key, value in field.items() if key != "title"},
            **({"description": texts[name]} if name in texts else {}),
        }
        for name, field in found.get("properties", {}).items()
    }
    return found
