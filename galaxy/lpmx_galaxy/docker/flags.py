"""The flags of `docker run` (Docker 28) and of podman and udocker where workflow systems use them.

Every flag is here: one that has an effect, one that needs none (the terminal is the caller's
anyway), and one that cannot be enforced without privileges, with the reason. To support a flag, add
a row and use its name in run.py.
"""

from __future__ import annotations

from lpmx_galaxy.frontend import composition
from lpmx_galaxy.frontend.goflags import Flag, table

__all__ = ["RUN", "switch", "value"]

_CGROUPS = "limits need cgroups, which an ordinary user does not have; the batch system's hold"
_NETWORK = "there is no network namespace without privileges: the host's network is used"
_NAMESPACE = "there are no namespaces without privileges: the host's are used"
_RIGHTS = "programs run with your own rights, no more and no less"
_DAEMON = "there is no daemon to do it"


def value(*spellings: str, unenforced: str = "") -> Flag:
    """A flag that takes a value; its name is the first long spelling."""
    return Flag(_name(spellings), spellings, unenforced=unenforced)


def switch(*spellings: str, unenforced: str = "") -> Flag:
    """A flag that is on or off."""
    return Flag(_name(spellings), spellings, takes_value=False, unenforced=unenforced)


def _name(spellings: tuple[str, ...]) -> str:
    return next((word[2:] for word in spellings if word.startswith("--")), spellings[0])


_EFFECTIVE = (
    value("--cidfile"),
    value("--cpuset-cpus"),
    value("--entrypoint"),
    value("-e", "--env"),
    value("--env-file"),
    value("--device"),
    value("--gpus"),
    value("--lpmx-provenance"),
    value("--mount"),
    value("--name"),
    value("--platform"),
    value("-p", "--publish"),
    value("--pull"),
    value("--tmpfs"),
    value("--ulimit"),
    value("-u", "--user"),
    value("-v", "--volume"),
    value("--volumes-from"),
    value("-w", "--workdir"),
    switch("-d", "--detach"),
    switch("-P", "--publish-all"),
    switch("-q", "--quiet"),
    switch("--read-only"),
    switch("--rm"),
    *(value(name) for name in composition.FLAGS),
)
# Nothing has to be done for these: so it is anyway, or nobody can tell the difference.
_NEEDLESS = (
    value("--annotation"),
    value("-a", "--attach"),
    value("--detach-keys"),
    value("--expose"),
    value("-l", "--label"),
    value("--label-file"),
    value("--log-driver"),
    value("--log-opt"),
    value("--cgroupns"),
    value("--group-add"),
    value("--userns"),
    value("--stop-signal"),
    value("--stop-timeout"),
    value("--isolation"),
    switch("--disable-content-trust"),
    switch("--help"),
    switch("--init"),
    switch("-i", "--interactive"),
    switch("--nobanner"),
    switch("--no-healthcheck"),
    switch("--oom-kill-disable"),
    switch("--sig-proxy"),
    switch("-t", "--tty"),
    switch("--use-api-socket"),
)
_LIMITS = tuple(
    value(*spellings.split(), unenforced=_CGROUPS)
    for spellings in (
        "--blkio-weight",
        "--blkio-weight-device",
        "--cgroup-parent",
        "--cpu-count",
        "--cpu-percent",
        "--cpu-period",
        "--cpu-quota",
        "--cpu-rt-period",
        "--cpu-rt-runtime",
        "-c --cpu-shares",
        "--cpus",
        "--cpuset-mems",
        "--device-cgroup-rule",
        "--device-read-bps",
        "--device-read-iops",
        "--device-write-bps",
        "--device-write-iops",
        "--io-maxbandwidth",
        "--io-maxiops",
        "--kernel-memory",
        "-m --memory",
        "--memory-reservation",
        "--memory-swap",
        "--memory-swappiness",
        "--oom-score-adj",
        "--pids-limit",
        "--shm-size",
        "--storage-opt",
    )
)
_NETWORKS = tuple(
    value(*spellings.split(), unenforced=_NETWORK)
    for spellings in (
        "--add-host",
        "--dns",
        "--dns-option",
        "--dns-search",
        "--domainname",
        "-h --hostname",
        "--ip",
        "--ip6",
        "--link",
        "--link-local-ip",
        "--mac-address",
        "--network --net",
        "--network-alias --net-alias",
    )
)
_NAMESPACES = tuple(
    value(spelling, unenforced=_NAMESPACE) for spelling in ("--ipc", "--pid", "--sysctl", "--uts")
)
_CAPABILITIES = (
    value("--cap-add", unenforced=_RIGHTS),
    value("--cap-drop", unenforced=_RIGHTS),
    value("--security-opt", unenforced=_RIGHTS),
    switch("--privileged", unenforced=_RIGHTS),
)
_SERVICES = (
    value("--health-cmd", unenforced=_DAEMON),
    value("--health-interval", unenforced=_DAEMON),
    value("--health-retries", unenforced=_DAEMON),
    value("--health-start-interval", unenforced=_DAEMON),
    value("--health-start-period", unenforced=_DAEMON),
    value("--health-timeout", unenforced=_DAEMON),
    value("--restart", unenforced=_DAEMON),
    value("--runtime", unenforced="lpmx is the only runtime here"),
    value("--volume-driver", unenforced=_DAEMON),
)

RUN = table(_EFFECTIVE, _NEEDLESS, _LIMITS, _NETWORKS, _NAMESPACES, _CAPABILITIES, _SERVICES)
