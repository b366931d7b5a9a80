"""The test images. Each says what it is there for; `build.py NAME` makes it."""

# ruff: noqa: E501
# The long lines are programs in other languages.
from __future__ import annotations

from images.recipe import Layer, Recipe

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN = """
rm -rf /var/log/*.log /var/log/apt/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -f /var/cache/ldconfig/aux-cache
"""


def apt(*packages: str) -> str:
    """A script that installs packages and leaves no state of apt behind."""
    return f"apt-get update && apt-get install -y {' '.join(packages)}\n{CLEAN}"


# debian:slim alike: minbase without documentation, locales, apt's state, device nodes
TRIM = r"""
cd "$TREE"
rm -rf dev/* proc/* sys/* run/* tmp/* var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb
rm -rf var/log/*.log var/log/apt/* usr/share/man/* usr/share/info/* usr/share/lintian usr/share/groff
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l -delete
find usr/share/doc -type d -empty -delete
find usr/share/locale -mindepth 1 -maxdepth 1 ! -name locale.alias -exec rm -rf {} +
cat > etc/dpkg/dpkg.cfg.d/docker << END
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
END
printf '#!/bin/sh\nexit 101\n' > usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
rm -f etc/apt/sources.list.d/*
: > etc/apt/sources.list
: > etc/resolv.conf
: > etc/hostname
mkdir -p usr/share/man/man1
"""
DEBIAN = Layer("debian", TRIM, kind="debootstrap")

PYTHON = DEBIAN.then("python", apt("python3", "python3-ipykernel"))
BWA = PYTHON.then("bwa", apt("bwa"))

# Removes, replaces and re-creates: a whiteout, an opaque directory, a file over a directory, a changed mode.
REMOVALS = BWA.then(
    "removals",
    """
rm /etc/motd /etc/issue.net
rm -rf /usr/share/doc && mkdir /usr/share/doc && echo 'nothing but this' > /usr/share/doc/README
rm -rf /usr/share/common-licenses && echo 'was a directory' > /usr/share/common-licenses
echo demo > /etc/lpmx-image
chmod 750 /usr/bin/bwa && chmod 755 /usr/bin/bwa
mkdir -p /opt/demo && ln -s ../../usr/bin/bwa /opt/demo/bwa && ln /opt/demo/bwa /opt/demo/bwa-twin
echo data > /opt/demo/one && ln /opt/demo/one /opt/demo/two
""",
)

TOOLS = DEBIAN.then(
    "tools-compiler",
    apt(
        "perl", "gcc", "libc6-dev", "git", "tar", "findutils", "python3", "make", "procps",
        "busybox-static", "bash-static", "dash",
    ),
).then("tools-r", apt("r-base-core")).then(
    "tools-links",
    """
mkdir -p /opt/static/bin && cp /bin/bash-static /opt/static/bin/bash && echo tools > /etc/lpmx-image
# what bench/ works on: 500 modules to import, one program to compile
mkdir -p /opt/bench/modules
for n in $(seq 500); do
    printf 'import os\\nvalue = %d\\n' $n > /opt/bench/modules/bench_module_$n.py
    echo "import bench_module_$n" >> /opt/bench/modules/bench_all.py
done
python3 -m compileall -q /opt/bench/modules
for n in $(seq 200); do
    echo "#include <stdio.h>"
    echo "static int f$n(int x) { for (int i = 0; i < x; i++) x ^= i * $n; return printf(\\"%d\\", x); }"
    echo "int g$n(int x) { return f$n(x) + f$n(x + 1); }"
done > /opt/bench/program.c
""",
)  # fmt: skip

