"""Images of genome analysis tools, one tool each as BioContainers have it, for the examples.

`samtools` comes from two Debian releases with different glibcs: two versions side by side.
"""

from __future__ import annotations

from images.recipe import Layer, Recipe
from images.recipes import DEBIAN, PATH, TRIM, apt

NEWER = Layer("debian-trixie", TRIM, kind="debootstrap", suite="trixie")


JAVA = DEBIAN.then("java", apt("default-jre-headless"))


def _tool(name: str, base: Layer, *packages: str) -> Recipe:
    top = base.then(name, apt(*packages) + f"echo {name} > /etc/lpmx-image\n")
    return Recipe(name, top, config={"Env": [PATH, "LC_ALL=C.UTF-8"], "Cmd": ["bash"]})


# What bench/analysis.py works with: aligners, and samtools with htslib to be compiled.
WORKBENCH = DEBIAN.then(
    "workbench",
    apt(
        "gcc", "make", "libc6-dev", "zlib1g-dev", "libbz2-dev", "liblzma-dev", "libncurses-dev",
        "libdeflate-dev", "libhtscodecs-dev", "bzip2", "xz-utils", "automake", "bwa",
        "minimap2", "samtools", "python3",
    ),
).then(
    "workbench-sources",
    r"""
grep -v security /mnt/sources.list | sed 's/^deb /deb-src /' > /tmp/sources.list
mkdir -p /tmp/lists/partial /opt/src/htslib /opt/src/samtools
lists='-o Dir::Etc::SourceList=/tmp/sources.list -o Dir::State::Lists=/tmp/lists'
apt-get $lists update
cd /tmp
for package in htslib samtools; do
    apt-get $lists source --download-only $package
    tar -C /opt/src/$package --strip-components=1 -xf ${package}_*.orig.tar.*
    (cd /opt/src/$package && autoreconf -i)
done
rm -rf /tmp/* /var/cache/apt/*.bin
""",
)  # fmt: skip

ANALYSIS = (
    _tool("pipeline", DEBIAN, "gawk"),
    _tool("bwa", DEBIAN, "bwa"),
    _tool("samtools", DEBIAN, "samtools"),
    _tool("samtools-newer", NEWER, "samtools"),
    _tool("bcftools", DEBIAN, "bcftools"),
    _tool("picard", JAVA, "picard-tools"),
    _tool("canu", JAVA, "canu"),
    Recipe("workbench", WORKBENCH, config={"Env": [PATH], "Cmd": ["bash"]}, on_demand=True),
)
