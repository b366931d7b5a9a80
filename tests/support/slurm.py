"""A real Slurm of the test's own: munged, slurmctld and two slurmd on the loopback, no root needed.

with Slurm(folder) as slurm:
    slurm.run("srun", "-N2", "hostname")     or any command with env=slurm.env
"""

from __future__ import annotations

import os
import socket
import subprocess

from support.cluster import Cluster, free_ports, require_programs
from support.waiting import until

NODES = ("n1", "n2")
# Credentials by munge; no accounting, no cgroups: tasks are tracked as a process's children. The
# nodes claim more processors than the machine may have, so that two jobs can run at once.
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}({here})
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_min_interval=100000
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr={here} Port={ports[1]} CPUs=4 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr={there} Port={ports[2]} CPUs=4 RealMemory=16000
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


class Slurm(Cluster):
    """The cluster; up inside a `with` block."""

    here = there = "127.0.0.1"  # addresses of the nodes; the controller is `here`

    def __enter__(self) -> Slurm:
        require_programs("munged", "slurmctld", "slurmd", "sbatch")
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(exist_ok=True)
        self.hand_over()
        self._start_munge()
        config = self.folder / "slurm.conf"
        config.write_text(
            SETTINGS.format(
                host=socket.gethostname().partition(".")[0],
                user=self.user,
                folder=self.folder,
                here=self.here,
                there=self.there,
                ports=free_ports(3),
            )
        )
        self.hand_over()
        self.variables["SLURM_CONF"] = str(config)
        self.run("slurmctld", "-c", "-f", str(config))
        for node in NODES:
            self.run(*self.on_node(node), "slurmd", "-N", node, "-f", str(config))
        until(self._is_idle, what="both nodes to be idle", timeout=120)
        return self

    def on_node(self, node: str) -> tuple[str, ...]:
        """What to put before a command that is to run on @node."""
        del node
        return ()

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.hand_over()
        files = {
            "key-file": key,
            "socket": self.folder / "munge.sock",
            "pid-file": self.folder / "munged.pid",
            "log-file": self.folder / "munged.log",
            "seed-file": self.folder / "munge.seed",
        }
        # --force: the folder may lie below one that everybody can write to, as /tmp.
        self.run("munged", "--force", *(f"--{name}={path}" for name, path in files.items()))

    def _is_idle(self) -> bool:
        return self.run("sinfo", "-h", "-o", "%T", check=False).split() == ["idle"]

    def __exit__(self, *_: object) -> None:
        for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged"):
            self.stop(self.folder / f"{name}.pid")

    def log_names(self) -> tuple[str, ...]:
        """As in SETTINGS."""
        return ("slurmctld.log", *(f"slurmd-{node}.log" for node in NODES), "munged.log")


class FarSlurm(Slurm):
    """The same, but n2 has a host name and a network of its own, as another machine has. Root only.

    What it shares with n1 is the file system, and a wire between 10.213.77.1 and 10.213.77.2.
    """

    here, there = "10.213.77.1", "10.213.77.2"

    def __enter__(self) -> FarSlurm:
        """Make the network, then the cluster."""
        command = [
            "unshare",
            "--net",
            "--uts",
            "sh",
            "-c",
            "hostname far && echo && exec sleep inf",
        ]
        self._machine = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            self._connect(str(self._machine.pid))
            super().__enter__()
        except BaseException:
            self._leave()
            raise
        return self

    def _connect(self, pid: str) -> None:
        assert self._machine.stdout
        self._machine.stdout.readline()  # it is there
        near, far = f"lpmx-{pid}-a", f"lpmx-{pid}-b"
        inside = ("nsenter", "--net", f"--target={pid}")
        self.run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        self.run("ip", "link", "set", far, "netns", pid)
        for where, link, address in (((), near, self.here), (inside, far, self.there)):
            self.run(*where, "ip", "address", "add", f"{address}/30", "dev", link)
            self.run(*where, "ip", "link", "set", link, "up")
        self.run(*inside, "ip", "link", "set", "lo", "up")

    def on_node(self, node: str) -> tuple[str, ...]:
        """n2 is in the namespaces."""
        if node == "n1":
            return ()
        return ("nsenter", "--net", "--uts", f"--target={self._machine.pid}")

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        self._leave()

    def _leave(self) -> None:
        self._machine.kill()  # the wire goes with the namespace
        self._machine.wait()
        assert self._machine.stdout
        self._machine.stdout.close()
