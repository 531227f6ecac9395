"""Machines of each generation of the tools, with a small OSTree sysroot each."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.host.machine import STAND_INS, Machine
from tests.lab.generations import SID, TRIXIE
from tests.lab.image import build, image
from tests.lab.lab import install_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GENERATIONS = {"trixie": TRIXIE, "sid": SID}

# A tree as small as ostree takes it. Its /etc has what an image must not have, but some do (case 13).
SYSROOT = """
mkdir -p sysroot etc/systemd/system run boot systemd bin
cd tree
mkdir -p usr/lib/modules/6.1 usr/etc
echo kernel >usr/lib/modules/6.1/vmlinuz
echo initramfs >usr/lib/modules/6.1/initramfs.img
printf 'ID=small\\nVERSION_ID=1\\n' >usr/lib/os-release
ln -s ../usr/lib/os-release usr/etc/os-release
echo baked >usr/etc/hostname
echo 0123456789abcdef0123456789abcdef >usr/etc/machine-id
cd ..
ostree admin init-fs --modern sysroot
ostree admin --sysroot=sysroot os-init host
for ref in old new; do
    echo $ref >tree/usr/release
    ostree --repo=sysroot/ostree/repo commit --branch=$ref --tree=dir=tree
done
rmdir boot
ln -s sysroot/boot boot
ostree admin --sysroot=sysroot deploy --os=host --karg-none old
rm -r tree
"""

# Deployments are immutable, which cp does not copy.
COPY = """
cp -a "$1/." "$2"
find "$2" -path '*/deploy/*/deploy/*.[0-9]' -prune -exec chattr +i {} +
"""


@pytest.fixture(scope="session", params=["bookworm", *GENERATIONS])
def tools(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A tree with the tools of a generation. This machine's own are those of bookworm."""
    install_tools()
    if request.param == "bookworm":
        yield Path("/")
        return
    generation = GENERATIONS[request.param]
    build(generation)
    built = image(generation)
    # Hard links, which stay when another checkout replaces the image.
    tree = Path(tempfile.mkdtemp(prefix="tools-", dir=built.directory.parent)) / "tree"
    repo = f"--repo={built.sysroot}/ostree/repo"
    subprocess.run(["ostree", repo, "checkout", "-H", generation.ref, tree], check=True)
    (tree / "etc").symlink_to("usr/etc")
    yield tree
    shutil.rmtree(tree.parent)


@pytest.fixture(scope="session")
def installed(tools: Path) -> Iterator[Path]:
    """The directories of a machine with a host's deployment, to be copied."""
    with _directory() as work:
        machine = Machine(tools, work)
        (work / "tree").mkdir()
        machine.shell(SYSROOT)
        for stand_in in STAND_INS.iterdir():
            shutil.copy(stand_in, work / "bin")
        yield work


@pytest.fixture
def machine(again: Callable[[], Machine]) -> Machine:
    """A machine as it was installed."""
    return again()


@pytest.fixture
def again(tools: Path, installed: Path) -> Iterator[Callable[..., Machine]]:
    """Return a new machine at each call; the one before is gone then.

    It is as it was installed, or as a function has left it that is called once: later machines are copies.
    """
    with ExitStack() as left_as, ExitStack() as present:
        prepared: dict[Callable[[Machine], None], Path] = {}

        def copy(of: Path, stack: ExitStack) -> Machine:
            work = stack.enter_context(_directory())
            subprocess.run(["sh", "-ec", COPY, "sh", of, work], check=True)
            return Machine(tools, work)

        def make(prepare: Callable[[Machine], None] | None = None) -> Machine:
            present.close()
            if prepare is None:
                return copy(installed, present)
            if prepare not in prepared:
                first = copy(installed, left_as)
                prepare(first)
                prepared[prepare] = first.work
            return copy(prepared[prepare], present)

        yield make


class _directory:  # noqa: N801 - a context manager
    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="machine-", dir="/var/tmp"))
        return self.path

    def __exit__(self, *_: object) -> None:
        # Deployments are immutable.
        subprocess.run(["chattr", "-R", "-f", "-i", self.path], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.path)
