"""The console script `pyinfra-nspawn`."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, get_args

import click
from paramiko import SSHException
from pyinfra.api.exceptions import ConnectError, InventoryError, PyinfraError
from pyinfra_cli.exceptions import CliError, UnexpectedExternalError, WrappedError

from pyinfra_nspawn import __version__
from pyinfra_nspawn.cli.first import first_inventory
from pyinfra_nspawn.cli.fleet import clusters_of, errors_of, histories, impossible_on, nodes_in, visit_all
from pyinfra_nspawn.cli.guest import connected, log_in, printable, read, run
from pyinfra_nspawn.cli.inventory import load
from pyinfra_nspawn.cli.kubeconfig import (
    MOST_BYTES,
    PATH,
    clusters_with_servers,
    credentials_in,
    kubeconfig,
    merged,
    save,
    server_of,
)
from pyinfra_nspawn.cli.options import reaches_hosts
from pyinfra_nspawn.cli.rescue import rescue
from pyinfra_nspawn.cli.schema import SCHEMAS
from pyinfra_nspawn.facts.history import MOST
from pyinfra_nspawn.plans.finding import Kind
from pyinfra_nspawn.reports.drift import drift_of
from pyinfra_nspawn.reports.history import history_of
from pyinfra_nspawn.reports.k3s import k3s_of
from pyinfra_nspawn.reports.status import status_of
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import errors_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.cli.inventory import Loaded
    from pyinfra_nspawn.connectors.nspawn import NspawnConnector
    from pyinfra_nspawn.facts.snapshot import Usage
    from pyinfra_nspawn.reports.report import FleetReport
    from pyinfra_nspawn.specs.cluster import Node

_TIMEOUT = click.option(
    "--timeout",
    "timeout_seconds",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="Seconds that a host may take to answer.",
)
_INVENTORY = click.option(
    "-i",
    "--inventory",
    default="",
    envvar="PYINFRA_NSPAWN_INVENTORY",
    show_envvar=True,
    help="Inventory with the host; without one, a host that SSH knows by that name.",
)
_IGNORED = click.option(
    "--ignore",
    "ignored",
    multiple=True,
    type=click.Choice(get_args(Kind)),
    help="Leave out findings of a kind.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, see `pyinfra-nspawn schema`.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pyinfra-nspawn")
def cli() -> None:
    """Look at OSTree guests in systemd-nspawn on the hosts of a pyinfra inventory.

    Guests are made and changed by pyinfra itself: `pyinfra INVENTORY deploys/fleet.py`.
    """


@cli.command()
@click.argument("inventory")
@reaches_hosts
def check(inventory: str, **options: Any) -> None:  # noqa: ANN401 - pyinfra's options
    """Check the inventory alone; no host is contacted.

    Prints every error of every host and exits 1 with any.
    """
    loaded = _load(inventory, options)
    _exit_with(*loaded.problems, *errors_of(loaded.hosts), *impossible_on(loaded.hosts))
    _exit_with(*clusters_of(loaded))
    guests = sum(len(host.data.get("guests") or ()) for host in loaded.hosts)
    without = [host.name for host in loaded.hosts if not host.data.get("guests")]
    click.echo(f"{_count(len(loaded.hosts), 'host')}, {_count(guests, 'guest')}: no errors")
    if without:
        click.echo(f"without guests: {', '.join(without)}")


@cli.command()
@click.argument("inventory")
@_JSON
@click.option("--disk", is_flag=True, help="Have each guest measure its /etc and /var, in at most 20 s.")
@_TIMEOUT
@reaches_hosts
def status(
    inventory: str,
    as_json: bool,
    disk: bool,
    timeout_seconds: int,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show what runs on the hosts, beside what the inventory wants.

    Exits 1 when a host could not be looked at.
    """
    loaded = _load_valid(inventory, options)
    usage: Usage = "disk" if disk else "addresses"
    report = status_of(visit_all(loaded, timeout_seconds=timeout_seconds, usage=usage))
    _end(report, as_json=as_json)


