"""The flags of `exec`, `run` and `shell`, of Apptainer 1.x and Singularity 3.x and CE 4.x.

To support a flag, add a row and use its name in start.py.
"""

from __future__ import annotations

from lpmx_galaxy.docker.flags import switch, value
from lpmx_galaxy.frontend import composition
from lpmx_galaxy.frontend.goflags import Flag, table

__all__ = ["ACTION", "FROM_ENVIRONMENT"]

_CGROUPS = "limits need cgroups, which an ordinary user does not have; the batch system's hold"
_NETWORK = "there is no network namespace without privileges: the host's network is used"
_NAMESPACE = "there are no namespaces without privileges: the host's are used"
_RIGHTS = "programs run with your own rights, no more and no less"

_EFFECTIVE = (
    value("-B", "--bind"),
    value("--mount"),
    value("-H", "--home"),
    Flag("pwd", ("--pwd", "--cwd")),
    value("-S", "--scratch"),
    value("--no-mount"),
    value("--env"),
    value("--env-file"),
    value("--device"),
    value("--shell"),
    value("--cpuset-cpus"),
    value("--arch"),
    value("--platform"),
    value("--authfile"),
    switch("--docker-login"),
    switch("--no-https", "--nohttps"),
    switch("-c", "--contain"),
    switch("-C", "--containall"),
    switch("-e", "--cleanenv"),
    switch("--compat"),
    switch("--writable-tmpfs"),
    switch("-w", "--writable", unenforced="what is written goes with the container"),
    switch("--no-home"),
    switch("-f", "--fakeroot"),
    switch("--nv"),
    switch("--nvccli"),
    switch("--rocm"),
    switch("-h", "--help"),
    *(value(name) for name in composition.FLAGS),
)
# Nothing has to be done for these: so it is anyway, or there is nothing of the kind here.
_NEEDLESS = (
    *(
        value(*spellings.split())
        for spellings in (
            "-W --workdir",
            "--pull-folder",
            "--cdi-dirs",
        )
    ),
    *(
        switch(*spellings.split())
        for spellings in (
            "--allow-setuid",
            "--disable-cache",
            "--keep-layers",
            "--keep-privs",
            "--no-compat",
            "--no-eval",
            "--no-init",
            "--no-nv",
            "--no-oci",
            "--no-pid",
            "--no-privs",
            "--no-rocm",
            "--no-setgroups",
            "--no-tmp-sandbox",
            "--no-umask",
            "--oci",
            "--oom-kill-disable",
            "--proot",
            "--sharens",
            "--tmp-sandbox",
            "--underlay",
            "--unsquash",
            "-u --userns",
        )
    ),
)
_UNENFORCED = (
    *(
        value(spelling, unenforced=_CGROUPS)
        for spelling in (
            "--apply-cgroups",
            "--blkio-weight",
            "--blkio-weight-device",
            "--cpu-shares",
            "--cpus",
            "--cpuset-mems",
            "--memory",
            "--memory-reservation",
            "--memory-swap",
            "--pids-limit",
        )
    ),
    *(
        value(spelling, unenforced=_NETWORK)
        for spelling in ("--dns", "--hostname", "--network", "--network-args")
    ),
    *(value(name, unenforced=_RIGHTS) for name in ("--add-caps", "--drop-caps", "--security")),
    switch("-n", "--net", unenforced=_NETWORK),
    switch("-i", "--ipc", unenforced=_NAMESPACE),
    switch("-p", "--pid", unenforced=_NAMESPACE),
    switch("--uts", unenforced=_NAMESPACE),
)

ACTION = table(_EFFECTIVE, _NEEDLESS, _UNENFORCED)
# Flags that APPTAINER_NAME and SINGULARITY_NAME set as well, and how else these are called.
FROM_ENVIRONMENT = {
    "bind": ("BIND", "BINDPATH"),
    "mount": ("MOUNT",),
    "home": ("HOME",),
    "pwd": ("PWD", "CWD"),
    "no-mount": ("NO_MOUNT",),
    "contain": ("CONTAIN",),
    "containall": ("CONTAINALL",),
    "cleanenv": ("CLEANENV",),
    "compat": ("COMPAT",),
    "writable-tmpfs": ("WRITABLE_TMPFS",),
    "writable": ("WRITABLE",),
    "no-home": ("NO_HOME",),
    "fakeroot": ("FAKEROOT",),
    "nv": ("NV",),
    "rocm": ("ROCM",),
    "env-file": ("ENV_FILE",),
    "shell": ("SHELL",),
}
