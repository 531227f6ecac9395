"""A guest: the centre of the model."""

from __future__ import annotations

import graphlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from pyinfra_nspawn.specs import credentials
from pyinfra_nspawn.specs.base import Items, Line, Secret, Spec
from pyinfra_nspawn.specs.bind import Bind
from pyinfra_nspawn.specs.checks import Checks
from pyinfra_nspawn.specs.file import FilePath, FileText
from pyinfra_nspawn.specs.k3s import CONFIG, PREPARE, PROFILE, SERVICE, TOKEN, K3sOrTrue
from pyinfra_nspawn.specs.layout import project_of
from pyinfra_nspawn.specs.limits import Limits
from pyinfra_nspawn.specs.names import (
    AuthorizedKey,
    Capability,
    Commit,
    CredentialId,
    Device,
    MachineId,
    MachineName,
    SystemCall,
    UnitName,
    VariableName,
)
from pyinfra_nspawn.specs.network import GuestNetwork, NetworkText
from pyinfra_nspawn.specs.source import Source, SourceText

if TYPE_CHECKING:
    from collections.abc import Callable


def _tuple_from_text(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Guest(Spec):
    """An OSTree guest, as an inventory's `guests` describes it.

    + name: machine name and stateroot
    + source: `host`, a commit, `REF`, `REMOTE:REF` or `REMOTE:COMMIT`; with isolation `none` also `guest`;
      see `Source`
    + sysroot: `private`: an OSTree sysroot of its own below /var/lib/pyinfra-nspawn; `shared`: a stateroot
      in the host's own /ostree, and so in the host's boot menu
    + isolation: `private-users`: guest root is no root on the host; `overlay`: it is, and what it writes
      to its / goes to a layer that is thrown away when it stops; `none`: it is, / is read-only, and it
      sees the /sysroot and /boot that it was deployed in, as a booted OSTree system does. Only the first
      is a wall: another guest is as trusted as its host
    + network: `bridge`, `zone:NAME`, `veth` or `host`, or a `GuestNetwork` with addresses; by default the
      host's bridge where `nspawn_host` has one, else `veth`. Its interface is `host0`
    + autostart: start with the host
    + after: guests of the same host that are up before this one starts with the host
    + state: `running`, `stopped`, or `absent`: removed, but for its /var
    + purge: with `absent`, remove its /var too
    + restart: what the unit does when the guest ends by itself (systemd.service(5), `Restart=`)
    + on_change: what happens to a running guest whose definition changed: `restart` or `report`
    + on_degraded: whether a guest that runs with failed units makes its host `fail` (after the other
      guests were tried), or is told of: `report`
    + checks: what must work in it before a changed definition or commit is kept; see `Checks`
    + keep: how many of its older deployments an upgrade keeps beside the one that it boots, the one that it
      booted before and those that are pinned; 0 by default
    + pinned: commits whose deployments are never removed by an upgrade
    + snapshot: keep a copy of its /var from before the last upgrade, `var.before` beside it, by
      shared blocks (reflink): its file system must be able to, as btrfs and xfs are. False by default
    + backups: how many of its archives its host keeps, the latest; 3 by default
    + start_timeout_seconds: how long a start may take until the guest says `running`; 120 by default, a day
      at most
    + binds: directories and files of the host
    + devices: of the host, that the guest sees and may open, in the syntax of DeviceAllow=
      (systemd.resource-control(5)): `/dev/kmsg r`, `/dev/fuse rw`. With `private-users` they belong to
      nobody, and their modes decide
    + limits: memory, CPU, tasks, disk
    + capabilities: in addition to nspawn's own set; `all`, or names of capabilities(7)
    + system_calls: allowed in addition to nspawn's own list; `~` before a name forbids it. `@` names a
      group that systemd knows
    + environment: of the guest's PID 1
    + hostname: the machine name by default
    + machine_id: 32 hex digits, not all zeros and no other guest's, taken at the guest's first start and
      kept; by default the guest makes one
    + authorized_keys: lines for root's ~/.ssh/authorized_keys
    + mask_units: units that the guest must not start
    + files: by path; a text, or a `File`. Each file once, `authorized_keys` and credentials included
    + credentials: by name, as systemd.system-credentials(7) lists them; kept secret. With keys and files
      (in base64) they take 1 MiB at most
    + k3s: `True`: ready for k3s, with isolation `overlay`; or a `K3s`: a node of a cluster. None by default
    + adopt: take over the stateroot, drop-ins and files of that name that somebody made by hand;
      `--data adopt=NAME` sets it for one run
    """

    name: MachineName
    source: SourceText = Source()
    sysroot: Literal["private", "shared"] = "private"
    isolation: Literal["private-users", "overlay", "none"] = "private-users"
    network: NetworkText = GuestNetwork()
    autostart: bool = True
    after: Annotated[tuple[MachineName, ...], Items] = ()
    state: Literal["running", "stopped", "absent"] = "running"
    purge: bool = False
    restart: Literal["always", "on-failure", "no"] = "always"
    on_change: Literal["restart", "report"] = "restart"
    on_degraded: Literal["fail", "report"] = "fail"
    checks: Checks = Checks()
    keep: int = Field(default=0, ge=0)
    pinned: Annotated[tuple[Commit, ...], Items] = ()
    snapshot: bool = False
    backups: int = Field(default=3, ge=1)
    start_timeout_seconds: int = Field(default=120, gt=0, le=86400)
    binds: Annotated[tuple[Bind, ...], Items] = ()
    devices: Annotated[tuple[Device, ...], Items] = ()
    limits: Limits = Limits()
    capabilities: Annotated[tuple[Capability, ...], Items] = ()
    system_calls: Annotated[tuple[SystemCall, ...], Items] = ()
    environment: dict[VariableName, Line] = Field(default={})
    hostname: MachineName | None = None
    machine_id: MachineId | None = None
    authorized_keys: Annotated[tuple[AuthorizedKey, ...], Items] = ()
    mask_units: Annotated[tuple[UnitName, ...], Items] = ()
    files: dict[FilePath, FileText] = Field(default={})
    credentials: dict[CredentialId, Secret] = Field(default={})
    k3s: K3sOrTrue | None = None
    adopt: bool = False

    @property
    def is_host_root(self) -> bool:
        """Whether its root is the host's: without a user namespace, as k3s has it by itself."""
        return self.k3s is not None or self.isolation != "private-users"

    @model_validator(mode="after")
    def _spare_the_host(self) -> Guest:
        for bind in self.binds:
            if self.is_host_root and not bind.read_only and bind.is_of_the_host:
                raise ValueError(f"binds: {bind.refusal('a writable')}")
        return self

    @model_validator(mode="after")
    def _keep_to_its_quota(self) -> Guest:
        if self.limits.disk_max and self.is_host_root:
            raise ValueError("limits: disk_max: needs isolation 'private-users': real root exceeds a quota")
        return self

    @model_validator(mode="after")
    def _open_each_device_once(self) -> Guest:
        paths = ["/dev/net/tun", *(path for path, _ in map(str.split, self.devices))]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"devices: {', '.join(twice)} is given twice, or every guest's")
        return self

    @model_validator(mode="after")
    def _leave_to_k3s_what_it_needs(self) -> Guest:
        if self.k3s is None:
            return self
        if "isolation" in self.model_fields_set and self.isolation != "overlay":
            raise ValueError("k3s: needs isolation 'overlay', which it has by itself")
        if CONFIG in self.files:
            raise ValueError(f"files: {CONFIG} is made of `k3s`; write its keys in `config` there")
        for path in (SERVICE, PREPARE, PROFILE, TOKEN) if self.k3s.binary else ():
            if path in self.files:
                raise ValueError(f"files: {path} is made of `k3s`; remove it")
        return self

    @model_validator(mode="after")
    def _can_be_written(self) -> Guest:
        for check in (credentials.written_twice, credentials.written_in_vain, credentials.too_large):
            if refusal := check(self):
                raise ValueError(refusal)
        return self

    @model_validator(mode="after")
    def _purge_knowingly(self) -> Guest:
        if self.purge and self.state != "absent":
            raise ValueError("purge: is only for a guest whose `state` is 'absent'")
        return self

    @model_validator(mode="after")
    def _deploy_what_it_sees(self) -> Guest:
        if self.source.guest and self.isolation != "none":
            raise ValueError("source: 'guest' needs isolation 'none': else it cannot deploy anything")
        return self


