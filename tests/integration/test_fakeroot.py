"""`--fakeroot`: programs are root as far as they can see, and what they do to owners, modes,
devices and attributes is remembered. With the records in attributes and in files beside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap

import pytest
from support.lpmx import lpmx_command

KINDS = ("attributes", "files")
CAPABILITY = "0100000200200000000000000000000000000000"  # cap_net_raw+ep, as setcap writes it
PRELUDE = """
import json, os, shutil, socket, stat, sys
def show(path):
    s = os.lstat(path)
    return [oct(s.st_mode), s.st_uid, s.st_gid]
def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False
out = {}
os.makedirs("/opt/t")
os.chdir("/opt/t")
"""


@pytest.fixture(params=KINDS)
def kept(request):
    """Where records are kept."""
    return request.param


@pytest.fixture
def python(run_lpmx, image, kept):
    """python(SCRIPT): runs it under root emulation in a new container; what it has put in `out`."""

    def call(script, *options):
        text = PRELUDE + textwrap.dedent(script) + "\nprint(json.dumps(out))\n"
        done = run_lpmx(
            "run", "--fakeroot", *options, image("demo"), "python3", "-",
            text=text, env={"LPMX_OWNERS": kept},
        )  # fmt: skip
        return json.loads(done.stdout)

    return call


@pytest.fixture
def container(run_lpmx, image, kept, tmp_path):
    """shell(SCRIPT): one named container, entered anew each time."""
    name = f"root-{kept}-{tmp_path.name[-20:]}"
    run_lpmx("create", "--fakeroot", "--name", name, image("demo"), env={"LPMX_OWNERS": kept})
    run_lpmx("exec", name, "mkdir", "/opt/t")

    def shell(script, *options, **keywords):
        done = run_lpmx("exec", *options, name, "sh", "-c", script, **keywords)
        return done.stdout.strip()

    yield shell
    run_lpmx("rm", "-f", name)


def test_program_is_root_and_owns_what_it_makes(run_lpmx, image):
    script = "id -u; id -g; id -un; touch /opt/x; stat -c %u:%g:%a /opt/x; echo $HOME"
    done = run_lpmx("run", "--fakeroot", image("demo"), "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "root", "0:0:644", "/root"]


def test_owners_of_the_image_are_shown(run_lpmx, image):
    script = (
        "stat -c %U:%G:%a /etc/shadow /usr/bin/passwd /var/mail;"
        " exec 3< /etc/shadow; stat -Lc %U:%G:%a /proc/self/fd/3"
    )
    done = run_lpmx("run", "--fakeroot", image("demo"), "sh", "-c", script)
    shadow = "root:shadow:640"
    assert done.stdout.split() == [shadow, "root:root:4755", "root:mail:2775", shadow]


def test_owners_and_modes_are_remembered(python):
    out = python(
        """
        open("f", "w").close()
        os.chown("f", 5, 6)
        fd = os.open("f", os.O_RDWR)
        out["fstat"] = [os.fstat(fd).st_uid, os.fstat(fd).st_gid]
        os.fchmod(fd, 0o6751)
        out["setuid"] = show("f")
        os.fchown(fd, 7, -1)
        out["chown drops setuid"] = show("f")
        os.chmod("/proc/self/fd/%d" % fd, 0o640)
        out["by magic link"] = show("f")
        os.link("f", "f2"); os.unlink("f"); os.rename("f2", "f3")
        out["by another name"] = show("f3")
        os.symlink("f3", "link"); os.lchown("link", 9, 10)
        out["symlink"] = show("link")
        os.mkfifo("fifo"); os.chown("fifo", 11, 12)
        out["fifo"] = show("fifo")
        s = socket.socket(socket.AF_UNIX); s.bind("/opt/t/sock"); os.chown("sock", 13, 14)
        out["socket"] = show("sock")[1:]
        os.mkdir("d", 0o700); os.chown("d", 15, 16); os.chmod("d", 0o3771)
        out["directory"] = show("d")
        open("d/in", "w").close(); os.mkdir("d/sub")
        out["group of the directory"] = [show("d/in"), show("d/sub")]
        """
    )
    assert out == {
        "fstat": [5, 6],
        "setuid": ["0o106751", 5, 6],
        "chown drops setuid": ["0o100751", 7, 6],
        "by magic link": ["0o100640", 7, 6],
        "by another name": ["0o100640", 7, 6],
        "symlink": ["0o120777", 9, 10],
        "fifo": ["0o10644", 11, 12],
        "socket": [13, 14],
        "directory": ["0o43771", 15, 16],
        "group of the directory": [["0o100644", 0, 16], ["0o42755", 0, 16]],
    }


def test_a_lower_file_keeps_its_owner_when_it_is_written(python):
    out = python(
        """
        open("/etc/shadow", "a").write("x:*:1::::::\\n")
        out["written"] = show("/etc/shadow")
        os.chown("/usr/bin/passwd", 0, 0)
        out["chown to the same"] = show("/usr/bin/passwd")
        os.chmod("/usr/bin/passwd", 0o4711)
        out["chmod"] = show("/usr/bin/passwd")
        os.mkdir("/var/mail/new")
        out["below a directory with a group"] = show("/var/mail/new")
        out["that directory"] = show("/var/mail")
        """
    )
    assert out == {
        "written": ["0o100640", 0, 42],
        "chown to the same": ["0o100755", 0, 0],  # as the kernel: chown clears setuid
        "chmod": ["0o104711", 0, 0],
        "below a directory with a group": ["0o42755", 0, 8],
        "that directory": ["0o42775", 0, 8],
    }


def test_chown_to_what_is_already_so_copies_nothing(container, store):
    container(
        "chown -R root:root /usr/lib/python3 && chmod 644 /etc/os-release /etc/debian_version"
    )
    (folder,) = [
        path for path in (store.home / "containers").iterdir()
        if path.is_dir() and not path.name.startswith(".")
        and json.loads((path / "container.json").read_text())["fakeroot"]
    ]  # fmt: skip
    files = [path for path in (folder / "upper").rglob("*") if path.is_file()]
    assert [path for path in files if "lpmx-site" not in path.parts] == []  # places of binds


def test_root_may_use_what_modes_forbid(python):
    out = python(
        """
        open("closed", "w").write("x"); os.chmod("closed", 0)
        out["read"] = open("closed").read()
        open("closed", "a").write("y")
        os.mkdir("dir"); open("dir/f", "w").close(); os.chmod("dir", 0o555)
        open("dir/new", "w").close(); os.unlink("dir/f")
        out["names"] = os.listdir("dir")
        os.chmod("dir", 0)
        out["in 0000"] = os.listdir("dir")
        fd = os.open("made", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444); os.write(fd, b"z")
        out["made"] = show("made")
        open("made", "a").close()
        os.umask(0o777)
        os.mkdir("dark"); open("dark/x", "w").write("seen")
        out["umask"] = [show("dark"), show("dark/x"), open("dark/x").read()]
        out["access"] = [os.access("closed", os.R_OK | os.W_OK), os.access("closed", os.X_OK)]
        """
    )
    assert out == {
        "read": "x", "names": ["new"], "in 0000": ["new"], "made": ["0o100444", 0, 0],
        "umask": [["0o40000", 0, 0], ["0o100000", 0, 0], "seen"],
        "access": [True, False],
    }  # fmt: skip


def test_what_another_run_closed_is_open_to_root(run_lpmx, image, kept):
    name = f"mixed-{kept}"
    run_lpmx("create", "--name", name, image("demo"), env={"LPMX_OWNERS": kept})
    made = "mkdir -p /opt/shut/in && echo x > /opt/shut/in/f && chmod 0 /opt/shut/in/f /opt/shut/in"
    run_lpmx("exec", name, "sh", "-c", f"{made} /opt/shut")
    script = "echo y >> /opt/shut/in/f; cat /opt/shut/in/f; stat -c %a:%u /opt/shut/in/f /opt/shut"
    done = run_lpmx("exec", "--fakeroot", name, "sh", "-c", script)
    run_lpmx("rm", name)
    assert done.stdout.split() == ["x", "y", "0:0", "0:0"]


def test_devices_are_remembered(container):
    container("mknod /opt/t/null c 1 3 && mknod -m 600 /opt/t/disk b 8 17 && chown 0:6 /opt/t/disk")
    shown = container("stat -c '%F %t:%T %u:%g %a' /opt/t/null /opt/t/disk")
    assert shown.splitlines() == [
        "character special file 1:3 0:0 644",
        "block special file 8:11 0:6 600",
    ]
    assert "crw-r--r-- 0/0" in container("cd /opt/t && tar -c null | tar -tv --numeric-owner")


def test_devices_are_found_and_opened(container):
    """The devices that every program may use work; another says that there is none."""
    script = """