# 2016-2021 BioContainers: a static bash is /bin/bash, busybox applets are hard links, tools live in /usr/local
BIOCONTAINER_BASE = Layer(
    "biocontainer-base",
    r"""
cd "$TREE"
mkdir -p bin sbin usr/bin usr/sbin usr/local/bin etc tmp root proc sys dev var/tmp home lib64 lib/x86_64-linux-gnu
chmod 1777 tmp var/tmp
cp "$(command -v busybox)" bin/busybox
for applet in $(bin/busybox --list-full); do
    [ -e "$applet" ] && continue
    mkdir -p "$(dirname "$applet")" && ln bin/busybox "$applet"
done
rm -f bin/bash && cp "$(command -v bash-static)" bin/bash
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:x:0:\n' > etc/group
echo biocontainer > etc/lpmx-image
: > etc/resolv.conf
""",
    kind="scratch",
)
BIOCONTAINER = Layer(
    "biocontainer-prefix",
    r"""
prefix=$TREE/usr/local
mkdir -p "$prefix"/{bin,lib,share,conda-meta} "$TREE/lib64" "$TREE/lib/x86_64-linux-gnu"
gcc -O1 -shared -fPIC -Wl,-soname,libgreet.so.1 -o "$prefix/lib/libgreet.so.1" "$SOURCES/greet_lib.c"
gcc -O1 -o "$prefix/bin/greet" "$SOURCES/greet.c" "$prefix/lib/libgreet.so.1" -Wl,-rpath,'$ORIGIN/../lib'
for library in libc.so.6 ld-linux-x86-64.so.2; do
    cp -L "/lib/x86_64-linux-gnu/$library" "$TREE/lib/x86_64-linux-gnu/"
done
ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$TREE/lib64/ld-linux-x86-64.so.2"
printf '#!/bin/bash\nread -r image < /etc/lpmx-image\necho "script in $image by bash $BASH_VERSION"\n' > "$prefix/bin/script"
chmod 755 "$prefix/bin/script"
echo '{"name": "greet", "files": ["bin/greet", "lib/libgreet.so.1"]}' > "$prefix/conda-meta/greet-1.0-0.json"
""",
    kind="scratch",
    parent=BIOCONTAINER_BASE,
    sources=("greet.c", "greet_lib.c"),
)

# BioContainers since 2021: Debian's C library, usr-merged, bash as /bin/sh, busybox applets as hard links; conda's
# layer in /usr/local, whose variables the entry point sets
BIOCONDA_BASE = Layer(
    "bioconda-base",
    r"""
cd "$TREE"
mkdir -p usr/bin usr/sbin usr/lib/x86_64-linux-gnu usr/lib64 usr/lib/locale usr/local etc tmp root proc sys dev var/tmp home
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
chmod 1777 tmp var/tmp
cp /bin/bash usr/bin/bash && ln -s bash usr/bin/sh
cp "$(command -v busybox)" usr/bin/busybox
for applet in $(usr/bin/busybox --list-full); do
    case $applet in usr/*) ;; *) applet=usr/$applet ;; esac
    [ -e "$applet" ] || { mkdir -p "$(dirname "$applet")" && ln usr/bin/busybox "$applet"; }
done
for library in libc.so.6 libtinfo.so.6 ld-linux-x86-64.so.2; do
    cp -L "/lib/x86_64-linux-gnu/$library" usr/lib/x86_64-linux-gnu/
done
ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 usr/lib64/ld-linux-x86-64.so.2
cp -r /usr/lib/locale/C.utf8 usr/lib/locale/
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:x:0:\n' > etc/group
echo bioconda > etc/lpmx-image
: > etc/resolv.conf
""",
    kind="scratch",
)
BIOCONDA = Layer(
    "bioconda-prefix",
    r"""
prefix=$TREE/usr/local
mkdir -p "$prefix"/{bin,lib,conda-meta}
gcc -O1 -shared -fPIC -Wl,-soname,libgreet.so.1 -o "$prefix/lib/libgreet.so.1" "$SOURCES/greet_lib.c"
gcc -O1 -o "$prefix/bin/greet" "$SOURCES/greet.c" "$prefix/lib/libgreet.so.1" -Wl,-rpath,'$ORIGIN/../lib'
printf 'export GREET_HOME=/usr/local\n' > "$prefix/env-activate.sh"
printf '#!/bin/bash\n. /usr/local/env-activate.sh\nexec "$@"\n' > "$prefix/env-execute"
chmod 755 "$prefix/env-execute"
echo '{"name": "greet", "files": ["bin/greet", "lib/libgreet.so.1"]}' > "$prefix/conda-meta/greet-2.0-0.json"
""",
    kind="scratch",
    parent=BIOCONDA_BASE,
    sources=("greet.c", "greet_lib.c"),
)