@cli.command()
@click.argument("inventory")
@_JSON
@_IGNORED
@_TIMEOUT
@reaches_hosts
def drift(
    inventory: str,
    as_json: bool,
    ignored: tuple[str, ...],
    timeout_seconds: int,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show what differs from the inventory; change nothing.

    Exits 0 without findings, 2 with any, and 1 when something could not be determined.
    """
    loaded = _load_valid(inventory, options)
    report = drift_of(visit_all(loaded, timeout_seconds=timeout_seconds, remotes=True), ignored)
    if not as_json:
        hosts, findings = _count(len(report.hosts), "host"), _count(len(report.findings), "finding")
        click.echo(f"{hosts}, {findings}", err=True)
    _end(report, as_json=as_json)


@cli.command()
@click.argument("inventory")
@_JSON
@click.option("--all", "every", is_flag=True, help="Also test guests without `k3s`.")
@_TIMEOUT
@reaches_hosts
def k3s(inventory: str, as_json: bool, every: bool, timeout_seconds: int, **options: Any) -> None:  # noqa: ANN401
    """Test the preconditions of k3s in guests and list the unmet ones.

    Exits 0 when all are ready, 2 when one is not, and 1 when something could not be determined.
    """
    loaded = _load_valid(inventory, options)
    visits = visit_all(loaded, timeout_seconds=timeout_seconds, every=every)
    _end(k3s_of(visits, every=every), as_json=as_json)


@cli.command()
@click.argument("guest", metavar="HOST:GUEST")
@click.argument("command", nargs=-1)
@_INVENTORY
@reaches_hosts
def shell(guest: str, command: tuple[str, ...], inventory: str, **options: Any) -> None:  # noqa: ANN401
    """Run a command in a guest, or a login shell; the guest needs no network.

    Exits as the command does.
    """
    with _connected(guest, inventory, options) as connector:
        if command:
            sys.exit(run(connector, shlex.join(command)))
        if not sys.stdin.isatty():
            raise click.UsageError("a login shell needs a terminal: give a command after `--`")
        sys.exit(log_in(connector))


@cli.command("rescue")
@click.argument("guest", metavar="HOST:GUEST")
@click.argument("command", nargs=-1)
@_INVENTORY
@reaches_hosts
def rescue_guest(guest: str, command: tuple[str, ...], inventory: str, **options: Any) -> None:  # noqa: ANN401
    """Enter a guest that does not boot: a command or a shell in place of its init.

    It has its deployment, /etc and /var under the same wall. The guest stays stopped afterwards. Exits as the
    command does. Needs the inventory that defines the guest.
    """
    host, name = _host_and_guest(guest)
    if not inventory:
        raise click.UsageError("give the inventory that defines the guest, with --inventory")
    if not command and not sys.stdin.isatty():
        raise click.UsageError("a login shell needs a terminal: give a command after `--`")
    with _as_one_line():
        sys.exit(rescue(_load(inventory, options), host, name, command))


@cli.command()
@click.argument("guest", metavar="HOST:GUEST")
@click.option("-f", "--follow", is_flag=True, help="Follow the journal.")
@click.option("-n", "--lines", type=click.IntRange(0), default=200, show_default=True, help="Lines to show.")
@click.option("-u", "--unit", default="", help="Show one unit of the guest.")
@_INVENTORY
@reaches_hosts
def logs(guest: str, follow: bool, lines: int, unit: str, inventory: str, **options: Any) -> None:  # noqa: ANN401
    """Show a guest's journal; the guest needs no network.

    What the guest prints reaches the terminal without control characters.
    """
    words = ["journalctl", "--no-pager", f"--lines={lines}", *(["--follow"] if follow else [])]
    words += [f"--unit={unit}"] if unit else []
    with _connected(guest, inventory, options) as connector:
        sys.exit(run(connector, f"exec {shlex.join(words)} </dev/null", printable(sys.stdout)))


@contextmanager
def _connected(guest: str, inventory: str, options: dict[str, Any]) -> Iterator[NspawnConnector]:
    """Connect to a guest, by way of its host in the inventory, or of a host that SSH knows by that name."""
    host, name = _host_and_guest(guest)
    with _reached(_load(inventory or f"@ssh/{host}", options), host, name) as connector:
        yield connector


def _host_and_guest(guest: str) -> tuple[str, str]:
    """Return the names in `HOST:GUEST`."""
    host, colon, name = guest.rpartition(":")
    if not (host and colon and name):
        raise click.UsageError(f"{guest}: name host and guest: HOST:GUEST")
    return host, name


@contextmanager
def _reached(loaded: Loaded, host: str, guest: str) -> Iterator[NspawnConnector]:
    with _as_one_line(), connected(loaded, host, guest) as connector:
        yield connector


@contextmanager
def _as_one_line() -> Iterator[None]:
    """Have what stands in the way of a guest end the command with one line."""
    try:
        yield
    except (ConnectError, InventoryError, InvalidSpecError, SSHException) as error:
        raise click.ClickException(str(error)) from None


@cli.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@_INVENTORY
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(1, MOST),
    default=100,
    show_default=True,
    help="Entries of each host to show, the latest.",
)
@_JSON
@_TIMEOUT
@reaches_hosts
def history(
    hosts: tuple[str, ...],
    inventory: str,
    count: int,
    as_json: bool,
    timeout_seconds: int,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show the changes of hosts, with time, user and version, from their journals.

    Exits 1 when a journal could not be read.
    """
    options["limit"] = hosts if inventory else ()
    loaded = _load(inventory or ",".join(f"@ssh/{host}" for host in hosts), options)
    if loaded.problems:  # of names that no host has
        raise click.ClickException("; ".join(loaded.problems))
    report = history_of(histories(loaded, limit=count, timeout_seconds=timeout_seconds))
    _end(report, as_json=as_json)


@cli.command("kubeconfig")
@click.argument("inventory")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--cluster", default="default", show_default=True, help="Cluster of the inventory.")
@click.option("--server", default="", help="URL of its API server. [default: its first server's address]")
@click.option("--merge", is_flag=True, help="Add the cluster to FILE and keep its others.")
@_TIMEOUT
@reaches_hosts
def write_kubeconfig(  # noqa: PLR0917 - options of a command
    inventory: str,
    file: Path,
    cluster: str,
    server: str,
    merge: bool,
    timeout_seconds: int,
    **options: Any,  # noqa: ANN401
) -> None:
    """Write the administrator's kubeconfig of a k3s cluster to FILE; `-` prints it.

    It comes from the cluster's first server that should run, also from one outside `--limit`.
    """
    prints = str(file) == "-"
    if merge and prints:
        raise click.UsageError("`--merge` needs a file: name one in place of `-`")
    if server and not server.startswith("https://"):
        raise click.UsageError("`--server` must be like https://192.0.2.10:6443")
    target = file.resolve()  # before `--chdir`
    if not prints and not merge and target.exists():
        raise click.ClickException(f"{file} exists: name another file, or give --merge")
    text = _kubeconfig(_load_valid(inventory, options), cluster, server, timeout_seconds)
    if prints:
        click.echo(text, nl=False)
        return
    try:
        if target.exists():
            text = _merged(file, target.read_bytes(), text)
        save(target, text)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    click.echo(f"wrote {file}. Next:\n    {shlex.join(['kubectl', '--kubeconfig', str(file)])} get nodes")


def _kubeconfig(loaded: Loaded, cluster: str, server: str, timeout_seconds: int) -> str:
    """Return a cluster's kubeconfig, with credentials that its first server gives."""
    node = _server_of(loaded, cluster)
    guest, host = node.guest.name, node.host.removeprefix("@ssh/")
    url = server or node.url
    if url is None:
        raise click.ClickException(f"{guest} on {host} has no static address: give the URL, with `--server`")
    everywhere = replace(loaded, hosts=tuple(loaded.state.inventory))
    with _reached(everywhere, host, guest) as connector:
        command = f"exec cat {PATH} </dev/null"
        answer = read(connector, command, most=MOST_BYTES, timeout_seconds=timeout_seconds)
    credentials = credentials_in(answer or b"")
    if credentials is None:
        raise click.ClickException(
            f"{guest} on {host} gave no kubeconfig of k3s. If k3s is still starting, run again."
        )
    return kubeconfig(cluster, url, credentials)


def _server_of(loaded: Loaded, cluster: str) -> Node:
    """Return the first server of a cluster; end with the names of clusters where there is none."""
    try:
        nodes = nodes_in(loaded)
    except InvalidSpecError as error:
        raise click.ClickException(str(error)) from None
    node = server_of(cluster, nodes)
    if node is None:
        known = ", ".join(clusters_with_servers(nodes)) or "none"
        raise click.ClickException(f"cluster {cluster} has no running server. Clusters with one: {known}")
    return node


def _merged(file: Path, old: bytes, new: str) -> str:
    text = merged(old, new)
    if text is None:
        raise click.ClickException(f"{file} is no kubeconfig: name another file")
    return text


@cli.command()
@click.argument("file", default="inventory.py", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--host", "hosts", multiple=True, help="Name or address of a host; may be repeated.")
@click.option("--guest", "guests", multiple=True, help="Name of a guest; may be repeated. [default: web]")
@click.option("--ssh-user", "user", default="", help="Who logs in on the hosts. [default: root]")
@click.option("--sudo/--no-sudo", default=None, help="Whether that user needs sudo. [default: unless root]")
@click.option("--key", type=click.File(), help="Public SSH key for root of the guests.")
def init(  # noqa: PLR0917 - options of a command
    file: Path,
    hosts: tuple[str, ...],
    guests: tuple[str, ...],
    user: str,
    sudo: bool | None,
    key: TextIO | None,
) -> None:
    """Write a first inventory to FILE, by default inventory.py; at a terminal, ask for missing options.

    An existing file is left as it is.
    """
    asks = sys.stdin.isatty()
    if not hosts and not asks:
        raise click.UsageError("give the hosts, with `--host`")
    hosts = hosts or tuple(click.prompt("Hosts, separated by spaces").split())
    guests = guests or (tuple(click.prompt("Guests on each", default="web").split()) if asks else ("web",))
    user = user or (click.prompt("SSH user", default="root") if asks else "root")
    sudo = user != "root" if sudo is None else sudo
    if errors := errors_in({"guests": [{"name": name} for name in guests]}, "guests"):
        raise click.ClickException("; ".join(errors))
    text = first_inventory(hosts, guests, user=user, sudo=sudo, key=key.read().strip() if key else "")
    try:
        with file.open("x") as new:
            new.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} exists: name another file") from None
    click.echo(f"wrote {file}. Next:")
    for command in ("pyinfra-nspawn check", "pyinfra-nspawn status"):
        click.echo(f"    {command} {file}")


@cli.command()
@click.argument("name", type=click.Choice(sorted(SCHEMAS)))
def schema(name: str) -> None:
    """Print the JSON schema of an inventory's data, or of a report."""
    click.echo(json.dumps(SCHEMAS[name](), indent=2))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _load(inventory: str, options: dict[str, Any]) -> Loaded:
    """Load an inventory; end with pyinfra's words where that fails, or where it has no hosts."""
    try:
        loaded = load(inventory, options)
    except (CliError, UnexpectedExternalError):
        raise
    except PyinfraError as error:
        raise WrappedError(error) from None
    if not loaded.hosts:
        raise click.ClickException("no hosts: correct the inventory, or `--limit`.")
    return loaded


def _load_valid(inventory: str, options: dict[str, Any]) -> Loaded:
    """Load an inventory; end with every error of every host where it has any."""
    loaded = _load(inventory, options)
    _exit_with(*loaded.problems, *errors_of(loaded.hosts))
    _exit_with(*clusters_of(loaded))
    return loaded


def _exit_with(*errors: str) -> None:
    """Print the errors and exit with 1, where there are any."""
    for error in errors:
        click.echo(error, err=True)
    if errors:
        sys.exit(1)


def _end(report: FleetReport, *, as_json: bool) -> NoReturn:
    """Print a report and exit with its code."""
    if as_json:
        click.echo(report.to_text())
    else:
        report.show(sys.stdout)
    sys.exit(report.exit_code)