mkdir /opt/t/dev; cd /opt/t/dev
mknod null c 1 3; mknod zero c 1 5; mknod disk b 8 1; touch f
echo gone > null; head -c 3 zero | od -An -tx1; stat -c %s null; cat disk 2>&1 | sed 's/.*: //'
find . -type c | sort; find . -type b; find . -type f
"""
    assert [" ".join(line.split()) for line in container(script).splitlines()] == [
        "00 00 00", "0", "No such device or address", "./null", "./zero", "./disk", "./f",
    ]  # fmt: skip


def test_status_tells_the_emulated_ids(python):
    out = python(
        """
        def status():
            lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return [lines[key].split() for key in ("Uid", "Gid", "Groups", "CapEff")]
        out["root"] = status()
        os.setgroups([7, 8]); os.setresgid(5, 6, 6); os.setresuid(1000, 1001, 1002)
        out["user"] = status()
        """
    )
    assert out == {
        "root": [["0"] * 4, ["0"] * 4, ["0"], ["000001ffffffffff"]],
        "user": [["1000", "1001", "1002", "1001"], ["5", "6", "6", "6"], ["7", "8"], ["0" * 16]],
    }


def test_there_is_no_audit_socket(run_lpmx, image):
    """The kernel's refuses what a shown root sends; sudo and useradd take that for an error."""
    script = (
        "import errno, socket\n"
        "for protocol in (9, 0):\n"
        "    try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol); print('made')\n"
        "    except OSError as error: print(errno.errorcode[error.errno])\n"
    )
    done = run_lpmx("run", "--fakeroot", image("demo"), "python3", "-c", script)
    assert done.stdout.split() == ["EPROTONOSUPPORT", "made"]
    done = run_lpmx("run", image("demo"), "python3", "-c", script)
    assert done.stdout.split() == ["made", "made"]


