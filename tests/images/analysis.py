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


ANALYSIS = (
    _tool("pipeline", DEBIAN, "gawk"),
    _tool("bwa", DEBIAN, "bwa"),
    _tool("samtools", DEBIAN, "samtools"),
    _tool("samtools-newer", NEWER, "samtools"),
    _tool("bcftools", DEBIAN, "bcftools"),
    _tool("picard", JAVA, "picard-tools"),
    _tool("canu", JAVA, "canu"),
)
