"""`lpmx why` against the engine: both must find the same thing behind every path."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
from typing import TYPE_CHECKING

import pytest

from lpmx_runtime.launch.start import surroundings
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.view import View
from lpmx_runtime.why.path import explain, find_union

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

    from lpmx_runtime.why.path import Union

SAMPLE = 400
CHANGES = """
rm /etc/debian_version; rm -r /usr/share/perl5; mkdir /usr/share/perl5; echo a > /usr/share/perl5/a
echo more >> /etc/host.conf; mkdir -p /srv/deep/er; ln -s ../../etc/host.conf /srv/deep/link
ln -s /srv /opt/abs; chmod 700 /var/cache; rm -rf /opt/demo; echo file > /opt/demo
mv /etc/fstab /etc/moved 2>/dev/null; true
"""
CHANGED = [
    "/etc/debian_version", "/usr/share/perl5", "/usr/share/perl5/a", "/usr/share/perl5/Debconf",
    "/etc/host.conf", "/srv/deep/link", "/srv/deep/er/../link", "/opt/abs/deep",
    "/opt/abs/deep/link", "/var/cache", "/var/cache/apt", "/opt/demo", "/opt/demo/bwa",
    "/opt/demo/..", "/etc/moved", "/etc/motd", "/usr/share/doc/README", "/usr/share/doc/bash",
    "/etc/passwd", "/etc/resolv.conf", "/tmp", "/", "/..", "/bin/sh", "/lib/../bin/sh",
    "/nowhere/at/all", "/etc/passwd/x", "/bin/", "/etc/host.conf/",
    "/usr/share/common-licenses", "/usr/share/common-licenses/GPL",
]  # fmt: skip
LOOK = """
import hashlib, json, os, stat, sys
found = {}
for path in json.load(sys.stdin):
    try:
        status = os.stat(path)
    except OSError:
        found[path] = None
        continue
    kind = stat.S_IFMT(status.st_mode)
    text = hashlib.sha256(open(path, "rb").read()).hexdigest() if kind == stat.S_IFREG else ""
    found[path] = [kind, text]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def union(image: Callable[[str], str], store: Lpmx) -> Union:
    """A kept container of the image `demo`, in which things were changed."""
    store("run", "--name", "why-it", image("demo"), "sh", "-c", CHANGES)
    return find_union(Store.open(store.home), "why-it", surroundings())


def test_every_path_leads_to_what_the_program_finds(
    union: Union, run_lpmx: Callable[..., Completed]
) -> None:
    paths = CHANGED + _sample(union)
    answer = run_lpmx("exec", "why-it", "python3", "-c", LOOK, text=json.dumps(paths))
    seen = json.loads(answer.stdout)
    told = {path: _on_host(union, path) for path in paths}
    assert {path: (told[path], seen[path]) for path in paths if told[path] != seen[path]} == {}
    assert sum(1 for entry in seen.values() if entry) > SAMPLE // 2
    assert sum(1 for entry in seen.values() if entry is None) > 5


def test_written_and_removed_names_are_told_apart(union: Union) -> None:
    assert explain(union, "/etc/host.conf").steps[-1].places[0].part == "upper"
    gone = explain(union, "/etc/debian_version")
    assert [place.state for place in gone.steps[-1].places] == ["whiteout", "hidden"]
    replaced = explain(union, "/usr/share/perl5/Debconf").steps[-1].places
    assert {place.reason for place in replaced} == {
        "/usr/share/perl5 is opaque in the container's own files"
    }


def _sample(union: Union) -> list[str]:
    """Names of all layers, those that others hide too."""
    names = set()
    for layer in union.layers:
        with View(layer.view) as view:
            names |= {"/" + os.fsdecode(path) for path, _ in view.walk()}
    return sorted(random.Random(7).sample(sorted(names), SAMPLE))


def _on_host(union: Union, path: str) -> list[object] | None:
    answer = explain(union, path)
    if not answer.found:
        return None
    kind = stat.S_IFMT(os.lstat(answer.host).st_mode)
    if kind != stat.S_IFREG:
        return [kind, ""]
    with open(answer.host, "rb") as file:
        return [kind, hashlib.sha256(file.read()).hexdigest()]
