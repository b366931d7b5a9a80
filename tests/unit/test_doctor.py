"""`lpmx doctor`: the verdicts it gives at sites that are not as this machine is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from lpmx_runtime.cli.main import main
from lpmx_runtime.doctor import Site, engine, machine, room, storage, surroundings
from lpmx_runtime.doctor.finding import Finding, worst

if TYPE_CHECKING:
    from collections.abc import Iterator

# As much of an ELF library as is looked at: 64-bit, for x86-64, without a dynamic part
LIBRARY = struct.pack(
    "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 0, 0, 0, 0
)
GOOD = {
    "sys/kernel/osrelease": "6.1.0-9-amd64\n",
    "sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno allow\n",
    "self/status": "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n",
    "self/mountinfo": "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site as it should be, whose files a test may replace."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "bin").mkdir()
    environ = {"PATH": str(tmp_path / "bin"), "TMPDIR": str(tmp_path)}
    made = Site(tmp_path / "store", environ, tmp_path / "proc", tmp_path / "dev")
    for name, text in GOOD.items():
        put(made, name, text)
    return made


def put(site: Site, name: str, text: str) -> None:
    """Let a file of /proc say @text."""
    path = site.proc / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def mounted(site: Site, point: str, kind: str, options: str = "rw") -> None:
    """Let a file system of @kind lie at @point."""
    line = f"30 21 0:40 / {point} {options},relatime shared:9 - {kind} server:/x rw\n"
    put(site, "self/mountinfo", GOOD["self/mountinfo"] + line)


def verdicts(findings: Iterator[Finding]) -> dict[str, str]:
    """What to verdict. Whatever is not well comes with something to do."""
    found = list(findings)
    assert [one for one in found if one.verdict != "ok" and not one.advice] == []
    return {finding.what: finding.verdict for finding in found}


@pytest.mark.parametrize(
    ("release", "verdict"),
    [("3.10.0-1160.el7", "problem"), ("4.4.0", "note"), ("5.4.0-1", "note"), ("6.1.0", "ok")],
)
def test_kernel_is_judged_by_its_version(site: Site, release: str, verdict: str) -> None:
    put(site, "sys/kernel/osrelease", release)
    assert verdicts(machine.kernel(site)) == {"kernel": verdict}


def test_kernel_without_filters_is_a_problem(site: Site) -> None:
    put(site, "self/status", "NoNewPrivs:\t0\n")
    assert verdicts(machine.filters(site)) == {"seccomp": "problem"}
    put(site, "self/status", GOOD["self/status"])
    put(site, "sys/kernel/seccomp/actions_avail", "errno allow")
    assert verdicts(machine.filters(site)) == {"seccomp": "problem"}


def test_filters_and_no_new_privs_in_force_are_noted(site: Site) -> None:
    put(site, "self/status", "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n")
    found = list(machine.filters(site))
    assert verdicts(iter(found)) == {"seccomp": "note", "no_new_privs": "note"}
    assert found[0].detail.startswith("3 filter(s) are in force")


def test_what_lpmx_does_not_need_is_no_complaint(site: Site) -> None:
    put(site, "sys/user/max_user_namespaces", "0")
    put(site, "sys/kernel/yama/ptrace_scope", "3")
    (found,) = machine.privileges(site)
    assert found.verdict == "ok"
    for words in ("user namespaces are off", "yama 3", "FUSE is not for you"):
        assert words in found.detail


def test_store_that_others_can_write_is_a_problem(site: Site) -> None:
    site.store.mkdir()
    site.store.chmod(0o700)
    assert verdicts(storage.folder(site)) == {"store": "ok"}
    site.store.chmod(0o777)
    (found,) = storage.folder(site)
    assert (found.verdict, found.advice) == ("problem", f"chmod go-w {site.store}")


def test_store_of_another_user_is_a_problem(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.mkdir()
    monkeypatch.setattr(storage, "is_own", lambda *_: False)
    (found,) = storage.folder(site)
    assert found.verdict == "problem"
    assert "a store serves one user" in found.detail
    assert "`lpmx save` and `lpmx load`" in found.advice


def test_locks_are_tried_on_files_that_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def as_on_nfs(file: IO[str], operation: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    assert storage._locks(str(tmp_path)) == ""


def test_store_that_is_not_there_yet_is_no_problem(site: Site) -> None:
    (found,) = storage.folder(site)
    assert found.verdict == "ok"
    assert "will be made when it is needed" in found.detail
    assert not site.store.exists()


def test_store_on_a_file_is_a_problem(site: Site) -> None:
    site.store.write_text("")
    assert verdicts(storage.folder(site)) == {"store": "problem"}


@pytest.mark.parametrize(
    ("kind", "options", "verdict"),
    [
        ("ext4", "rw", "ok"),
        ("nfs4", "rw", "note"),
        ("lustre", "rw", "note"),
        ("tmpfs", "rw", "note"),
        ("overlay", "rw", "note"),
        ("xfs", "rw,noexec", "problem"),
        ("xfs", "ro", "problem"),
    ],
)
def test_file_system_is_judged_by_the_mount_above_the_store(
    site: Site, kind: str, options: str, verdict: str
) -> None:
    mounted(site, str(site.store.parent), kind, options)
    (found,) = storage.file_system(site)
    assert (found.verdict, kind in found.detail) == (verdict, True)


def test_mount_points_are_whole_names_with_blanks_undone(site: Site) -> None:
    mounted(site, "/da", "nfs4")
    assert site.mount_of("/data/x").type == "ext4"
    mounted(site, r"/my\040data", "nfs4")
    assert site.mount_of("/my data/x").type == "nfs4"


def test_abilities_are_tried_in_the_store_and_leave_nothing(site: Site) -> None:
    site.store.mkdir()
    found = verdicts(storage.abilities(site))
    assert found.pop("user attributes") in {"ok", "note"}
    assert set(found) == {
        "locks", "shared memory maps", "programs", "renames", "names", "permissions", "hard links"
    }  # fmt: skip
    assert set(found.values()) == {"ok"}
    assert os.listdir(site.store) == []


def test_ability_that_fails_names_the_reason(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    found = {each.what: each for each in storage.abilities(site)}
    assert verdicts(iter(found.values()))["hard links"] == "note"
    assert found["hard links"].detail.startswith("operation not supported: ")


@pytest.mark.parametrize(
    ("call", "what", "verdict"),
    [
        ("os.setxattr", "user attributes", "note"),
        ("fcntl.flock", "locks", "problem"),
        ("mmap.mmap", "shared memory maps", "problem"),
        ("mmap.mmap", "programs", "problem"),
        ("lpmx_runtime.doctor.storage._renameat2", "renames", "note"),
        ("os.chmod", "permissions", "problem"),
        ("os.open", "store", "problem"),
    ],
)
def test_each_ability_is_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch, call: str, what: str, verdict: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    if call == "os.open":
        monkeypatch.setattr("tempfile.mkdtemp", refuse)
    else:
        monkeypatch.setattr(call, refuse)
    assert verdicts(storage.abilities(site))[what] == verdict


def test_maps_are_not_shared_over_a_network(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(site, str(site.store.parent), "nfs4")

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("mmap.mmap", refuse)  # would fail
    assert "shared memory maps" not in verdicts(storage.abilities(site))


def test_lock_that_does_not_hold_is_a_problem(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    assert verdicts(storage.abilities(site))["locks"] == "problem"


def test_little_room_is_a_note_and_none_a_problem(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(site.nearest)

    def with_free(blocks: int, files: int) -> None:
        numbers = list(real[:10])
        numbers[1] = 1  # f_frsize
        numbers[4], numbers[5], numbers[7] = blocks, 10**7, files
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(numbers))

    with_free(10**11, 10**6)
    assert verdicts(room.space(site)) == {"free space": "ok", "free inodes": "ok"}
    with_free(5 * 10**9, 10**5)
    assert verdicts(room.space(site)) == {"free space": "note", "free inodes": "note"}
    with_free(10**8, 10)
    assert verdicts(room.space(site)) == {"free space": "problem", "free inodes": "problem"}


def test_quota_is_compared_with_its_limit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [room.Quota(5, 0, 5, 0), room.Quota(10**9, 10**12, 5, 0), room.Quota(5, 0, 995, 1000)]
    )
    monkeypatch.setattr(room, "read_quota", lambda *_: next(answers))
    assert [next(room.quota(site)).verdict for _ in range(3)] == ["ok", "ok", "problem"]


def test_quota_of_a_server_names_the_command_that_tells_it(site: Site) -> None:
    mounted(site, str(site.store.parent), "lustre")
    (found,) = room.quota(site)
    assert (found.verdict, "lfs quota" in found.advice) == ("note", True)


def test_temporary_folder_that_is_noexec_is_noted(site: Site) -> None:
    assert verdicts(surroundings.temporary(site)) == {"temporary files": "ok"}
    mounted(site, site.environ["TMPDIR"], "tmpfs", "rw,nosuid,noexec")
    assert verdicts(surroundings.temporary(site)) == {"temporary files": "note"}


def test_gpus_are_found_by_device_and_driver(site: Site) -> None:
    assert next(surroundings.gpu(site)).detail == "none on this machine"
    put(
        site,
        "driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n",
    )
    (found,) = surroundings.gpu(site)
    assert (found.verdict, found.advice) == ("note", "ask for a GPU in your job")
    (site.dev / "nvidia0").touch()
    (site.dev / "nvidiactl").touch()
    (found,) = surroundings.gpu(site)
    assert (found.verdict, "libcuda.so.1" in found.detail) == ("note", True)
    library = site.dev.parent / "usr/lib64/libcuda.so.550.54.15"
    library.parent.mkdir(parents=True)
    library.write_bytes(LIBRARY)
    (library.parent / "libcuda.so.1").symlink_to(library.name)
    (found,) = surroundings.gpu(site)
    assert (found.verdict, found.detail) == ("ok", "NVIDIA: nvidia0 (driver 550.54.15)")


def test_gpus_of_amd_and_of_specifications_are_found(site: Site) -> None:
    (site.dev / "kfd").touch()
    (site.dev / "dri").mkdir()
    (site.dev / "dri" / "renderD128").touch()
    specs = site.dev.parent / "cdi"
    specs.mkdir()
    spec = {"cdiVersion": "0.6.0", "kind": "vendor.com/gpu", "devices": [{"name": "a"}]}
    (specs / "vendor.json").write_text(json.dumps(spec))
    (specs / "damaged.json").write_text("{")
    here = replace(site, environ={**site.environ, "LPMX_CDI_DIRS": str(specs)})
    found = list(surroundings.gpu(here))
    assert [(one.verdict, one.detail) for one in found[:2]] == [
        ("ok", "AMD: kfd, renderD128"), ("ok", "specifications (CDI): vendor.com/gpu=a"),
    ]  # fmt: skip
    assert (found[2].verdict, "damaged.json" in found[2].detail) == ("note", True)


def test_batch_system_and_job_are_named(site: Site) -> None:
    program = Path(site.environ["PATH"], "sbatch")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    here = replace(site, environ={**site.environ, "SLURM_JOB_ID": "17"})
    (found,) = surroundings.batch(here)
    assert found.detail == f"Slurm ({program}); this is a job (SLURM_JOB_ID=17)"


def test_missing_loader_is_a_problem(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPMX_NATIVE", str(tmp_path))
    assert verdicts(engine.parts(site)) == {"loader": "problem"}


def test_worst_verdict_counts() -> None:
    ok, note = Finding("a", "ok", "x"), Finding("b", "note", "y", "do this")
    assert worst([]) == worst([ok]) == "ok"
    assert worst([ok, note]) == "note"
    assert str(note) == "(!) b: y\n    do this"


@pytest.mark.full
def test_here_it_starts_a_program_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    monkeypatch.setenv("LPMX_HOME", str(store))
    status = main(["doctor", "--json"])
    found = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["engine"]["verdict"] == "ok", found["engine"]
    assert found["loader"]["verdict"] == "ok", found["loader"]
    problems = [each for each in found.values() if each["verdict"] == "problem"]
    assert status == (1 if problems else 0)
    assert os.listdir(store) == []
