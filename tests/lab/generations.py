"""Which generations of the operating system the lab has."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Generation:
    """One generation of the tools: a Debian suite and the commits made of it."""

    name: str
    #: Tried in this order: what stands in where the first cannot be installed today.
    suites: tuple[str, ...]
    major: int
    #: Installed beside what every generation has.
    packages: tuple[str, ...] = ()
    #: Their units that do not start by themselves.
    disabled: tuple[str, ...] = ()
    #: And those that never start.
    masked: tuple[str, ...] = ()
    #: Whether the hosts have Python, for a package that needs it.
    python: bool = False
    #: What dracut is told about the initramfs.
    initramfs: tuple[str, ...] = ("--add", "ostree")
    #: Of its own, beside those of every generation.
    kernel_arguments: tuple[str, ...] = ()
    #: Its files have the labels of the SELinux policy that it holds.
    labelled: bool = False

    @property
    def ref(self) -> str:
        """The ref that hosts of this generation boot."""
        return f"debian/{self.name}/x86_64/lab"

    @property
    def next_ref(self) -> str:
        """A later commit, in the host's repository too."""
        return f"{self.ref}-next"

    @property
    def remote_ref(self) -> str:
        """A still later commit, which only the remote has."""
        return f"{self.ref}-remote"

    @property
    def baked_ref(self) -> str:
        """A commit with a hostname and a machine id baked into its /usr/etc, in the host's repository."""
        return f"{self.ref}-baked"

    @property
    def versions(self) -> dict[str, str]:
        """The version of each ref's commit, in the order in which they are made."""
        refs = (self.ref, self.next_ref, self.remote_ref, self.baked_ref)
        return {ref: f"{self.major}.{minor}" for minor, ref in enumerate(refs, start=1)}


TRIXIE = Generation("trixie", ("trixie",), 13)
SID = Generation("sid", ("sid", "testing"), 14)
#: The oldest: a host of it is up only when it is named.
BOOKWORM = Generation("bookworm", ("bookworm",), 12)
TRIXIE_VM = Generation(
    "trixie-vm",
    ("trixie",),
    13,
    packages=(
        "dnsmasq-base",
        "firewalld",
        "iputils-ping",
        "network-manager",
        "nftables",
        "qemu-guest-agent",
        "quota",
    ),
    disabled=(
        "firewalld.service",
        "NetworkManager.service",
        "NetworkManager-dispatcher.service",
        "NetworkManager-wait-online.service",
        "quota.service",
        "quotarpc.service",
    ),
    python=True,  # for firewalld
    # Just enough for a virtual machine, and not compressed: an emulated processor takes seconds to unpack it.
    initramfs=(
        *("--no-hostonly-cmdline", "--no-compress", "--filesystems=ext4"),
        "--modules=systemd systemd-initrd ostree base rootfs-block udev-rules fs-lib shutdown kernel-modules",
        "--drivers=virtio_blk virtio_pci virtio_mmio virtio_net virtio_rng ext4 overlay quota_tree quota_v2",
    ),
    kernel_arguments=("rootflags=prjquota",),
)
#: Debian's reference policy. The kernel's arguments choose SELinux; its mode is /etc/selinux/config's.
TRIXIE_SELINUX = replace(
    TRIXIE_VM,
    name="trixie-selinux",
    packages=(*TRIXIE_VM.packages, "auditd", "selinux-policy-default"),
    disabled=(*TRIXIE_VM.disabled, "audit-rules.service", "auditd.service"),
    # It asks for a relabelling wherever the kernel has no SELinux, as in a guest.
    masked=("selinux-autorelabel-mark.service",),
    kernel_arguments=(*TRIXIE_VM.kernel_arguments, "security=selinux", "selinux=1"),
    labelled=True,
)
