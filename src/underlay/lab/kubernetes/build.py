"""Kubernetes from the source package of the computer's own distribution, built once and cached.

Debian 12 carries 1.20. Its vendored modern-go/reflect2 corrupts memory when it is built with Go
1.18 or newer, so the build replaces those files by Debian's own, newer package of the same library.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from underlay.errors import LabError
from underlay.lab import sources
from underlay.lab.cache import cached, recipe
from underlay.lab.commands import BUILD_PACKAGES, ensure, run
from underlay.lab.kubernetes.version import parse
from underlay.lab.progress import Say

_REFLECT2 = "golang-github-modern-go-reflect2-dev"
_OPENAPI = "pkg/generated/openapi"
#: Folders whose types are not part of the API server's own description.
_NOT_DESCRIBED = ("code-generator", "sample-apiserver", "/_examples/", "/testdata/")


def built(names: Sequence[str], say: Say, *, install: bool) -> Path:
    """A folder with these programs of `k8s.io/kubernetes/cmd`."""
    suite = sources.own_suite()
    text = sources.for_suite(sources.own_sources(), suite, suite, types="deb-src")

    def build(folder: Path) -> None:
        say("this takes 6 to 12 minutes on two cores, once")
        work = folder / "work"
        work.mkdir()
        tree = _fetch(work, text, say)
        flags = ["-overlay", str(_overlay(work, tree)), "-ldflags", _version_flags(tree)]
        environment = {
            "GO111MODULE": "off", "GOPATH": str(work / "gopath"), "CGO_ENABLED": "0",
            "GOCACHE": str(work / "cache"), "GOFLAGS": "",
        }  # fmt: skip
        inside = work / "gopath/src/k8s.io/kubernetes"
        _describe_api(work, inside, flags[:2], environment, say)
        for name in names:
            started = time.monotonic()
            package = f"k8s.io/kubernetes/cmd/{name}"
            run(["go", "build", *flags, "-o", folder / name, package], cwd=inside, env=environment)
            say(f"built {name} in {time.monotonic() - started:.0f} s")
        shutil.rmtree(work)

    key = recipe([suite, text, *names])
    if (found := _cached_already(key)) is not None:
        return found
    ensure(BUILD_PACKAGES, install=install, say=say)
    return cached("kubernetes", key, build, say)


def _cached_already(key: str) -> Path | None:
    from underlay.lab.paths import cache_dir

    folder = cache_dir() / f"kubernetes-{key}"
    return folder if folder.is_dir() else None


def _fetch(work: Path, text: str, say: Say) -> Path:
    """Both source packages, unpacked; apt is given sources and lists of its own."""
    say("fetching the source packages")
    (work / "lists/partial").mkdir(parents=True)
    (work / "src.sources").write_text(text)
    apt = [
        "apt-get", "-qq", "-o", "Dir::Etc::SourceList=/dev/null",
        "-o", f"Dir::Etc::SourceParts={work}",
        "-o", f"Dir::State::Lists={work}/lists", "-o", "APT::Sandbox::User=root",
    ]  # fmt: skip
    run([*apt, "update"], cwd=work)
    run([*apt, "source", "--download-only", "kubernetes", _REFLECT2], cwd=work)
    for pattern, name in (("kubernetes_*.dsc", "kubernetes"), ("golang-*.dsc", "reflect2")):
        found = next(iter(work.glob(pattern)), None)
        if found is None:
            raise LabError(f"the apt sources of this computer have no source package {name}")
        run(["dpkg-source", "-x", found, work / name])
    place = work / "gopath/src/k8s.io"
    place.mkdir(parents=True)
    (place / "kubernetes").symlink_to(work / "kubernetes")
    return work / "kubernetes"


def _overlay(work: Path, tree: Path) -> Path:
    """A `go build -overlay` file; the tree is reached by a link and by its real path."""
    relative = "vendor/github.com/modern-go/reflect2"
    old, new = tree / relative, work / "reflect2"
    replace: dict[str, str] = {}
    for root in (old, work / "gopath/src/k8s.io/kubernetes" / relative):
        replace |= {str(root / f.name): "" for f in old.iterdir() if f.suffix in {".go", ".s"}}
        replace |= {
            str(root / f.name): str(f)
            for f in new.iterdir()
            if f.suffix in {".go", ".s"} and not f.name.endswith("_test.go")
        }
    target = work / "overlay.json"
    target.write_text(json.dumps({"Replace": replace}))
    return target


def _version_flags(tree: Path) -> str:
    """Linker flags that tell the programs their version, which is in the package's changelog.

    Debian's version reads `1.20.5+really1.20.2-1.1`: what counts follows `really`.
    """
    first = (tree / "debian/changelog").read_text().splitlines()[0]
    upstream = first.partition("(")[2].rpartition("really")[2]
    version = parse(upstream)
    fields = {
        "gitVersion": f"v{version}", "gitMajor": version.major, "gitMinor": version.minor,
        "gitTreeState": "clean",
    }  # fmt: skip
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    words = [
        f"-X k8s.io/kubernetes/vendor/{package}.{name}={value}"
        for package in packages
        for name, value in fields.items()
    ]
    return " ".join(["-s", "-w", *words])


def _describe_api(
    work: Path, inside: Path, overlay: list[str], environment: dict[str, str], say: Say
) -> None:
    """Generate the API server's OpenAPI description, which the source package does not carry."""
    say("generating the API description")
    tool = work / "openapi-gen"
    package = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen"
    run(["go", "build", *overlay, "-o", tool, package], cwd=inside, env=environment)
    folders = sorted({str(path.parent.relative_to(inside)) for path in _described(inside)})
    names = ",".join(f"k8s.io/kubernetes/{folder}" for folder in folders)
    command: list[str | Path] = [
        tool, "--logtostderr", "-i", names, "-p", f"k8s.io/kubernetes/{_OPENAPI}",
        "-O", "zz_generated.openapi", "-r", work / "violations",
        "-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
    ]  # fmt: skip
    run(command, cwd=inside, env=environment)


def _described(inside: Path) -> list[Path]:
    roots = [inside / name for name in ("pkg", "cmd", "plugin")]
    # the folders below vendor/k8s.io are links into staging, which rglob does not follow
    roots += list((inside / "vendor/k8s.io").iterdir())
    return [
        path
        for root in roots
        for path in root.rglob("*.go")
        if not path.name.endswith("_test.go")
        and not any(part in str(path) for part in _NOT_DESCRIBED)
        and "+k8s:openapi-gen=" in path.read_text(errors="replace")
    ]
