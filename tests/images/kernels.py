"""Images of what Jupyter kernels can be made of: Python of several Debian releases, R."""

from __future__ import annotations

from images.recipe import Layer, Recipe
from images.recipes import DEBIAN, PATH, TOOLS, TRIM, apt

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


R = TOOLS.then("irkernel", apt("r-cran-irkernel"))

ALL = (
    *(recipe for suite in PYTHONS for recipe in _python(suite)),
    Recipe("irkernel", R, config=_CONFIG, on_demand=True),
)