def test_records_outlive_the_processes(container):
    container(
        "cd /opt/t && touch f && chown 1234:4321 f && chmod 2750 f && ln -s f l && chown -h 7 l"
    )
    assert container("stat -c %u:%g:%a /opt/t/f; stat -c %u /opt/t/l").split() == [
        "1234:4321:2750",
        "7",
    ]


def test_a_new_file_does_not_get_a_dead_ones_owner(python):
    out = python(
        """
        stale = []
        for i in range(200):
            os.symlink("x", "l"); os.lchown("l", 77, 77); os.unlink("l")
            os.symlink("x", "l"); stale.append(os.lstat("l").st_uid); os.unlink("l")
            open("f", "w").close(); os.chown("f", 78, 78); os.unlink("f")
            open("f", "w").close(); stale.append(os.lstat("f").st_uid); os.unlink("f")
        out["owners"] = sorted(set(stale))
        """
    )
    assert out == {"owners": [0]}


def test_attributes_of_root_are_remembered(python):
    out = python(
        f"""
        value = bytes.fromhex("{CAPABILITY}")
        open("f", "w").close()
        os.setxattr("f", "security.capability", value)
        os.setxattr("f", "trusted.x", b"abc")
        out["get"] = os.getxattr("f", "security.capability") == value
        out["get trusted"] = os.getxattr("f", "trusted.x").hex()
        out["list"] = sorted(os.listxattr("f"))
        out["list fd"] = sorted(os.listxattr(os.open("f", os.O_RDONLY)))
        os.removexattr("f", "trusted.x")
        out["removed"] = os.listxattr("f")
        os.chown("f", 0, 0)
        out["chown drops capabilities"] = os.listxattr("f")
        out["ours"] = refused(os.setxattr, "f", "user.lpmx.owner", b"1 0 0 0 0 0")
        """
    )
    both = ["security.capability", "trusted.x"]
    assert out == {
        "get": True,
        "get trusted": "616263",
        "list": both,
        "list fd": both,
        "removed": ["security.capability"],
        "chown drops capabilities": [],
        "ours": True,
    }


