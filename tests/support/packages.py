"""A container in which apt works: the machine's own mirrors, and a place for lists and archives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from images.builder import Debian

if TYPE_CHECKING:
    from pathlib import Path

    from support.lpmx import Completed, Lpmx

SETTINGS = "/mnt"  # where the configuration is shown
STATE = "/var/lpmx-apt"


def write_settings(folder: Path) -> None:
    """Write into @folder the configuration that APT_CONFIG names in a container that has it at
    SETTINGS: that of the image recipes, with apt's own unprivileged user for downloads."""
    folder.mkdir(parents=True)
    Debian.find().write_config(folder)
    text = (folder / "apt.conf").read_text()
    text = re.sub(r'^APT::Sandbox::User .*$|Dir::\S+ "/mnt/apt/.*?;', "", text, flags=re.MULTILINE)
    text += f'Dir::State::Lists "{STATE}/lists";\nDir::Cache::Archives "{STATE}/archives";\n'
    (folder / "apt.conf").write_text(text)


@dataclass
class Machine:
    """A kept container under root emulation."""

    lpmx: Lpmx
    name: str
    folder: Path  # the host's, to stand in

    def __call__(self, script: str, *options: str, check: bool = True) -> Completed:
        """Run a shell script in it."""
        env = ("-e", f"APT_CONFIG={SETTINGS}/apt.conf", "-e", "DEBIAN_FRONTEND=noninteractive")
        return self.lpmx(
            "exec", *env, *options, self.name, "sh", "-c", script,
            check=check, cwd=self.folder, timeout=1500.0,
        )  # fmt: skip

    def install(self, *packages: str) -> Completed:
        """apt-get install."""
        return self(f"apt-get install -y {' '.join(packages)}")


def make_machine(lpmx: Lpmx, image: str, name: str, folder: Path) -> Machine:
    """A container of @image, called @name, with fresh lists; @folder is for its configuration."""
    write_settings(folder / "apt")
    lpmx(
        "create", "--fakeroot", "--name", name, "-v", f"{folder / 'apt'}:{SETTINGS}:ro", image,
        cwd=folder,
    )  # fmt: skip
    machine = Machine(lpmx, name, folder)
    machine(f"mkdir -p {STATE}/lists/partial {STATE}/archives/partial && apt-get update")
    return machine
