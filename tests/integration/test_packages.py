"""Packages installed by an ordinary user: apt, dpkg, useradd, pip under `--fakeroot`."""

# ruff: noqa: E501
# The long lines are shell.
from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from images.builder import Debian
from support.lpmx import run
from support.packages import make_machine

pytestmark = pytest.mark.timeout(600)  # the first test waits for the packages

# With maintainer scripts that make users, set owners and setuid bits, and replace files in /etc
SMALL = ("cron", "dbus", "tzdata", "python3-pip")
LARGE = (
    "gcc", "g++", "gfortran", "make", "cmake", "git", "python3-dev", "python3-venv", "ruby",
    "ruby-dev", "default-jre-headless", "r-base-core", "r-cran-ggplot2", "perl", "openssh-server",
    "postgresql", "nginx-light", "exim4-daemon-light", "man-db", "sudo", "cron", "dbus", "npm",
)  # fmt: skip
# All names but mount points, with what must be the same wherever the image is read
TREE = r"""cd "$1" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./etc/resolv.conf \
    -o -path ./etc/hosts \) -prune -o -type d -printf '%P d %m %U %G\n' \
    -o -type l -printf '%P l %U %G %l\n' -o -printf '%P %y %m %U %G %n %s\n' | LC_ALL=C sort"""
# The image's dpkg.cfg leaves these out
NOT_UNPACKED = re.compile(r" /usr/share/(doc|man|locale|info|lintian|groff)/")


@pytest.fixture(scope="module")
def machine(store, image, tmp_path_factory):
    """A container in which the small packages are installed."""
    made = make_machine(store, image("demo"), "packages", tmp_path_factory.mktemp("packages"))
    made.install(*SMALL)
    yield made
    store("rm", "-f", "packages")


def test_packages_are_installed_whole(machine):
    assert machine("dpkg --audit; dpkg -C").stdout == ""
    state = machine(f"dpkg-query -W -f '${{Status}}\\n' {' '.join(SMALL)}").stdout
    assert set(state.splitlines()) == {"install ok installed"}


def test_their_users_owners_and_setuid_bits_are_there(machine):
    shown = machine(
        "stat -c '%U:%G %a' /usr/bin/crontab /var/spool/cron/crontabs"
        " /usr/lib/dbus-1.0/dbus-daemon-launch-helper; id -un messagebus"
    ).stdout
    assert shown.splitlines() == [
        "root:crontab 2755", "root:crontab 1730", "root:messagebus 4754", "messagebus",
    ]  # fmt: skip


def test_the_system_bus_knows_its_callers(machine):
    """Its callers name themselves, and it asks the kernel whether that is true (EXTERNAL)."""
    shown = machine("""
mkdir -p /run/dbus; pid=$(dbus-daemon --system --fork --print-pid)
call="dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus"
$call.GetConnectionUnixUser string:org.freedesktop.DBus | grep -o 'uint32 .*'
setpriv --reuid games --clear-groups $call.GetId | grep -c string
kill $pid""").stdout
    owner = machine("id -u messagebus").stdout.strip()
    assert shown.split() == ["uint32", owner, "1"]


def test_a_setgid_program_of_a_package_works_for_a_user(machine):
    """crontab writes into a directory that only its group may write to."""
    machine("useradd -m crony; echo '0 0 * * * true' > /home/crony/tab")
    shown = machine(
        "runuser -u crony -- crontab /home/crony/tab && stat -c '%U:%G %a' /var/spool/cron/crontabs/*"
    ).stdout
    assert shown.strip() == "crony:crontab 600"


def test_accounts_are_managed(machine):
    script = """
set -e
groupadd -g 4000 lab; useradd -m -u 4001 -g lab -s /bin/sh anna; echo anna:secret | chpasswd
usermod -aG users anna; id anna; stat -c '%U:%G %a' /home/anna /etc/shadow
su anna -c 'cd; touch mine; id -u; stat -c %U:%G mine'
userdel -r anna; groupdel lab; ls /home | grep anna || echo gone
"""
    assert machine(script).stdout.splitlines() == [
        "uid=4001(anna) gid=4000(lab) groups=4000(lab),100(users)",
        "anna:lab 755", "root:shadow 640", "4001", "anna:lab", "gone",
    ]  # fmt: skip