def test_attributes_of_an_open_file_whose_folder_is_gone(python):
    out = python(
        f"""
        value = bytes.fromhex("{CAPABILITY}")
        for folder in ("/usr/share/perl", "/srv/x"):  # the layers' and one of our own
            os.makedirs(folder, exist_ok=True)
            fd = os.open(folder + "/f", os.O_RDWR | os.O_CREAT)
            shutil.rmtree(folder)
            os.setxattr(fd, "security.capability", value)
            out[folder] = [os.getxattr(fd, "security.capability") == value, os.listxattr(fd)]
        """
    )
    kept = [True, ["security.capability"]]
    assert out == {"/usr/share/perl": kept, "/srv/x": kept}


def test_records_are_not_shown_as_attributes(run_lpmx, image):
    """A file copied up without root emulation has a record, and cp -a must not spread it."""
    script = """
import os, shutil
open("/etc/shadow", "a").close()
print(os.listxattr("/etc/shadow"), os.listxattr(os.open("/etc/shadow", os.O_RDONLY)))
"""
    done = run_lpmx("run", image("demo"), "python3", "-", text=script)
    assert done.stdout.strip() == "[] []"


def test_dropped_ids_own_what_they_make(python):
    out = python(
        """
        os.chmod(".", 0o777)
        os.setgroups([20, 30]); os.setresgid(50, 50, 50); os.setresuid(1000, 1000, 1000)
        out["ids"] = [os.getresuid(), os.getresgid(), os.getgroups()]
        out["no way back"] = refused(os.setuid, 0) and refused(os.setgid, 0)
        open("f", "w").close(); os.mkdir("d"); os.symlink("f", "l")
        out["made"] = [show("f"), show("d"), show("l")]
        out["chown"] = refused(os.chown, "f", 0, -1)
        os.chown("f", -1, 30)
        out["own group"] = show("f")
        out["chmod of root's"] = refused(os.chmod, "/etc/passwd", 0o666)
        out["access"] = [os.access("/etc/shadow", os.R_OK), os.access("/etc/passwd", os.R_OK)]
        import subprocess
        out["exec"] = subprocess.run(["id", "-u"], stdout=subprocess.PIPE).stdout.decode()
        out["mknod"] = refused(os.mknod, "dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        """
    )
    assert out == {
        "ids": [[1000] * 3, [50] * 3, [20, 30]],
        "no way back": True,
        "made": [["0o100644", 1000, 50], ["0o40755", 1000, 50], ["0o120777", 1000, 50]],
        "chown": True,
        "own group": ["0o100644", 1000, 30],
        "chmod of root's": True,
        "access": [False, True],
        "exec": "1000\n",
        "mknod": True,
    }


