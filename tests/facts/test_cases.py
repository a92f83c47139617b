"""Each file beside this one is a case of a fact.

readings: what each reading printed; output: the raw lines instead; expected: the whole typed value;
error: the words of FactProcessError. arguments and script: the exact shell text for them.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError
from tests import cases

KNOWN = {"about", "readings", "output", "expected", "error", "arguments", "script"}


@pytest.mark.parametrize(("name", "case"), cases.load(Path(__file__).parent, KNOWN))
def test_case(name: str, case: Mapping[str, Any]) -> None:
    fact = cases.fact_class(name)()
    if "script" in case:
        words = shlex.split(str(fact.command(**case["arguments"])))
        assert words[:2] == ["sh", "-c"]
        assert words[2] + "\n" == case["script"]
        subprocess.run(["sh", "-n", "-c", words[2]], check=True)
        return
    lines = case["output"] if "output" in case else cases.output(name, case["readings"])
    if "error" in case:
        with pytest.raises(FactProcessError) as caught:
            fact.process(lines)
        assert str(caught.value) == case["error"]
    else:
        assert cases.plain(fact.process(lines)) == case["expected"]