# Alpine alike: musl's loader in /lib, busybox as absolute symlinks; programs dynamic and static
MUSL = Layer(
    "musl",
    r"""
cd "$TREE"
mkdir -p bin sbin usr/bin usr/sbin lib etc tmp root proc sys dev var home
chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox
for applet in $(bin/busybox --list-full); do
    [ -e "$applet" ] || { mkdir -p "$(dirname "$applet")" && ln -s /bin/busybox "$applet"; }
done
install -m 755 /lib/ld-musl-x86_64.so.1 lib/ld-musl-x86_64.so.1
ln -s ld-musl-x86_64.so.1 lib/libc.musl-x86_64.so.1
musl-gcc -O1 -o usr/bin/files "$SOURCES/files.c"
musl-gcc -O1 -o usr/bin/threads "$SOURCES/threads.c"
musl-gcc -O1 -static -o usr/bin/files-static "$SOURCES/files.c"
musl-gcc -O1 -static -o usr/bin/threads-static "$SOURCES/threads.c"
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:x:0:\n' > etc/group
echo musl > etc/lpmx-image
: > etc/resolv.conf
""",
    kind="scratch",
    sources=("files.c", "threads.c"),
)

# FROM scratch: one static Go program, which makes its system calls itself
GO = Layer(
    "go",
    r"""
mkdir -p "$TREE/etc" "$TREE/tmp" "$TREE/proc" "$TREE/dev" "$TREE/sys"
chmod 1777 "$TREE/tmp"
echo go > "$TREE/etc/lpmx-image"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$SOURCES/goroutines.go" "$work/main.go"
cd "$work"
printf 'module goroutines\n\ngo 1.19\n' > go.mod
GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0 GOCACHE=$work/cache GOPATH=$work/path \
    go build -trimpath -ldflags '-s -w' -o "$TREE/goroutines" .
""",
    kind="scratch",
    sources=("goroutines.go",),
)

# Small C programs that make one kind of call each, by glibc, static glibc and static musl
C_PROBES = DEBIAN.then("c-probes-root", "mkdir /probes && echo c-probes > /etc/lpmx-image")
PROBES = ("files.c", "threads.c", "vforks.c", "call.c", "odd.c", "rooted.c", "edges.c")
C_PROBES = Layer(
    "c-probes",
    'mkdir -p "$TREE/probes"\n'
    + "".join(
        f"""
gcc -O1 -pthread -Wl,-z,now -o "$TREE/probes/{name[:-2]}" "$SOURCES/{name}"
gcc -O1 -pthread -static -o "$TREE/probes/{name[:-2]}-static" "$SOURCES/{name}"
musl-gcc -O1 -static -o "$TREE/probes/{name[:-2]}-musl" "$SOURCES/{name}"
"""
        for name in PROBES
    ),
    kind="scratch",
    parent=C_PROBES,
    sources=PROBES,
)


def many_layers(depth: int) -> Layer:
    """@depth thin layers: every one adds, edits and deletes; one starts its directory afresh."""
    top = DEBIAN
    for number in range(depth):
        script = f"""
mkdir -p /srv/depth /srv/only-{number}
for each in 1 2 3; do echo {number}-$each > /srv/depth/{number}-$each; done
echo {number} > /srv/last
echo {number} >> /srv/history
rm -f /srv/depth/{number - 2}-2
[ {number} -lt 3 ] || rm -r /srv/only-{number - 3}
chmod 7{number % 3 + 4}5 /usr/bin/env
"""
        if number == depth // 2:
            script += "rm -rf /srv/depth && mkdir /srv/depth && echo fresh > /srv/depth/again\n"
        top = top.then(f"many-{number:02}", script)
    return top


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "demo",
            REMOVALS,
            style="oci",
            config={"Env": [PATH, "LANG=C.UTF-8", "LPMX_IMAGE=demo"], "Cmd": ["bash"]},
        ),
        Recipe("tools", TOOLS, style="v1", config={"Env": [PATH], "Cmd": ["bash"]}),
        Recipe(
            "biocontainer", BIOCONTAINER, style="flat", config={"Env": [PATH], "Cmd": ["/bin/sh"]}
        ),
        Recipe(
            "bioconda",
            BIOCONDA,
            config={
                "Env": [PATH, "LANG=C.UTF-8"],
                "Entrypoint": ["/usr/local/env-execute"],
                "Cmd": ["/bin/sh"],
            },
        ),
        Recipe("musl", MUSL, style="v1", config={"Env": [PATH], "Cmd": ["/bin/sh"]}),
        Recipe("go", GO, style="oci", config={"Entrypoint": ["/goroutines"]}),
        Recipe("many-layers", many_layers(32), style="v1", config={"Env": [PATH], "Cmd": ["bash"]}),
        Recipe("c-probes", C_PROBES, style="flat", config={"Env": [PATH], "Cmd": ["bash"]}),
    )
}
