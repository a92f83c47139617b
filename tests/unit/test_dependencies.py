"""What the package imports is what it asks pip for."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

SOURCE = Path(__file__).resolve().parent.parent.parent / "src/underlay"
#: Comes with pydantic, in the one version that fits it.
WITH = {"pydantic-core": "pydantic"}


def test_every_import_of_another_project_is_declared() -> None:
    declared = {
        Requirement(text).name.lower().replace("_", "-")
        for text in requires("underlay") or []
        if "extra ==" not in text
    }
    projects = packages_distributions()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                if name == "underlay":
                    continue
                found = {project.lower().replace("_", "-") for project in projects[name]}
                found = {WITH.get(project, project) for project in found}
                assert found & declared, f"{path.name} imports {name}; declare one of {found}"
