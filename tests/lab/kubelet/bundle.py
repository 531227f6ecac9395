"""kubelet, kube-proxy, containerd, runc and CNI plugins as one tree, which a guest lays over its /usr.

k3s itself is in no archive of Debian's. Kubernetes 1.20 is, as a source package: its kubelet stands for what
k3s asks of the kernel, and not for today's k3s. The tree is built once, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab import lock
from tests.lab.lab import install_tools
from tests.lab.paths import CACHE, FILES
from tests.lab.progress import size, step
from tests.lab.shell import run
from tests.lab.tree import APT_OPTIONS, MIRROR

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: The last suite that has the source package.
SOURCES = f"deb-src [signed-by={KEYRING}] {MIRROR} bookworm main\n"
SOURCE = "kubernetes"
#: The suite of the guests.
BINARIES = f"deb [signed-by={KEYRING}] {MIRROR} trixie main\n"
#: What pods need, less what every guest of the lab has.
PACKAGES = (
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "iptables",
    "libip4tc2",
    "libip6tc2",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libxtables12",
    "runc",
)
#: The only image: busybox, for pods and for what holds a pod's namespaces.
IMAGE = "localhost/lab:1"
#: `go` builds; dpkg's tools unpack what apt has checked.
TOOLS = {"go": "golang-go", "dpkg-source": "dpkg-dev"}


@dataclass(frozen=True)
class Bundle:
    """What one kind of node needs.

    + name: of its directory in the cache
    + commands: of Kubernetes
    + packages: of Debian's
    """

    name: str
    commands: tuple[str, ...]
    packages: tuple[str, ...] = PACKAGES

    def tree(self) -> Path:
        """Return the directory with the tree, built where the cache lacks it."""
        digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
        final = CACHE / f"{self.name}-{digest}"
        if not final.is_dir():
            install_tools(TOOLS)
            with lock.image(self.name):
                if not final.is_dir():
                    _build(self, final)
        return final


KUBELET = Bundle("kubelet", ("kubelet", "kube-proxy"))
CLUSTER = Bundle(
    "cluster",
    (*KUBELET.commands, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    (*PACKAGES, "etcd-server"),
)


def _build(bundle: Bundle, final: Path) -> None:
    new = CACHE / f"building.{final.name}"
    shutil.rmtree(new, ignore_errors=True)
    work, tree = new / "work", new / "tree"
    work.mkdir(parents=True)
    with step(f"{bundle.name}: building the bundle") as done:
        _unpack(bundle, work, tree)
        _compile(bundle, work, tree / "usr/bin")
        _make_image(tree)
        shutil.rmtree(work)
        done.result = f"{size(tree)} in {final}"
    for old in CACHE.glob(f"{bundle.name}-*"):
        shutil.rmtree(old)
    tree.rename(final)
    shutil.rmtree(new)


def _unpack(bundle: Bundle, work: Path, tree: Path) -> None:
    """Unpack the binary packages, less their documentation."""
    with step(f"{bundle.name}: unpacking {len(bundle.packages)} packages"):
        apt = _apt(work / "binaries", BINARIES)
        run("sh", "-ec", f'cd "$1" && shift && {apt} download "$@"', "sh", work, *bundle.packages)
        for package in work.glob("*.deb"):
            run("dpkg-deb", "--extract", package, tree)
    for family in ("iptables", "ip6tables"):  # as Debian's alternatives have them
        for end in ("", "-save", "-restore"):
            (tree / f"usr/sbin/{family}{end}").symlink_to("xtables-nft-multi")
    shutil.rmtree(tree / "usr/share")
    shutil.rmtree(tree / "etc", ignore_errors=True)
    for path in (tree / "usr/lib/systemd", tree / "lib"):
        shutil.rmtree(path, ignore_errors=True)


def _compile(bundle: Bundle, work: Path, into: Path) -> None:
    """Build the commands in the way of their time: without modules, in a GOPATH."""
    source = work / "go/src/k8s.io/kubernetes"
    source.parent.mkdir(parents=True)
    with step(f"{bundle.name}: fetching the source of {SOURCE}"):
        apt = _apt(work / "sources", SOURCES)
        run("sh", "-ec", f'cd "$1" && {apt} source --download-only "$2"', "sh", work, SOURCE)
        (described,) = work.glob(f"{SOURCE}_*.dsc")
        run("dpkg-source", "--no-check", "--skip-patches", "--extract", described, source)
    environment = {
        "GOPATH": str(work / "go"),
        "GOCACHE": str(work / "cache"),
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-trimpath",
    }
    if "kube-apiserver" in bundle.commands:
        _generate(source, environment)
    for command in bundle.commands:
        with step(f"{bundle.name}: compiling {command}") as done:
            words = ("go", "build", "-ldflags", "-s -w", "-o", into / command, f"./cmd/{command}")
            run("sh", "-ec", 'cd "$1" && shift && exec "$@"', "sh", source, *words, env=environment)
            done.result = f"{(into / command).stat().st_size // 1_000_000} MB"


def _generate(source: Path, environment: dict[str, str]) -> None:
    with step("cluster: generating the description of the API"):
        script = (FILES / "kubelet/describe-api.sh").read_text()
        run("sh", "-ec", f'cd "$1"\n{script}', "sh", source, env=environment)


def _make_image(tree: Path) -> None:
    """Write an image of busybox, as `docker save` writes one."""
    busybox = (tree / "usr/bin/busybox").read_bytes()
    layer = _archive({"bin/busybox": busybox})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    files = {"manifest.json": manifest, "config.json": config}
    content = {name: json.dumps(data).encode() for name, data in files.items()}
    (tree / "usr/share").mkdir(exist_ok=True)
    (tree / "usr/share/lab-image.tar").write_bytes(_archive({**content, "layer.tar": layer}))


def _archive(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def _apt(state: Path, sources: str) -> str:
    """Return apt-get with lists of its own, updated: this machine's may be of another suite."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (state / directory).mkdir(parents=True)
    (state / "sources.list").write_text(sources)
    options = {
        "Dir::Etc::sourcelist": str(state / "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": str(state / "lists"),
        "Dir::Cache": str(state / "cache"),
        "APT::Sandbox::User": "root",
    }
    command = " ".join(
        ["apt-get -qq", *(f"-o {key}={value}" for key, value in options.items())]
        + [f"-o '{option.replace(' ', '=').replace(chr(34), '')}'" for option in APT_OPTIONS]
    )
    run("sh", "-ec", f"{command} update", env={"DEBIAN_FRONTEND": "noninteractive", **os.environ})
    return command