def test_a_user_that_root_became_is_refused_what_modes_refuse(python):
    """native/permissions.c compares all of it with the kernel, where that can be done."""
    out = python(
        """
        os.makedirs("closed/in"); os.chmod("closed", 0o700)
        open("secret", "w").write("x"); os.chmod("secret", 0o600)
        os.mkdir("shared"); os.chmod("shared", 0o1777); open("shared/roots", "w").close()
        os.symlink("secret", "link")
        def attempt(call, *arguments):
            try:
                call(*arguments)
            except OSError as error:
                return error.strerror
            return "done"
        def attempts():
            return {
                "lower file": attempt(open, "/etc/shadow"),
                "lower folder": attempt(os.listdir, "/var/cache/ldconfig"),
                "upper file": attempt(open, "secret"),
                "by a link": attempt(open, "link"),
                "below": attempt(os.stat, "closed/in"),
                "enter": attempt(os.chdir, "closed"),
                "make": attempt(os.mkdir, "mine"),
                "make below /usr": attempt(open, "/usr/mine", "w"),
                "remove": attempt(os.unlink, "secret"),
                "remove a lower file": attempt(os.unlink, "/etc/passwd"),
                "sticky": attempt(os.unlink, "shared/roots"),
                "truncate": attempt(os.truncate, "secret", 0),
                "own": attempt(open, "shared/mine", "w"),
                "read": attempt(open, "/etc/passwd"),
            }
        os.setgroups([]); os.setresgid(1234, 1234, 0); os.setresuid(1234, 1234, 0)
        out["user"] = attempts()
        os.seteuid(0); os.setegid(0)
        out["root again"] = sorted(set(attempts().values()))
        """
    )
    denied, done = "Permission denied", "done"
    assert out == {
        "user": {
            "lower file": denied, "lower folder": denied, "upper file": denied, "by a link": denied,
            "below": denied, "enter": denied, "make": denied, "make below /usr": denied,
            "remove": denied, "remove a lower file": denied, "sticky": "Operation not permitted",
            "truncate": denied, "own": done, "read": done,
        },
        "root again": ["No such file or directory", done],
    }  # fmt: skip


def test_an_open_file_keeps_its_owner_when_its_folder_goes(python):
    out = python(
        """
        os.chmod("/srv", 0o755)  # a folder of the image, so it is more than the disk's that goes
        fd = os.open("/srv", os.O_TMPFILE | os.O_RDWR, 0o600)
        os.fchown(fd, 5, 6); os.fchmod(fd, 0o2755)
        os.rmdir("/srv")
        s = os.fstat(fd)
        out["nameless"] = [oct(s.st_mode), s.st_uid, s.st_gid]
        os.fchown(fd, 7, 8)
        out["changed"] = [os.fstat(fd).st_uid, os.fstat(fd).st_gid]
        """
    )
    assert out == {"nameless": ["0o102755", 5, 6], "changed": [7, 8]}


def test_ids_are_a_process_s_own(python):
    """A fork child's and a vfork child's changes do not reach the parent."""
    out = python(
        """
        import ctypes
        pid = os.fork()
        if not pid:
            os.setuid(33)
            grandchild = os.fork()
            if not grandchild:
                os._exit(os.getuid())
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        out["grandchild"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.setresuid(44, 0, 0)
        sh = ["sh", "-c", "exit $(id -u)"]
        pid = os.posix_spawn("/bin/sh", sh, {"PATH": "/usr/bin"}, resetids=True)
        out["spawned"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out["parent"] = os.getresuid()
        """
    )
    assert out == {"grandchild": 33, "spawned": 44, "parent": [44, 0, 0]}


def test_a_setuid_program_raises_its_ids(container):
    container(
        "cp /usr/bin/id /opt/t/whoelse && chown 33:44 /opt/t/whoelse && chmod 6755 /opt/t/whoelse"
    )
    shown = container("/opt/t/whoelse", "-u", "1000:1000")
    assert re.findall(r"(\w+)=(\d+)", shown)[:4] == [
        ("uid", "1000"),
        ("gid", "1000"),
        ("euid", "33"),
        ("egid", "44"),
    ]


