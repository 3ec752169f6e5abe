"""A SLURM of two nodes on this machine, for tests: Debian's `slurm-wlm` and `munge`, with all their files in one folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthInfo=socket={folder}/munge.socket,cred_expire=6
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=1
ReturnToService=2
JobRequeue=1
KillWait=20
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Unavailable(Exception):
    """Why there can be no SLURM here."""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start it, give the environment of its users, and stop it with every process of its jobs. Raises Unavailable saying why not."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=PATHS)]
    if missing:
        raise Unavailable(f"SLURM is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge")
    if os.geteuid():
        raise Unavailable("SLURM is started for tests by root only")
    host = socket.gethostname().partition(".")[0]
    nodes = [host, "localhost"]  # two names that the hosts of a run find
    try:
        socket.gethostbyname(host)
    except OSError:
        raise Unavailable(f"the name of this machine, {host}, has no address") from None
    if host == "localhost":
        raise Unavailable("this machine has no name but localhost, and two nodes need two")
    for name in ("state", *(f"spool.{node}" for node in nodes)):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, nodes=nodes, ports=_ports(3), folder=folder))
    env = os.environ | {"PATH": PATHS, "SLURM_CONF": str(conf)}
    daemons: list[subprocess.Popen] = []

    def start(name: str, *args: str) -> None:
        with (folder / f"{name}.out").open("ab") as log:
            daemons.append(subprocess.Popen([name, *args], env=env, stdout=log, stderr=log, start_new_session=True))

    try:
        start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder / 'munge.socket'}",
              f"--pid-file={folder / 'munged.pid'}", f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}")
        _until(lambda: (folder / "munge.socket").exists(), daemons, folder, 10)
        start("slurmctld", "-D", "-c")
        for node in nodes:
            start("slurmd", "-D", "-N", node)
        _until(lambda: _ask(env, "sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle", "idle"], daemons, folder, 30)
        yield env
    finally:
        if len(daemons) > 1:
            _ask(env, "scancel", "--user=root", "--full", "--signal=KILL")
            _ask(env, "scancel", "--user=root")
            _until(lambda: not _ask(env, "squeue", "--noheader"), [], folder, 10, must=False)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _ports(n: int) -> list[int]:
    """Ports that are free."""
    held = [socket.socket() for _ in range(n)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def _ask(env: dict[str, str], *command: str) -> str:
    """What a command prints; "" where nobody answers it."""
    try:
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20).stdout.strip()
    except subprocess.TimeoutExpired:
        return ""


def _until(true, daemons: list[subprocess.Popen], folder: Path, seconds: float, must: bool = True) -> None:
    """Wait until it is true; after so many seconds, or where a daemon has ended, Unavailable, or nothing unless it `must`."""
    end = time.monotonic() + seconds
    while not true():
        if must and (time.monotonic() > end or any(d.poll() is not None for d in daemons)):
            said = [line for file in sorted(folder.glob("*.out")) for line in file.read_text(errors="replace").splitlines()[-2:]]
            raise Unavailable("SLURM could not be started here: " + " | ".join(said))
        if time.monotonic() > end:
            return
        time.sleep(0.2)
