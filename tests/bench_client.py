"""A bare SSH client: the facts of a run with nothing to do, once per host, and nothing else.

`python -m tests.bench_client FILE`: FILE is JSON, `[[endpoint, [command, ...]], ...]`. It uses what pyinfra
uses, paramiko on gevent: the difference is what pyinfra and our deploys add.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from gevent.pool import Pool  # noqa: E402
from paramiko import AutoAddPolicy, SSHClient, SSHConfig  # noqa: E402

from pyinfra_nspawn.connectors.ssh import attentive  # noqa: E402
from tests.lab import SSH_CONFIG  # noqa: E402

PARALLEL = 40  # pyinfra's default on two cores


def main() -> None:
    """Run every command on every endpoint."""
    config = SSHConfig.from_path(str(SSH_CONFIG))
    pool = Pool(PARALLEL)
    jobs = [pool.spawn(visit, config, *item) for item in json.loads(Path(sys.argv[1]).read_text())]
    read = sum(job.get() for job in jobs)
    print(f"{len(jobs)} endpoints, {read} bytes read")


def visit(config: SSHConfig, endpoint: str, commands: list[str]) -> int:
    """Run commands on one endpoint, one after another; return how many bytes they printed."""
    found = config.lookup(endpoint)
    client = SSHClient()
    client.set_missing_host_key_policy(AutoAddPolicy())
    client.connect(
        found["hostname"],
        username=found["user"],
        key_filename=found["identityfile"],
        look_for_keys=False,
        allow_agent=False,
        transport_factory=attentive,
    )
    size = 0
    for command in commands:
        _, stdout, _ = client.exec_command(command)
        size += sum(len(line) for line in stdout)
        if stdout.channel.recv_exit_status() != 0:
            sys.exit(f"{endpoint}: a command failed")
    client.close()
    return size


if __name__ == "__main__":
    main()
