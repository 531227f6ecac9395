"""The cached images: what a fresh host of one generation starts with."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import lock, tree
from tests.lab.paths import CACHE, FILES
from tests.lab.progress import size, step
from tests.lab.shell import run
from tests.lab.trash import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.generations import Generation

#: The name that hosts give the repository which offers their updates.
REMOTE = "lab"
#: Where a host sees that repository.
REMOTE_DIRECTORY = "/run/lab-remote"
#: The hosts' own stateroot.
STATEROOT = "host"
#: The file beside a host's sysroot that says what it was made from.
MADE_FROM = "made-from"
#: An image of another recipe may be wanted again, but for so long after a host was made of it.
KEEP_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Image:
    """A finished image in the cache, or a host's copy of one."""

    directory: Path

    @property
    def sysroot(self) -> Path:
        """A deployed sysroot. The image's own is never booted, only copied."""
        return self.directory / "sysroot"

    @property
    def remote(self) -> Path:
        """An archive repository with all commits of the generation; hosts see it, and have no copy."""
        return self.directory / "remote"


def image(generation: Generation) -> Image:
    """Return the image of a generation as the present recipe makes it, built or not.

    Its name has a digest of the recipe: another recipe is another image, whose hosts are made anew.
    """
    return Image(CACHE / f"{generation.name}-{_recipe(generation)}")


def build(generation: Generation) -> None:
    """Build the image of a generation unless the cache has it; one process builds, others wait for it."""
    final = image(generation).directory
    if not final.is_dir():
        with lock.image(generation.name):
            if not final.is_dir():
                _build(generation, final)


def _build(generation: Generation, final: Path) -> None:
    with step(f"{generation.name}: building the image") as done, _build_directory(final) as new:
        work, repo = new / "work", new / "work/repo"
        work.mkdir()
        tree.build(work / "tree", generation)
        _commit(generation, work / "tree", repo)
        _offer(generation, repo, new / "remote")
        _deploy(generation, repo, new / "sysroot")
        remove(work)
        done.result = f"{size(new)} in {final}"


@contextmanager
def _build_directory(final: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes the image once all went well."""
    new = CACHE / f"building.{final.name}"
    remove(new)
    new.mkdir(parents=True)
    yield new
    new.rename(final)
    _remove_unused(_generation_of(final.name))


def remove_unfinished() -> None:
    """Remove what a killed build has left. What is being built now has its lock taken, and stays."""
    for directory in CACHE.glob("building.*"):
        with lock.image(_generation_of(directory.name.removeprefix("building."))):
            remove(directory)


def _remove_unused(generation: str) -> None:
    """Remove images of other recipes, less those of checkouts that are at work beside this one."""
    sources = (path.read_text().splitlines()[0] for path in CACHE.glob(f"hosts*/*/{MADE_FROM}"))
    in_use = {Path(source) for source in sources}
    for old in CACHE.glob(f"{generation}-*"):
        if _generation_of(old.name) != generation:
            continue
        if old not in in_use and time.time() - old.stat().st_mtime > KEEP_SECONDS:
            remove(old)


def _generation_of(image_name: str) -> str:
    """Return the generation of an image by its name, GENERATION-DIGEST; the former may have dashes."""
    return image_name.rpartition("-")[0]


def _recipe(generation: Generation) -> str:
    """Return a digest of all that decides what an image holds."""
    digest = hashlib.sha256(generation.name.encode())
    files = sorted(path for path in (FILES / "image").rglob("*") if path.is_file())
    code = (FILES.parent / name for name in ("generations.py", "image.py", "tree.py"))
    for path in (*files, *code):
        digest.update(f"{path.relative_to(FILES.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _commit(generation: Generation, source: Path, repo: Path) -> None:
    """Commit the tree, then its later versions, which differ in a few files of /usr."""
    labels = [f"--selinux-policy={source}"] if generation.labelled else []
    with step(f"{generation.name}: committing") as done:
        run("ostree", f"--repo={repo}", "init", "--mode=bare")
        for ref, version in generation.versions.items():
            content = [f"--tree=dir={source}"]
            if ref != generation.ref:
                changed = source.parent / version
                tree.write_release(source, changed, version)
                if ref == generation.baked_ref:
                    tree.write_identity(changed)
                content = [f"--tree=ref={generation.ref}", f"--tree=dir={changed}"]
            run(
                "ostree",
                f"--repo={repo}",
                "commit",
                f"--branch={ref}",
                f"--subject=Lab {generation.name} {version}",
                f"--add-metadata-string=version={version}",
                *labels,
                *content,
            )
        done.result = f"{len(generation.versions)} commits"


def _offer(generation: Generation, repo: Path, remote: Path) -> None:
    """Make the repository that hosts pull from: an archive, as a web server would hold it.

    Unsigned: Debian builds ostree without ed25519, and gpgme would want a gpg in every host.
    """
    with step(f"{generation.name}: making the remote") as done:
        run("ostree", f"--repo={remote}", "init", "--mode=archive")
        run("ostree", f"--repo={remote}", "config", "set", "archive.zlib-level", "1")
        run("ostree", f"--repo={remote}", "pull-local", repo, *generation.versions)
        run("ostree", f"--repo={remote}", "summary", "--update")
        done.result = size(remote)


def _deploy(generation: Generation, repo: Path, sysroot: Path) -> None:
    """Make the sysroot of an installed host: deployed from the remote's ref, one commit ahead."""
    with step(f"{generation.name}: deploying") as done:
        sysroot.mkdir()
        own_repo = sysroot / "ostree/repo"
        run("ostree", "admin", "init-fs", sysroot)
        run("ostree", "admin", f"--sysroot={sysroot}", "os-init", STATEROOT)
        pull = ("ostree", f"--repo={own_repo}", "pull-local", repo)
        run(*pull, generation.ref, generation.next_ref, generation.baked_ref)
        run(*pull, f"--remote={REMOTE}", generation.ref)
        run(
            *("ostree", f"--repo={own_repo}", "remote", "add", "--no-gpg-verify"),
            *(REMOTE, f"file://{REMOTE_DIRECTORY}"),
        )
        run(
            *("ostree", "admin", f"--sysroot={sysroot}", "deploy", f"--os={STATEROOT}"),
            *("--karg=root=LABEL=lab", "--karg=rw"),
            *(f"--karg={argument}" for argument in generation.kernel_arguments),
            f"{REMOTE}:{generation.ref}",
        )
        done.result = size(sysroot)
