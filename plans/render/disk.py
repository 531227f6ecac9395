"""The script by which a guest's files get the project that has its quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.layout import project_of

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.layout import Layout

# The guest is down: nobody moves a directory away under find. The top comes last, and says that all is done.
# What is made in a directory with P (FS_XFLAG_PROJINHERIT of ioctl_xfs_fsgetxattr(2)) gets its project.
_SCRIPT = """
project=$1; shift;
for path; do
{remount}
set -- $(lsattr -dp "$path");
case "$1 $2" in "$project "*P*) continue;; esac;
find "$path" -xdev -type f -exec chattr -f -p "$project" {{}} +;
find "$path" -xdev -depth -type d -exec chattr -f -p "$project" +P {{}} +;
done
"""
_REMOUNT = 'mount -o remount,bind,rw "$path";'


def join_project(layout: Layout) -> tuple[str, ...]:
    """Return the command that gives the files of a guest's /var and /etc its project, once."""
    # In a shared sysroot both are seen as the unit binds them: /sysroot is read-only on most hosts.
    script = _SCRIPT.format(remount=_REMOUNT if layout.shared else "")
    paths = (
        (f"{layout.mounts}/var", f"{layout.mounts}/etc")
        if layout.shared
        else (layout.var, f"{layout.current}/etc")
    )
    # A unit file has no word with a newline in it.
    return ("sh", "-c", " ".join(script.split()), "sh", str(project_of(layout.name)), *paths)
