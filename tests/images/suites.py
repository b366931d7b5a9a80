"""Images of other projects' test suites, unchanged, and of Debian releases with other glibcs."""

from __future__ import annotations

from images.recipe import Layer, Recipe
from images.recipes import DEBIAN, PATH, TRIM, apt

# CPython's tests, stress-ng, and perl's t/, for which the sources are fetched
SUITES = DEBIAN.then(
    "suites-python",
    apt(
        "python3", "libpython3.11-testsuite", "python3-venv", "python3-distutils", "python3-gdbm",
        "stress-ng", "perl", "xz-utils", "tzdata", "media-types", "netbase", "openssl",
        "ca-certificates", "procps", "gdb-minimal", "strace",
    ),
).then(
    "suites-perl",
    """
grep -v security /mnt/sources.list | sed 's/^deb /deb-src /' > /tmp/sources.list
mkdir -p /tmp/lists/partial /suites/perl
lists='-o Dir::Etc::SourceList=/tmp/sources.list -o Dir::State::Lists=/tmp/lists'
apt-get $lists update
cd /tmp && apt-get $lists source --download-only perl
tar -C /suites/perl --strip-components=1 -xf perl_*.orig.tar.xz
# the tests look for the modules and the program beside them: those of the installed perl
cp -r /usr/share/perl/5.36.0/. /usr/lib/x86_64-linux-gnu/perl/5.36.0/. /suites/perl/lib/
ln -s /usr/bin/perl /suites/perl/perl
ln -s /usr/bin/perl /suites/perl/t/perl
chmod -R a+rwX /suites
rm -rf /tmp/* /var/cache/apt/*.bin
""",
)  # fmt: skip

# The tests of Go's packages are in Debian's golang-go; go compiles them inside.
# Those of net look up localhost and read /etc/services.
GO = DEBIAN.then("suites-go", apt("golang-go", "ca-certificates", "netbase")).then(
    "suites-go-hosts",
    r"printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts",
)


def _release(suite: str) -> Recipe:
    """A release with what most programs are: a shell, Python, perl, a compiler."""
    base = Layer(f"debian-{suite}", TRIM, kind="debootstrap", suite=suite)
    top = base.then(f"release-{suite}", apt("python3", "perl", "gcc", "libc6-dev", "procps"))
    return Recipe(f"release-{suite}", top, config={"Env": [PATH], "Cmd": ["bash"]}, on_demand=True)


RELEASES = ("bullseye", "trixie", "sid")
ALL = (
    Recipe(
        "suites",
        SUITES,
        style="flat",
        config={"Env": [PATH, "LC_ALL=C.UTF-8"], "Cmd": ["bash"]},
    ),
    Recipe(
        "suites-go",
        GO,
        config={"Env": [PATH, "LC_ALL=C.UTF-8"], "Cmd": ["bash"]},
        on_demand=True,
    ),
    *(_release(suite) for suite in RELEASES),
)
