"""The script by which a guest's files get the project that has its quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.layout import project_of

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.layout import Layout

# The guest is down: no process moves a directory away under find. New files in a directory with P
# (FS_XFLAG_PROJINHERIT of ioctl_xfs_fsgetxattr(2)) get its project. The top comes last, and says that all
# have it: with one path that is too long for chattr, the quota counts as not in force. Where the files take
# more than the quota already, they are left alone: the guest could write nothing.
_SCRIPT = """
project=$1; read -r _ _ most <"$2"; shift 2;
for path; do
{remount}
set -- $(lsattr -dp "$path");
case "$1 $2" in "$project "*P*) continue;; esac;
used=$(du -kxs "$path");
[ "${{used%%[!0-9]*}}" -lt "$most" ] || {{ echo "$path takes more than the quota" >&2; continue; }};
find "$path" -xdev -mindepth 1 -type f -exec chattr -p "$project" {{}} + &&
find "$path" -xdev -mindepth 1 -type d -exec chattr -p "$project" +P {{}} + &&
chattr -p "$project" +P "$path";
done
"""
_REMOUNT = 'mount -o remount,bind,rw "$path";'


def join_project(layout: Layout, seconds: int) -> tuple[str, ...]:
    """Return the command that gives the files of a guest's /var and /etc its project, once.

    + seconds: how long the unit's start may take; half of it is for this
    """
    # In a shared sysroot both are seen as the unit binds them: /sysroot is read-only on most hosts.
    script = _SCRIPT.format(remount=_REMOUNT if layout.shared else "")
    paths = (
        (f"{layout.mounts}/var", f"{layout.mounts}/etc")
        if layout.shared
        else (layout.var, f"{layout.current}/etc")
    )
    # A unit file has no word with a newline in it.
    words = ("sh", "-c", " ".join(script.split()), "sh", str(project_of(layout.name)), layout.disk_limit)
    return ("timeout", str(seconds // 2 or 1), *words, *paths)
