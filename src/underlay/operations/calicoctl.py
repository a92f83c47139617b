"""calicoctl on a control-plane host, with Kubernetes as its datastore."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyinfra.api.host import Host

from underlay import direct
from underlay.errors import ClusterError


def find(host: Host) -> Sequence[str]:
    """The words that start it there: itself, or kubectl's plugin; none when it is not there."""
    for words in (("calicoctl",), ("kubectl", "calico")):
        name = words[0] if len(words) == 1 else "kubectl-calico"
        done, _ = direct.run_words(host, "command", "-v", name)
        if done:
            return words
    return ()


def runner(
    host: Host, program: Sequence[str], kubeconfig: str
) -> Callable[[tuple[str, ...], str], str]:
    """Runs it with words and standard input; ClusterError has the first line of what it says.

    kubeconfig: path on that host.
    """

    def run(words: tuple[str, ...], text: str) -> str:
        environment = (f"DATASTORE_TYPE=kubernetes KUBECONFIG={kubeconfig}").split(" ", 1)
        done, output = direct.run_words(
            host, "env", *environment, *program, *words, stdin=[text] if text else None
        )
        if not done:
            first = (output.stderr_lines or output.stdout_lines or ["it said nothing"])[0]
            raise ClusterError(
                f"{host.name}: calicoctl {' '.join(words[:2])}: {first}; run it there by hand"
            )
        return str(output.stdout)

    return run
