"""Secrets of links, read on this computer: from a file, a variable or a command.

The rule: they are read, never made. Whatever is wrong is said without a character of the secret,
all of it in one message, before any host is touched.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from underlay.features.ipsec import plan
from underlay.features.ipsec.settings import IPsec, Link, Secret
from underlay.operations.ipsec_secrets import SecretFile, certificate_files, psk_file
from underlay.settings import Problem

#: Seconds that a command may take; a person may have to touch a key.
PATIENCE = 120
#: strongSwan takes less; nobody should.
SHORTEST = 8


class SecretError(Exception):
    """A secret cannot be used; the text is what and do, without any of it."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(f"{what}; {do}")
        self.what, self.do = what, do


def of_fleet(
    sections: Mapping[str, IPsec], folder: Path
) -> tuple[dict[str, tuple[SecretFile, ...]], list[Problem]]:
    """The secret files of every gateway, and everything that is wrong; each secret is read once.

    sections: host -> its section; folder: where relative paths start.
    """
    files: dict[str, tuple[SecretFile, ...]] = {}
    problems: list[Problem] = []
    known: dict[Secret, str | SecretError] = {}
    for host, section in sections.items():
        for name, link in section.present.items():
            side = plan.side_of(link, host)
            if side is None or not plan.is_gateway(link, host):
                continue
            where = f"{IPsec.KEY}.links.{name}.{'psk' if link.psk else 'certificate'}"
            try:
                found = tuple(_of_link(name, link, side, folder, known))
                files[host] = (*files.get(host, ()), *found)
            except SecretError as error:
                problems.append(Problem(host, where, error.what, None, error.do))
    return files, problems


def _of_link(
    name: str, link: Link, side: str, folder: Path, known: dict[Secret, str | SecretError]
) -> Iterable[SecretFile]:
    own, other = link.ends[side], link.ends[plan.far(link, side)]
    if link.psk is not None:
        key = check_psk(_once(link.psk, folder, known), str(link.psk))
        return [psk_file(name, (own.shown_as, other.shown_as), key)]
    if own.certificate is None or own.certificate.key is None or link.ca is None:
        raise SecretError("no certificate, key or ca", "give all three")
    private = _once(own.certificate.key, folder, known)
    return certificate_files(
        name,
        pem(_read(folder / own.certificate.file), own.certificate.file, "CERTIFICATE"),
        pem(private, str(own.certificate.key), "PRIVATE KEY"),
        pem(_read(folder / link.ca), link.ca, "CERTIFICATE"),
    )


def _once(secret: Secret, folder: Path, known: dict[Secret, str | SecretError]) -> str:
    """The same secret serves both gateways; a command may ask a person, so it runs once."""
    if secret not in known:
        try:
            known[secret] = value(secret, folder)
        except SecretError as error:
            known[secret] = error
    found = known[secret]
    if isinstance(found, SecretError):
        raise found
    return found


def value(secret: Secret, folder: Path) -> str:
    """The secret; SecretError says why there is none."""
    if secret.file is not None:
        path = folder / secret.file
        found = _read(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            raise SecretError(f"{path}: everybody can read it", f"run: chmod 600 {path}")
        return found
    if secret.env is not None:
        if secret.env not in os.environ:
            raise SecretError(f"variable {secret.env} is not set", "export it before the run")
        return os.environ[secret.env]
    return _output(secret.command or ())


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except FileNotFoundError:
        raise SecretError(f"no program {command[0]!r} here", "install it, or correct it") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        # its text may hold what the program has printed
        raise SecretError(f"{command[0]}: {type(error).__name__}", "run it by hand") from None
    if done.returncode:
        do = "run it by hand to see why"
        raise SecretError(f"{command[0]} ended with {done.returncode}", do)
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{command[0]} printed no text", "let it print UTF-8") from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}", "correct the path or its mode") from None
    except UnicodeDecodeError:
        raise SecretError(f"{path}: no text", "write it in UTF-8") from None


def check_psk(text: str, origin: str) -> str:
    """A preshared key without the line feed that ends a file; SecretError when it is none."""
    key = text.removesuffix("\n").removesuffix("\r")
    if not key:
        raise SecretError(f"{origin}: is empty", "write the key there")
    if any(character in key for character in "\n\r\0"):
        raise SecretError(f"{origin}: more than one line", "a key is one line")
    if key != key.strip():
        raise SecretError(f"{origin}: begins or ends with a space", "write the key alone")
    if len(key) < SHORTEST:
        do = "openssl rand -base64 32 makes a good one"
        raise SecretError(f"{origin}: shorter than {SHORTEST} characters", do)
    return key


def pem(text: str, origin: str, kind: str) -> str:
    """A PEM file of one kind; SecretError when it is another."""
    if "-----BEGIN " not in text or f"{kind}-----" not in text:
        raise SecretError(f"{origin}: no PEM of a {kind.lower()}", "name the right file")
    if "ENCRYPTED" in text:
        # the daemon starts at boot, with nobody to ask
        do = 'let a command decrypt it: ["openssl", "pkey", "-in", FILE]'
        raise SecretError(f"{origin}: a private key with a passphrase", do)
    return text if text.endswith("\n") else text + "\n"
