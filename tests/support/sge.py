"""A real Grid Engine of the test's own: qmaster and an execution daemon, no root needed.

    with GridEngine(folder) as sge:
        sge.run("qsub", "-b", "y", "-sync", "y", "hostname")     or any command with env=sge.env

One machine is one node to Grid Engine, which knows nodes by their host names; jobs run side by side
in its slots.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

from support.cluster import Cluster, free_ports, require_programs, write
from support.waiting import until

LIBRARY = Path("/usr/lib/gridengine")
SHARE = Path("/usr/share/gridengine")
SLOTS = 4
HOST = {
    "load_scaling": "NONE",
    "complex_values": "NONE",
    "user_lists": "NONE",
    "xuser_lists": "NONE",
    "projects": "NONE",
    "xprojects": "NONE",
    "usage_scaling": "NONE",
    "report_variables": "NONE",
}
PARALLEL = {
    "pe_name": "smp",
    "slots": 999,
    "user_lists": "NONE",
    "xuser_lists": "NONE",
    "start_proc_args": "NONE",
    "stop_proc_args": "NONE",
    "allocation_rule": "$pe_slots",
    "control_slaves": "FALSE",
    "job_is_first_task": "TRUE",
    "urgency_slots": "min",
    "accounting_summary": "FALSE",
    "qsort_args": "NONE",
}
QUEUE = {
    "qname": "all.q",
    "hostlist": "@allhosts",
    "slots": SLOTS,
    "pe_list": "smp",
    "shell": "/bin/sh",
    "load_thresholds": "NONE",
}


class GridEngine(Cluster):
    """The cell; up inside a `with` block."""

    def __enter__(self) -> GridEngine:
        require_programs("sge_qmaster", "sge_execd", "qsub", "qconf")
        ports = free_ports(2)
        self.host = socket.gethostname().partition(".")[0]
        self.variables |= {
            "SGE_ROOT": str(self.folder / "root"),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(ports[0]),
            "SGE_EXECD_PORT": str(ports[1]),
            "SGE_CLUSTER_NAME": "test",
        }
        self._make_cell()
        self.hand_over()
        self.run("sge_qmaster")
        until(self._answers, what="qmaster to answer", timeout=30)
        self._configure()
        self.run("sge_execd")
        until(self._has_node, what="the node to report", timeout=60)
        return self

    def _make_cell(self) -> None:
        """What the package's own set-up would make in /var, made in our folder."""
        root, spool = self.folder / "root", self.folder / "spool"
        common = root / "default/common"
        common.mkdir(parents=True)
        for name in ("qmaster/job_scripts", "execd"):
            (spool / name).mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (root / name).symlink_to(f"/var/lib/gridengine/{name}")
        (common / "act_qmaster").write_text(f"{self.host}\n")
        if self.host != "localhost":
            # Where the host's name is a loopback address, that resolves back to "localhost".
            (common / "host_aliases").write_text(f"{self.host} localhost\n")
        me, places = self.user, f"{common};{spool}/qmaster"
        bootstrap = {
            "admin_user": me,
            "spooling_method": "classic",
            "spooling_lib": "libspoolc",
            "spooling_params": places,
            "qmaster_spool_dir": f"{spool}/qmaster",
        }
        _edit(SHARE / "default-bootstrap", common / "bootstrap", bootstrap)
        configuration = {
            "execd_spool_dir": f"{spool}/execd",
            "min_uid": 0,
            "min_gid": 0,
            "load_report_time": "00:00:02",
            "shell_start_mode": "unix_behavior",
            "mailer": "/bin/true",
        }
        _edit(SHARE / "default-configuration", self.folder / "configuration", configuration)
        self.hand_over()
        self.run(f"{LIBRARY}/spoolinit", "classic", "libspoolc", places, "init")
        for what, value in (
            ("configuration", self.folder / "configuration"),
            ("complexes", SHARE / "util/resources/centry"),
            ("usersets", SHARE / "util/resources/usersets"),
            ("managers", me),
        ):
            self.run(f"{LIBRARY}/spooldefaults", what, str(value))

    def _configure(self) -> None:
        """Make the node, the queue and the parallel environment, and a scheduler in a hurry."""
        folder = self.folder
        self.run("qconf", "-ah", self.host, check=False)
        self.run("qconf", "-as", self.host)
        node = write(folder / "node", {"hostname": self.host, **HOST})
        self.run("qconf", "-Ae", str(node), check=False)
        self.run("qconf", "-Ap", str(write(folder / "pe", PARALLEL)))
        group = write(folder / "group", {"group_name": "@allhosts", "hostlist": self.host})
        self.run("qconf", "-Ahgrp", str(group))
        (folder / "template").write_text(self._queue_template())
        # Not /tmp: a job's folder there has the number of the job of another test's cell.
        (folder / "tmp").mkdir()
        self.hand_over()
        queue = QUEUE | {"tmpdir": folder / "tmp"}
        self.run("qconf", "-Aq", str(_edit(folder / "template", folder / "queue", queue)))
        (folder / "scheduler").write_text(self.run("qconf", "-ssconf"))
        hurry = {"schedule_interval": "0:0:1", "flush_submit_sec": 1, "flush_finish_sec": 1}
        self.run("qconf", "-Msconf", str(_edit(folder / "scheduler", folder / "hurry", hurry)))

    def _queue_template(self) -> str:
        return self.run("qconf", "-sq", check=False)

    def _answers(self) -> bool:
        return bool(self.run("qconf", "-sh", check=False))

    def _has_node(self) -> bool:
        return bool(re.search(r"all\.q@.*lx", self.run("qstat", "-f", check=False)))

    def __exit__(self, *_: object) -> None:
        self.run("qdel", "-u", "*", check=False)
        for path in self.folder.glob("spool/execd/*/execd.pid"):
            self.stop(path)
        self.stop(self.folder / "spool/qmaster/qmaster.pid")

    def log_names(self) -> tuple[str, ...]:
        """Both daemons call theirs the same."""
        return ("messages",)


def _edit(source: Path, target: Path, values: dict[str, Any]) -> Path:
    """Copy the file of lines "NAME VALUE" with some values replaced."""
    text = source.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^{name}\s.*", f"{name} {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise AssertionError(f"{source}: {count} lines for {name}")
    target.write_text(text)
    return target