def test_capabilities(python):
    out = python(
        """
        import ctypes, struct
        libc = ctypes.CDLL(None, use_errno=True)
        def capget():
            data = ctypes.create_string_buffer(24)
            assert not libc.capget(struct.pack("Ii", 0x20080522, 0), data)
            words = struct.unpack("6I", data.raw)
            return [words[i] | words[i + 3] << 32 for i in range(3)]
        full = (1 << 41) - 1
        out["root"] = [value == full for value in capget()[:2]]
        out["bounding"] = [libc.prctl(23, cap, 0, 0, 0) for cap in (0, 40, 41)]
        out["drop"] = [libc.prctl(24, 21, 0, 0, 0), libc.prctl(23, 21, 0, 0, 0)]
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setresuid(1000, 1000, 1000)
        out["kept"] = [capget()[0], capget()[1] == full]
        net = 1 << 10
        data = struct.pack("6I", net, net, 0, 0, 0, 0)
        out["capset"] = [libc.capset(struct.pack("Ii", 0x20080522, 0), data), capget()]
        more = struct.pack("6I", net, net | 2, 0, 0, 0, 0)
        out["no more"] = libc.capset(struct.pack("Ii", 0x20080522, 0), more)
        """
    )
    assert out == {
        "root": [True, True], "bounding": [1, 1, -1], "drop": [0, 0], "kept": [0, True],
        "capset": [0, [1 << 10, 1 << 10, 0]], "no more": -1,
    }  # fmt: skip


def test_su_and_runuser_drop_to_the_user(container):
    container("useradd -m worker && chown -R worker: /home/worker")
    script = (
        "runuser -u worker -- sh -c 'id -un; touch ~/made' ; su worker -c 'touch /home/worker/too'"
    )
    container(f"cd /home/worker && HOME=/home/worker; {script}")
    assert container("stat -c %U:%G /home/worker/made /home/worker/too").split() == [
        "worker:worker",
        "worker:worker",
    ]


def test_many_writers_lose_nothing(container):
    """Eight processes change owner, group, mode and attributes of the same files at once."""
    script = """
cat > /opt/t/w.py << END
import os, sys
for _ in range(25):
    for i in range(8):
        name = "/opt/t/many/%d" % i
        what = int(sys.argv[1])
        if what < 2: os.chown(name, 100, -1)
        elif what < 4: os.chown(name, -1, 200)
        elif what < 6: os.chmod(name, 0o640)
        else: os.setxattr(name, "trusted.w%d" % what, b"v")
END
mkdir /opt/t/many && cd /opt/t/many && touch 0 1 2 3 4 5 6 7
for n in 0 1 2 3 4 5 6 7; do python3 /opt/t/w.py $n & done; wait
stat -c %u:%g:%a * | sort -u
python3 -c 'import os; print(sorted(os.listxattr("/opt/t/many/3")))'
"""
    assert container(script).splitlines() == ["100:200:640", "['trusted.w6', 'trusted.w7']"]


def test_tar_keeps_owners_both_ways(container):
    script = """
mkdir -p /opt/t/t/d && cd /opt/t/t && touch d/f && chown 1:2 d && chown 3:4 d/f && chmod 4711 d/f
mknod d/dev c 4 5 && ln -s f d/l && chown -h 5:6 d/l && tar -cf /opt/t/t.tar d
mkdir /opt/t/u && cd /opt/t/u && tar -xpf /opt/t/t.tar --same-owner && tar -c d | md5sum
cd /opt/t/t && tar -c d | md5sum; cd /opt/t/u; stat -c '%n %u:%g %a %F' d d/f d/dev d/l
"""
    first, second, *rest = container(script).splitlines()
    assert first == second
    assert rest == [
        "d 1:2 755 directory", "d/f 3:4 4711 regular empty file",
        "d/dev 0:0 644 character special file", "d/l 5:6 777 symbolic link",
    ]  # fmt: skip