def test_dpkg_installs_and_purges_a_package_of_our_own(machine):
    script = """
set -e
rm -rf /opt/pkg; mkdir -p /opt/pkg/DEBIAN /opt/pkg/usr/lib/own /opt/pkg/etc; cd /opt/pkg
printf 'Package: own\\nVersion: 1\\nArchitecture: all\\nMaintainer: m <m@m>\\nDescription: d\\n' > DEBIAN/control
printf '/etc/own.conf\\n' > DEBIAN/conffiles; echo c > etc/own.conf
printf '#!/bin/sh\\nset -e\\nuseradd -r own\\nchown own:own /usr/lib/own/f\\n' > DEBIAN/postinst
printf '#!/bin/sh\\nset -e\\nif [ $1 = purge ]; then userdel own; fi\\n' > DEBIAN/postrm
chmod 755 DEBIAN/postinst DEBIAN/postrm; touch usr/lib/own/f usr/lib/own/suid; chown 12:34 usr/lib/own/suid
chmod 4555 usr/lib/own/suid; dpkg-deb -b . /opt/own.deb > /dev/null
dpkg -i /opt/own.deb > /dev/null; stat -c '%n %U:%G %a' /usr/lib/own/*; dpkg -V own
dpkg -P own > /dev/null; ls /usr/lib/own /etc/own.conf 2>&1 | wc -l; id own 2>&1
"""
    done = machine(script, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "/usr/lib/own/f own:own 644", done.stderr
    assert lines[1].endswith(" 4555")
    assert machine("stat -c %u:%g /opt/pkg/usr/lib/own/suid").stdout.strip() == "12:34"
    assert lines[2] == "2"  # neither is there
    assert lines[3].startswith("id:")


def test_pip_installs(machine):
    script = """
set -e
rm -rf /opt/src; mkdir -p /opt/src/thing; cd /opt/src; echo 'VALUE = 42' > thing/__init__.py
printf '[build-system]\\nrequires = ["setuptools"]\\nbuild-backend = "setuptools.build_meta"\\n' > pyproject.toml
printf '[project]\\nname = "thing"\\nversion = "1"\\n[project.scripts]\\nthing = "thing:run"\\n' >> pyproject.toml
pip install -q --no-index --no-build-isolation --break-system-packages --root-user-action=ignore .
cd /; python3 -c 'import thing; print(thing.VALUE, thing.__file__)'
stat -c %U:%G /usr/local/bin/thing; pip uninstall -qy --break-system-packages --root-user-action=ignore thing
test ! -e /usr/local/bin/thing && echo gone
"""
    shown = machine(script).stdout.splitlines()
    assert shown[0].startswith("42 /usr/local/lib/python3")
    assert shown[1:] == ["root:root", "gone"]


def test_purging_takes_all_away(machine):
    machine("apt-get purge -y cron")
    shown = machine("ls /usr/bin/crontab /usr/sbin/cron 2>&1 | grep -c 'No such'; dpkg --audit")
    assert shown.stdout.strip() == "2"


def test_the_committed_image_has_them(machine, store, tmp_path):
    store("commit", machine.name, "packages:1")
    script = "stat -c '%U:%G %a' /usr/lib/dbus-1.0/dbus-daemon-launch-helper; dpkg --audit"
    shown = store("run", "--fakeroot", "packages:1", "sh", "-c", script, cwd=machine.folder)
    compare_elsewhere(store, "packages:1", tmp_path, least=8_000)
    assert shown.stdout.splitlines() == ["root:messagebus 4754"]


def altered(machine):
    """Files of packages that are missing or differ, other than configuration; as dpkg tells it."""
    done = machine("dpkg -V", check=False)
    return {line for line in done.stdout.splitlines() if " c /etc/" not in line}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_packages(store, image, tmp_path):
    """Compilers, interpreters, servers: installed, of one piece, and they run."""
    made = make_machine(store, image("demo"), "hundred", tmp_path)
    before = int(made("dpkg-query -W | wc -l").stdout)
    known = altered(made)
    made.install(*LARGE)
    assert int(made("dpkg-query -W | wc -l").stdout) - before >= 100
    assert made("dpkg --audit").stdout == ""
    assert [line for line in altered(made) - known if not NOT_UNPACKED.search(line)] == []
    script = """
set -e; mkdir -p /opt/try; cd /opt/try
echo 'int main(void) { return 42; }' > a.c; gcc a.c -o a; ./a || echo gcc $?
echo 'print *, 42' > a.f90; echo end >> a.f90; gfortran a.f90 -o f; ./f
python3 -m venv --without-pip v; v/bin/python -c 'print(42)'
ruby -e 'puts 42'; java -version 2>&1 | grep -c Runtime; Rscript -e 'library(ggplot2); cat(42, "\\n")'
stat -c '%U:%G %a' /usr/bin/sudo /usr/bin/ssh-agent /var/lib/postgresql /var/log/exim4 /var/cache/man
mkdir p; echo '{"name": "p", "version": "1.0.0", "bin": {"tell": "tell.js"}}' > p/package.json
printf '#!/usr/bin/env node\\nconsole.log(42)\\n' > p/tell.js; chmod 755 p/tell.js
npm install -g --offline --no-audit --no-fund ./p > /dev/null; tell; stat -c '%U %a' "$(npm root -g)/p/package.json"
sudo -u postgres id -un; runuser -u postgres -- /usr/lib/postgresql/*/bin/initdb -D /var/lib/postgresql/t > /dev/null
stat -c '%U:%G %a' /var/lib/postgresql/t/PG_VERSION
"""
    shown = made(script, check=False)
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines == [
        "gcc 42", "42", "42", "42", "1", "42", "root:root 4755", "root:_ssh 2755",
        "postgres:postgres 755", "Debian-exim:adm 2750", "man:man 755", "42",
        "root 644", "postgres",
        "postgres:postgres 600",
    ], shown.stderr  # fmt: skip
    made("apt-get clean")  # two gigabytes are enough, which are there twice from now on
    changes = store("diff", "hundred").stdout.splitlines()
    assert len(changes) > 20_000
    assert {"A /usr/bin/gcc", "A /usr/bin/ruby", "A /usr/bin/R", "C /etc/passwd"} <= set(changes)
    store("commit", "hundred", "hundred:1")
    store("rm", "-f", "hundred")
    compare_elsewhere(store, "hundred:1", tmp_path, least=20_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_databases_know_their_users_by_their_sockets(store, image, tmp_path):
    """As Debian ships them: peer authentication of postgres, unix_socket of mariadb."""
    made = make_machine(store, image("demo"), "databases", tmp_path)
    made.install("--no-install-recommends", "postgresql", "mariadb-server", "mariadb-client")
    shown = made("""
pg_ctlcluster $(ls /etc/postgresql) main start
su postgres -c "psql -Atc 'select current_user'"; psql -Atc 'select 1' 2>&1 | grep -c 'role "root"'
pg_ctlcluster $(ls /etc/postgresql) main stop
mkdir -p /run/mysqld; chown mysql:mysql /run/mysqld
mariadbd-safe --user=mysql --skip-networking > /dev/null 2>&1 &
tries=0; until mariadb-admin ping > /dev/null 2>&1 || [ $tries -gt 300 ]; do sleep 0.2; tries=$((tries+1)); done
mariadb -Nse 'select current_user()'
setpriv --reuid games --clear-groups mariadb -e 'select 1' 2>&1 | grep -c denied
mariadb-admin shutdown; wait""").stdout
    assert shown.split() == ["postgres", "1", "root@localhost", "1"]
    store("rm", "-f", "databases")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_sudo_says_nothing_of_its_own(store, image, tmp_path):
    made = make_machine(store, image("demo"), "sudoers", tmp_path)
    made.install("--no-install-recommends", "sudo")
    done = made("sudo -n true && sudo -n -u games id -un")
    assert (done.stdout, done.stderr) == ("games\n", "")
    store("rm", "-f", "sudoers")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_debian_is_made_inside(store, image, tmp_path):
    """mmdebstrap, as root of a container that is nobody's: its packages' scripts run in a chroot."""
    made = make_machine(store, image("demo"), "maker", tmp_path)
    made.install("mmdebstrap")
    suite = Debian.find().suite
    script = f"""
grep -v Dir:: $APT_CONFIG > /opt/apt.conf; unset APT_CONFIG
mmdebstrap --mode=root --variant=minbase --aptopt=/opt/apt.conf {suite} /opt/tree /mnt/sources.list
"""
    made(script)
    shown = made("""
cat /opt/tree/var/lib/dpkg/status | grep -c '^Package'; chroot /opt/tree dpkg --audit
chroot /opt/tree sh -c 'echo data > /root/f; su -s /bin/sh nobody -c "id -un; echo ~"; stat -c "%a %U" /usr/bin/passwd'
cat /opt/tree/root/f
""").stdout.splitlines()
    store("rm", "-f", "maker")
    assert int(shown[0]) > 80
    assert shown[1:] == ["nobody", "/nonexistent", "4755 root", "data"]


def compare_elsewhere(store, image, folder, *, least):
    """The tree of @image, of at @least so many names, is what another program unpacks from what we
    save. The image goes once it is saved, and what was made of it in the end."""
    listed = store(
        "run", "--rm", "--fakeroot", "--no-bind", "all", "-w", "/", image, "sh", "-c", TREE,
        "sh", "/", cwd=folder,
    ).stdout.splitlines()  # fmt: skip
    assert len(listed) > least
    store("save", "--format", "oci-dir", "-o", folder / "layout", image, timeout=900.0)
    store("rmi", image)
    told = json.loads(run(["skopeo", "inspect", f"oci:{folder / 'layout'}:{image}"]).stdout)
    assert len(told["Layers"]) > 1
    if os.geteuid() == 0:  # others cannot give files away
        image = f"{folder / 'layout'}:{image}"
        run(["umoci", "unpack", "--image", image, folder / "bundle"], timeout=900.0)
        rootfs = folder / "bundle" / "rootfs"
        unpacked = run(["sh", "-c", TREE, "sh", rootfs]).stdout.splitlines()
        assert set(unpacked) ^ set(listed) == set()
        shutil.rmtree(folder / "bundle")
    shutil.rmtree(folder / "layout")