class Guests(Spec):
    """All guests of one host: no two of the same name, none that waits for itself."""

    guests: Annotated[tuple[Guest, ...], Items] = ()

    @model_validator(mode="after")
    def _names_once(self) -> Guests:
        names = [guest.name for guest in self.guests]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one guest is called {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _machine_ids_once(self) -> Guests:
        if pair := self._alike(lambda guest: guest.machine_id):
            raise ValueError(f"machine_id: {' and '.join(pair)} have the same; write one for each")
        return self

    @model_validator(mode="after")
    def _have_quotas_of_their_own(self) -> Guests:
        if pair := self._alike(lambda guest: project_of(guest.name) if guest.limits.disk_max else None):
            raise ValueError(f"limits: disk_max: {' and '.join(pair)} would have one quota; rename one")
        return self

    def _alike(self, key: Callable[[Guest], str | int | None]) -> tuple[str, str] | None:
        """Return the names of the first two guests with the same key, but for absent ones and None."""
        owners: dict[str | int, str] = {}
        for guest in self.guests:
            own = None if guest.state == "absent" else key(guest)
            if own is not None and (first := owners.setdefault(own, guest.name)) != guest.name:
                return first, guest.name
        return None

    @model_validator(mode="after")
    def _can_start(self) -> Guests:
        after = {guest.name: guest.after for guest in self.guests}
        unknown = sorted({name for names in after.values() for name in names} - set(after))
        if unknown:
            raise ValueError(f"after: no guest of this host is called {', '.join(unknown)}")
        try:
            graphlib.TopologicalSorter(after).prepare()
        except graphlib.CycleError as error:
            raise ValueError(f"after: each waits for the next: {', '.join(error.args[1])}") from None
        return self


Names = Annotated[tuple[MachineName, ...], Items, BeforeValidator(_tuple_from_text)]


class Named(Spec):
    """The guests that a run is told of by `--data`: a name, or a list of names.

    + adopt: to adopt
    + backup: to back up
    + retry: whose refused commit an upgrade tries again
    + rollback: to boot the deployment that they booted before
    """

    adopt: Names = ()
    backup: Names = ()
    retry: Names = ()
    rollback: Names = ()
