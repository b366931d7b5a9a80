"""Images of what Jupyter kernels can be made of: Python of several Debian releases, Python on musl, R."""

# ruff: noqa: E501
# The long lines are programs in other languages.
from __future__ import annotations

from images.recipe import Layer, Recipe
from images.recipes import DEBIAN, MUSL, PATH, TOOLS, TRIM, apt

PYTHONS = ("bullseye", "bookworm", "trixie", "sid")
_CONFIG = {"Env": [PATH, "LC_ALL=C.UTF-8"], "Cmd": ["bash"]}


def _python(suite: str) -> tuple[Recipe, Recipe]:
    """That release's Python alone, and with the ipykernel of the release."""
    base = (
        DEBIAN
        if suite == "bookworm"
        else Layer(f"debian-{suite}", TRIM, kind="debootstrap", suite=suite)
    )
    bare = base.then(f"python-{suite}", apt("python3", "media-types"))
    own = bare.then(f"ipykernel-{suite}", apt("python3-ipykernel"))
    return (
        Recipe(f"python-{suite}", bare, config=_CONFIG, on_demand=True),
        Recipe(f"ipykernel-{suite}", own, config=_CONFIG, on_demand=True),
    )


# CPython as its makers publish it, out of the sources of a Debian, compiled against musl into /usr/local. zlib, libffi
# and SQLite are linked in. It has no ssl and no pip.
_COMPILE_ON_MUSL = r"""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$work/lists/partial" "$work/src" "$root/bin" "$root/include" "$root/lib"
for suite in bullseye bookworm; do
    apt-get indextargets --format "deb-src \$(REPO_URI) $suite main" 'Created-By: Packages' 'Origin: Debian' 'Component: main'
done | grep -v security | sort -u > "$work/sources.list"
lists="-o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$work/lists"
lists+=" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
apt-get $lists update
cd "$work/src"
apt-get $lists source --download-only "$python" zlib libffi sqlite3
for package in "$python" zlib libffi sqlite3; do
    mkdir "$work/$package"
    tar -C "$work/$package" --strip-components=1 -xf "$package"_*.orig.tar.*
done

# The kernel's headers come after musl's. configure is told nothing, as by Alpine's gcc;
# setup.py, told nothing, would ask dpkg and take glibc's.
ln -s /usr/include/linux /usr/include/asm-generic /usr/include/x86_64-linux-gnu/asm "$root/include"
cat > "$root/bin/cc" << END
#!/bin/sh
case \$1 in
--print-multiarch) exit 0 ;;
-print-multiarch) exec echo x86_64-linux-musl ;;
esac
exec musl-gcc -idirafter $root/include "\$@"
END
chmod 755 "$root/bin/cc"
export CC=$root/bin/cc CFLAGS='-O1 -fPIC' PKG_CONFIG=false
cd "$work/zlib"
./configure --static --prefix="$root"
make -s libz.a
cp libz.a "$root/lib" && cp zlib.h zconf.h "$root/include"
cd "$work/libffi"
./configure -q --build=x86_64-linux-musl --prefix="$root" --disable-shared --disable-docs --disable-multi-os-directory
make -s install
cd "$work/sqlite3"
./configure -q --build=x86_64-linux-musl --disable-tcl --disable-readline
make -s sqlite3.c
"$CC" $CFLAGS -DSQLITE_THREADSAFE=1 -DSQLITE_OMIT_LOAD_EXTENSION -c sqlite3.c
ar rc "$root/lib/libsqlite3.a" sqlite3.o && cp sqlite3.h "$root/include"

cd "$work/$python"
rm -rf Lib/test Lib/idlelib Lib/lib2to3 Lib/tkinter Lib/turtledemo
# It would find headers and libraries of the host.
sed -i "s#'/usr/include'\]#'/usr/include/x86_64-linux-musl']#; s#system_lib_dirs = .*#system_lib_dirs = []#
    s#, '/usr/local/[a-z]*')#, '$root/lib')#" setup.py
./configure -q --build=x86_64-linux-musl --prefix=/usr/local --without-ensurepip --disable-test-modules \
    --without-static-libpython OPT='-O1 -DNDEBUG' CFLAGS= CPPFLAGS="-I$root/include" LDFLAGS="-L$root/lib" \
    LIBFFI_INCLUDEDIR="$root/include"
make -s
make -s bininstall libinstall sharedinstall DESTDIR="$TREE" COMPILEALL_OPTS=-j1
"""

# Wheels of today have packed relocations, which musl reads from 1.2.4 on; Debian 12 has 1.2.3.
_NEWER_MUSL = r"""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/musl" "$TREE/lib"
apt-get indextargets --format 'deb-src $(REPO_URI) trixie main' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    grep -v security | sort -u > "$work/sources.list"
lists="-o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$work/lists"
lists+=" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
apt-get $lists update
cd "$work"
apt-get $lists source --download-only musl
tar -C musl --strip-components=1 -xf musl_*.orig.tar.[gx]z
cd musl
./configure --disable-static
make -s lib/libc.so
install -m 755 lib/libc.so "$TREE/lib/ld-musl-x86_64.so.1"
"""


def _on_musl(python: str, *, newer: bool) -> Recipe:
    """The musl image with a Python, and with a musl that reads packed relocations."""
    script = f"python={python}{_COMPILE_ON_MUSL}"
    top = Layer(f"{python}-musl", script, kind="scratch", parent=MUSL)
    if newer:
        top = Layer("musl-newer", _NEWER_MUSL, kind="scratch", parent=top)
    config = {"Env": [PATH], "Cmd": ["/bin/sh"]}
    return Recipe(f"{python}-musl", top, config=config, on_demand=True)


R = TOOLS.then("irkernel", apt("r-cran-irkernel"))

ALL = (
    *(recipe for suite in PYTHONS for recipe in _python(suite)),
    _on_musl("python3.9", newer=False),
    _on_musl("python3.11", newer=True),
    Recipe("irkernel", R, config=_CONFIG, on_demand=True),
)