@pytest.mark.needs_root
def test_a_file_system_without_attributes(busybox_image, store, tmp_path, archive):
    """ramfs has no user attributes: records go beside the files by themselves."""
    script = """
set -e; mount -t ramfs none "$1"; export LPMX_HOME="$1/store"; shift
"$@" load "$ARCHIVE" > /dev/null; "$@" create --fakeroot --name c lpmx-test/musl sh > /dev/null
"$@" exec c sh -c 'cd /etc && touch f && chown 3:4 f && chmod 4755 f && mknod dev c 1 3'
"$@" exec c sh -c 'cd /etc && stat -c "%u:%g %a %F" f dev'
ls "$LPMX_HOME"/containers/*/work/extra | wc -l
"""
    (tmp_path / "ram").mkdir()
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path / "ram"), *lpmx_command()]
    done = subprocess.run(
        command,
        env={**os.environ, "ARCHIVE": str(archive("musl"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "3:4 4755 regular empty file", "0:0 644 character special file", "2",
    ], done.stderr  # fmt: skip


def test_fakeroot_of_an_exec_alone(run_lpmx, image):
    run_lpmx("create", "--name", "plain-then-root", image("demo"))
    shown = run_lpmx("exec", "--fakeroot", "plain-then-root", "id", "-u").stdout
    plain = run_lpmx("exec", "plain-then-root", "id", "-u").stdout
    run_lpmx("rm", "plain-then-root")
    assert shown == "0\n"
    assert plain == f"{os.getuid()}\n"


def test_print_plan_says_so(run_lpmx, image):
    done = run_lpmx("run", "--fakeroot", "--print-plan", image("demo"))
    assert "owners     remembered (--fakeroot)" in done.stdout


PEERS = """
def peer(s):
    return list(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])
def child(function):
    if pid := os.fork():
        return os.waitpid(pid, 0)
    function(); sys.stdout.flush(); os._exit(0)
def drop():
    os.setgroups([7]); os.setgid(44); os.setuid(33)
"""


def test_a_peer_is_who_it_was_when_it_called_or_listened(python):
    """`su postgres -c psql`, root of mariadb, and the system's D-Bus ask for that."""
    out = python(
        PEERS
        + """
import struct
listener = socket.socket(socket.AF_UNIX); listener.bind("s"); listener.listen()
os.chmod("s", 0o777); os.chmod(".", 0o777)
def call(before=lambda: None, after=lambda: None):
    def run():
        before(); s = socket.socket(socket.AF_UNIX); s.connect("s"); after()
    child(run)
    s, _ = listener.accept()
    return peer(s)
out["root"] = call()
out["dropped"] = call(before=drop)
out["dropped later"] = call(after=drop)
script = "import socket; socket.socket(socket.AF_UNIX).connect('s')"
out["executed"] = call(lambda: [drop(), os.execv(sys.executable, ["python3", "-c", script])])
os.seteuid(55)
caller = socket.socket(socket.AF_UNIX); caller.connect("s")
out["listener"] = peer(caller)
a, b = socket.socketpair()
out["pair"] = [peer(a), peer(b)]
"""
    )
    assert out == {
        "root": [0, 0], "dropped": [33, 44], "dropped later": [0, 0], "executed": [33, 44],
        "listener": [0, 0], "pair": [[55, 0], [55, 0]],
    }  # fmt: skip


def test_messages_tell_who_sent_them(python):
    out = python(
        PEERS
        + """
import struct
def send(s, uid, gid):
    ids = struct.pack("3i", os.getpid(), uid, gid)
    return refused(s.sendmsg, [b"x"], [(socket.SOL_SOCKET, 2, ids)])
def take(s):
    return list(struct.unpack("3i", s.recvmsg(1, 64)[1][0][2])[1:])
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
out["refused"] = [send(a, 0, 0), send(a, 12, 13)]
out["root"] = [take(b), take(b)][1:]
child(lambda: [drop(), send(a, 33, 44), a.send(b"x")])
out["dropped"] = [take(b), take(b)]
child(lambda: [drop(), os._exit(send(a, 0, 44))])
b.setblocking(False)
try:
    out["another's"] = take(b)
except BlockingIOError:
    out["another's"] = None
b.setblocking(True)
os.set_inheritable(a.fileno(), True)
script = "import os; os.write(%d, b'x')" % a.fileno()
child(lambda: [drop(), os.execv(sys.executable, ["python3", "-c", script])])
out["executed"] = take(b)
"""
    )
    assert out == {
        "refused": [False, False], "root": [[12, 13]], "dropped": [[33, 44], [33, 44]],
        "another's": None, "executed": [33, 44],
    }  # fmt: skip
