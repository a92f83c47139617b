"""Secrets of links: where they come from, what is refused, and that no message holds one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from underlay.features.ipsec import secrets
from underlay.features.ipsec.settings import IPsec, Secret
from underlay.operations.ipsec_secrets import psk_file

GOOD = "a key of enough characters"


def _file(folder: Path, text: str, mode: int = 0o600) -> Secret:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return Secret(file="key")


def _key(secret: Secret, folder: Path) -> str:
    return secrets.check_psk(secrets.value(secret, folder), str(secret))


def test_a_file_a_variable_and_a_command_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", GOOD)
    command = (sys.executable, "-c", f"print({GOOD!r})")
    sources = [_file(tmp_path, GOOD + "\n"), Secret(env="KEY"), Secret(command=command)]
    assert [_key(source, tmp_path) for source in sources] == [GOOD] * 3


BAD: dict[str, tuple[Callable[[Path], Secret], str]] = {
    "empty": (lambda folder: _file(folder, ""), "is empty"),
    "only a line feed": (lambda folder: _file(folder, "\n"), "is empty"),
    "two lines": (lambda folder: _file(folder, f"{GOOD}\n{GOOD}\n"), "more than one line"),
    "spaces around": (lambda folder: _file(folder, f" {GOOD}"), "begins or ends with a space"),
    "short": (lambda folder: _file(folder, "secret7"), "shorter than 8"),
    "readable by all": (lambda folder: _file(folder, GOOD, 0o644), "everybody can read it"),
    "no file": (lambda folder: Secret(file="nowhere"), "No such file"),
    "no variable": (lambda folder: Secret(env="UNSET_KEY"), "variable UNSET_KEY is not set"),
    "no program": (lambda folder: Secret(command=("no-such-program",)), "no program"),
    "a program that fails": (
        lambda folder: Secret(
            command=(sys.executable, "-c", f"import sys; print({GOOD!r}); sys.exit(3)")
        ),
        "ended with 3",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_key_is_refused_without_showing_it(case: str, tmp_path: Path) -> None:
    make, said = BAD[case]
    with pytest.raises(secrets.SecretError) as refused:
        _key(make(tmp_path), tmp_path)
    assert said in str(refused.value)
    assert GOOD not in str(refused.value)
    assert "secret7" not in str(refused.value)


def test_every_problem_of_the_fleet_is_listed_and_each_secret_read_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = f"open({str(count)!r}, 'a').write('x'); print({GOOD!r})"

    def link(name: str, psk: dict[str, Any]) -> dict[str, Any]:
        return {
            "ends": {
                "a": {"gateway": "a", "address": "192.0.2.1", "networks": ["10.1.0.0/24"]},
                "b": {"gateway": name, "address": "192.0.2.2", "networks": ["10.2.0.0/24"]},
            },
            "psk": psk,
        }

    section = IPsec.model_validate(
        {
            "links": {
                "x": link("b", {"command": [sys.executable, "-c", program]}),
                "y": link("b", {"env": "UNSET_KEY"}),
                "z": link("b", {"file": "nowhere"}),
            }
        }
    )
    files, problems = secrets.of_fleet({"a": section, "b": section}, tmp_path)
    assert count.read_text() == "x"
    assert {(p.host, p.path.split(".")[2]) for p in problems} == {
        (host, link) for host in "ab" for link in "yz"
    }
    assert [file.link for file in files["a"]] == ["x"]


def test_no_character_of_a_key_needs_quoting_and_none_is_shown() -> None:
    key = "'\"$`\\ {}=#"
    found = psk_file("a-b", ("192.0.2.1", "@b.example"), key)
    assert key not in repr(found)
    digits = re.search(r"secret = 0x([0-9a-f]+)$", found.text, re.MULTILINE)
    assert digits is not None
    assert bytes.fromhex(digits.group(1)).decode() == key
    assert found.path == "/etc/swanctl/conf.d/secret-underlay-a-b.conf"


def test_a_pem_of_another_kind_is_refused() -> None:
    text = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
    assert secrets.pem(text, "a.pem", "CERTIFICATE") == text
    with pytest.raises(secrets.SecretError, match="no PEM of a private key"):
        secrets.pem(text, "a.pem", "PRIVATE KEY")


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n",
    ],
)
def test_a_key_that_somebody_would_have_to_unlock_is_refused(text: str) -> None:
    with pytest.raises(secrets.SecretError, match="a private key with a passphrase"):
        secrets.pem(text, "a.key", "PRIVATE KEY")
