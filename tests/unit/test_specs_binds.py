"""Which directories of the host a guest may be given to write to."""

import pytest

from pyinfra_nspawn.specs import Bind
from tests.unit.refused import accepted, refusal

OF_THE_HOST = ["/", "/sysroot", "/ostree/repo", "/boot", "/efi", "/etc", "/run", "/dev", "/proc", "/sys"]
OF_THE_HOST += ["/usr", "/usr/share", "/bin", "/sbin", "/lib", "/lib64", "/usr/local", "/usr/local/bin"]
OF_THE_HOST += ["/var", "/var/run", "/var/lock", "/var/usrlocal", "/var/usrlocal/lib/x"]
OF_THE_HOST += ["/root", "/root/.ssh", "/root/data", "/var/roothome", "/var/roothome/.ssh"]
OF_THE_HOST += ["/home", "/var/home", "/home/alice", "/var/home/alice", "/home/alice/.ssh"]
OF_THE_HOST += ["/home/alice/.config/systemd", "/var/home/alice/.bashrc"]
OF_THE_HOST += ["/var/lib", "/var/lib/pyinfra-nspawn", "/var/lib/pyinfra-nspawn/db/credentials"]
OF_THE_HOST += ["/var/lib/machines/x", "/var/lib/systemd/linger", "/var/lib/containers/storage"]
OF_THE_HOST += ["/var/lib/docker", "/var/lib/rancher/k3s", "/var/lib/kubelet", "/var/lib/cloud"]
OF_THE_HOST += ["/var/spool", "/var/spool/cron", "/var/log", "/var/log/journal", "/var/cache", "/opt"]
OF_THE_HOST += ["/tmp", "/var/tmp", "/var/opt", "/run/media"]

DATA = ["/srv", "/srv/www", "/var/srv/www", "/var/lib/myapp", "/opt/x", "/mnt", "/mnt/data", "/media/disk"]
DATA += [
    "/home/alice/data",
    "/var/home/alice/www/.git",
    "/var/www",
    "/data",
    "/var/log/myapp",
    "/run/media/disk",
]
DATA += ["/var/tmp/x", "/rootfs", "/var/lib/machines-data", "/etcetera", "/home2", "/var/spool/myapp"]


@pytest.mark.parametrize("source", OF_THE_HOST)
def test_no_id_mapped_bind_of_the_host(source: str):
    words = refusal(binds=[{"source": source, "idmap": True, "read_only": False}])
    assert words.endswith(
        f"an id-mapped bind of {source} gives guest root what is the host's own; "
        "bind a directory of data, like /srv/www"
    )
    assert "an id-mapped bind" in refusal(binds=[{"source": source, "idmap": True}])
    assert Bind.of({"source": source}, "here").read_only
    assert accepted(binds=[{"source": source, "target": "/var/x", "read_only": False}])


@pytest.mark.parametrize("isolation", ["overlay", "none"])
@pytest.mark.parametrize("source", OF_THE_HOST)
def test_no_writable_bind_of_the_host_for_real_root(source: str, isolation: str):
    bind = {"source": source, "read_only": False}
    words = f"a writable bind of {source} gives guest root what is the host's own"
    assert words in refusal(isolation=isolation, binds=[bind])
    assert accepted(isolation=isolation, binds=[{"source": source}])


@pytest.mark.parametrize("source", DATA)
def test_data_can_be_given(source: str):
    bind = {"source": source, "read_only": False}
    assert accepted(binds=[{**bind, "idmap": True}])
    assert accepted(isolation="none", binds=[bind])


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        ("/root", "/var/roothome"),
        ("/home/alice/x", "/var/home/alice/x"),
        ("/homes", "/homes"),
        ("/usr/local/x", "/var/usrlocal/x"),
        ("/usr/share", "/usr/share"),
        ("/media", "/run/media"),
        ("/lib/x", "/usr/lib/x"),
        ("/", "/"),
    ],
)
def test_a_source_with_the_links_of_ostree_resolved(source: str, canonical: str):
    assert Bind.of({"source": source}, "here").canonical_source == canonical
