"""Where a path of a container comes from: the walk of the union, told step by step.

The rules are those of preload/uufs/walk/walk.c: at each name a bind by its exact path, else the
writable upper and its whiteouts, else a generated file, else the image. They are told again here
because a start needs only the answer and a person needs the reasons; a test holds the two against
each other.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.container import marks
from lpmx_runtime.store.store import without_link_layers
from lpmx_runtime.union.view import OPAQUE, WHITEOUT, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.launch.start import Surroundings
    from lpmx_runtime.plans.plan import Bind, LaunchPlan
    from lpmx_runtime.store.store import Store

__all__ = ["Answer", "Place", "Step", "Union", "explain", "find_union", "union_of"]

MAX_LINKS = 40  # as the kernel's MAXSYMLINKS and walk.c
OPAQUE_MARK = os.fsdecode(marks.OPAQUE)
# below a bind of /proc: what the engine answers itself (preload/calls/proc/)
_TRANSLATED = {"exe", "cwd", "root", "fd", "maps", "smaps", "mounts", "mountinfo"}
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFREG: "file",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class LayerPlace:
    """One layer of the image: @number counts from 1 at the bottom."""

    number: int
    diff_id: str
    tree: str  # host path of its files
    view: str  # host path of its view
    links: bool = False  # of that layer: its hard links to lower ones (lowerlinks.py)

    def __str__(self) -> str:
        label = f"layer {self.number} ({self.diff_id[:12]})"
        return f"links of {label}" if self.links else label


@dataclass(frozen=True)
class Union:
    """What a container is made of, as far as paths go. All paths but `Bind.dst` are the host's."""

    label: str  # what to call it
    layers: tuple[LayerPlace, ...]  # bottom first
    binds: tuple[Bind, ...]
    upper: str = ""  # "": nothing can have been written


@dataclass(frozen=True)
class Place:
    """One part of the union that has, or hides, the name."""

    part: str  # bind, upper, generated, layer
    name: str  # the bind's destination, the layer, ...
    state: str  # shown, merged, hidden, whiteout, opaque
    kind: str = ""  # file, directory, symlink ...; "" for a mark
    host: str = ""
    reason: str = ""  # why it is hidden
    diff_id: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain data, without what is empty."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class Step:
    """One name of the walk that was decided: a symlink that is followed, or the end."""

    path: str  # canonical container path
    kind: str
    target: str  # where a symlink leads; "" for others
    places: tuple[Place, ...]

    @property
    def source(self) -> Place | None:
        """The part that shows the name, None where nothing does."""
        return next((place for place in self.places if place.state in ("shown", "merged")), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for --json."""
        return {
            "path": self.path,
            "kind": self.kind or None,
            "target": self.target or None,
            "places": [place.as_dict() for place in self.places],
        }


@dataclass(frozen=True)
class Answer:
    """All steps of one path. @error is "" when the path leads to something."""

    asked: str
    steps: tuple[Step, ...]
    error: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def found(self) -> bool:
        """Does the path lead to something?"""
        return not self.error

    @property
    def host(self) -> str:
        """The host path behind the container path, "" when there is none."""
        source = self.steps[-1].source if self.steps else None
        return source.host if source and self.found else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for --json."""
        return {
            "asked": self.asked,
            "found": self.found,
            "path": self.steps[-1].path if self.steps and self.found else None,
            "host": self.host or None,
            "error": self.error or None,
            "steps": [step.as_dict() for step in self.steps],
            "notes": list(self.notes),
        }


def find_union(store: Store, name: str, here: Surroundings) -> Union:
    """What the container or image @name is made of; an image as `lpmx run` would show it @here.

    Raises NotFoundError where the store has neither.
    """
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.errors import NotFoundError
    from lpmx_runtime.launch.start import Options, draft_container, plan_launch

    try:
        found = containers.find(store, name)
        label = f"container {found.label}"
    except containers.ContainerNotFoundError:
        try:
            image = store.resolve(name)
        except NotFoundError as error:
            raise NotFoundError(
                f"{name}: no such container or image",
                hint="`lpmx ps -a` lists the containers, `lpmx images` the images",
            ) from error
        draft = draft_container(store, image, Options(command=("true",)), here)
        found, label = draft.container, f"image {image.name}"
    return union_of(store, found, plan_launch(store, found, here).plan, label)


def union_of(store: Store, container: Container, plan: LaunchPlan, label: str) -> Union:
    """What a start in @container by @plan sees."""
    layers: list[LayerPlace] = []
    named = without_link_layers(container.diff_ids)
    for one in container.diff_ids:
        links = one not in named
        number = layers[-1].number + (not links) if layers else 1
        layers.append(
            LayerPlace(
                number,
                layers[-1].diff_id if links else one,
                os.fspath(store.layer_fs(one)),
                os.fspath(store.layer_view(one)),
                links,
            )
        )
    return Union(label, tuple(layers), plan.binds, plan.upper if os.path.isdir(plan.upper) else "")


def explain(union: Union, path: str, *, cwd: str = "/", follow: bool = True) -> Answer:
    """Walk container path @path (relative ones from @cwd) and keep the reasons.

    @follow says whether a symlink in the last name is followed too. Raises StorageError where a
    view is damaged and OSError where the host's files cannot be looked at.
    """
    with contextlib.ExitStack() as stack:
        views = [(layer, stack.enter_context(View(layer.view))) for layer in union.layers]
        walk = _Walk(_Parts(union, views), posixpath.join(cwd, path), follow=follow)
        error = walk.run()
    last = walk.steps[-1].path
    notes = []
    if _is_translated(union, last):
        notes.append(f"{last}: the engine answers this itself, with the container's paths")
    return Answer(path, tuple(walk.steps), error, tuple(notes))


class _Walk:
    """One walk: names still to come in `pending`, next one last, and the directory `here`."""

    def __init__(self, parts: _Parts, path: str, *, follow: bool) -> None:
        self.parts = parts
        self.follow = follow
        self.must_be_directory = path.endswith(("/", "/.", "/.."))
        self.pending = _words(path)
        self.here = "/"
        self.links = 0
        self.steps: list[Step] = []

    def run(self) -> str:
        """Walk to the end, or to what ends it: the reason, "" for none."""
        while self.pending:
            word = self.pending.pop()
            if word == "..":
                self.here = posixpath.dirname(self.here)
                continue
            step = self.parts.look(posixpath.join(self.here, word))
            if step.kind == "directory":
                self.here = step.path
                continue
            self.steps.append(step)
            if step.kind == "symlink" and self._follows(step):
                error = self._enter(step)
                if error:
                    return error
                continue
            return self._stop(step)
        self.steps.append(self.parts.look(self.here))
        return ""

    def _follows(self, step: Step) -> bool:
        if _is_translated(self.parts.union, step.path):
            return False
        return bool(self.pending) or self.follow or self.must_be_directory

    def _enter(self, step: Step) -> str:
        self.links += 1
        if self.links > MAX_LINKS:
            return f"{step.path}: more than {MAX_LINKS} symlinks"
        if step.target.startswith("/"):
            self.here = "/"
        self.pending += _words(step.target)
        return ""

    def _stop(self, step: Step) -> str:
        if not step.kind:
            return f"{step.path}: no such file or directory"
        if (self.pending or self.must_be_directory) and step.kind != "symlink":
            return f"{step.path}: is a {step.kind}, not a directory"
        return ""


class _Parts:
    """The parts of the union, asked about one name at a time."""

    def __init__(self, union: Union, views: Sequence[tuple[LayerPlace, View]]) -> None:
        self.union = union
        self.views = views

    # ---- one name

    def look(self, path: str) -> Step:
        """All that holds or hides @path, whose parents are known to be directories."""
        bind = _innermost(self.union.binds, path)
        below = self._union_places(path)
        if bind is None:
            return self._step(path, below)
        host = bind.src if path == bind.dst else _below(bind.src, path[len(bind.dst) :])
        kind = _kind_of(host)
        places = [Place("bind", str(bind), "shown", kind, host)] if kind else []
        if not kind:
            places = [Place("bind", str(bind), "absent", "", host)]
        hidden = [
            _hide(place, f"the bind at {bind.dst}") if place.state in ("shown", "merged") else place
            for place in below
        ]
        return self._step(path, places + hidden)

    @staticmethod
    def _step(path: str, places: Sequence[Place]) -> Step:
        source = next((place for place in places if place.state in ("shown", "merged")), None)
        kind = source.kind if source else ""
        target = os.readlink(source.host) if source and kind == "symlink" else ""
        return Step(path, kind, target, tuple(places))

    def _union_places(self, path: str) -> list[Place]:
        """What upper, generated files and layers have at @path, the highest first."""
        places: list[Place] = []
        hider = ""  # what hides all that lies further down
        shown: Place | None = None
        for found, cut in [*self._upper_places(path), *self._seeds(path), *self._layers(path)]:
            if found is not None and found.state != "shown":
                places.append(found)  # a mark
            elif found is not None and hider:
                places.append(_hide(found, hider))
            elif found is not None and shown is None:
                places.append(found)
                shown = found
            elif found is not None and shown is not None:
                merges = shown.kind == found.kind == "directory"
                places.append(_with_state(found, "merged") if merges else _hide(found, shown.name))
                hider = "" if merges else shown.name
            hider = hider or cut
        return places

    def _upper_places(self, path: str) -> list[tuple[Place | None, str]]:
        """(place, what of it hides everything below) for the upper."""
        upper = self.union.upper
        if not upper:
            return []
        for parent in _parents(path):
            host = marks.host_path(upper, parent)
            kind = _kind_of(host) if parent != "/" else "directory"
            if kind and kind != "directory":
                return [(None, f"the {kind} {parent} of the container's own files")]
            if not kind and os.path.lexists(marks.whiteout(upper, parent)):
                return [(None, f"a whiteout of {parent} in the container's own files")]
            if kind and os.path.lexists(posixpath.join(host, OPAQUE_MARK)):
                own = self._upper_own(path)
                return [(own, ""), (None, f"{parent} is opaque in the container's own files")]
        own = self._upper_own(path)
        if own is not None:
            opaque = own.kind == "directory" and os.path.lexists(f"{own.host}/{OPAQUE_MARK}")
            return [(own, "it is opaque in the container's own files" if opaque else "")]
        hides = marks.whiteout(upper, path) if path != "/" else ""
        if os.path.lexists(hides):
            mark = Place("upper", "the container's own files", "whiteout", host=hides)
            return [(mark, "a whiteout in the container's own files")]
        return []

    def _upper_own(self, path: str) -> Place | None:
        host = marks.host_path(self.union.upper, path)
        kind = _kind_of(host)
        return Place("upper", "the container's own files", "shown", kind, host) if kind else None

    def _seeds(self, path: str) -> list[tuple[Place | None, str]]:
        return [
            (Place("generated", "the file made for this container", "shown", "file", bind.src), "")
            for bind in self.union.binds
            if bind.seed and bind.dst == path
        ]

    def _layers(self, path: str) -> list[tuple[Place | None, str]]:
        return [
            found for layer, view in reversed(self.views) for found in _in_layer(layer, view, path)
        ]


def _in_layer(layer: LayerPlace, view: View, path: str) -> list[tuple[Place | None, str]]:
    """What one layer has at @path, and what of it hides the layers below."""
    for parent in _parents(path):
        node = view.lookup(parent, follow=False)
        if node is None:
            return []
        if node.flags & WHITEOUT:
            return [(None, f"a whiteout of {parent} in {layer}")]
        if not stat.S_ISDIR(node.mode):
            return [(None, f"the {_KINDS[stat.S_IFMT(node.mode)]} {parent} of {layer}")]
        if node.flags & OPAQUE:
            own = _in_one_layer(layer, view, path)
            return [*own, (None, f"{parent} is opaque in {layer}")]
    return _in_one_layer(layer, view, path)


def _in_one_layer(layer: LayerPlace, view: View, path: str) -> list[tuple[Place | None, str]]:
    node = view.lookup(path, follow=False)
    if node is None:
        return []
    if node.flags & WHITEOUT:
        return [
            (
                Place("layer", str(layer), "whiteout", diff_id=layer.diff_id),
                f"a whiteout in {layer}",
            )
        ]
    place = _shown(layer, _KINDS[stat.S_IFMT(node.mode)], path)
    return [(place, f"it is opaque in {layer}" if node.flags & OPAQUE else "")]


def _shown(layer: LayerPlace, kind: str, path: str) -> Place:
    host = layer.tree + (path if path != "/" else "")
    return Place("layer", str(layer), "shown", kind, host, diff_id=layer.diff_id)


def _with_state(place: Place, state: str, reason: str = "") -> Place:
    return Place(place.part, place.name, state, place.kind, place.host, reason, place.diff_id)


def _hide(place: Place, reason: str) -> Place:
    return _with_state(place, "hidden", reason)


def _words(path: str) -> list[str]:
    """The names of @path to be walked, the first one last."""
    return [word for word in path.split("/") if word not in ("", ".")][::-1]


def _parents(path: str) -> list[str]:
    """The directories above @path, "/" first."""
    names = [name for name in path.split("/") if name][:-1]
    found = ["/"] if path != "/" else []
    return found + ["/" + "/".join(names[: i + 1]) for i in range(len(names))]


def _below(folder: str, rest: str) -> str:
    return f"{folder.rstrip('/')}/{rest.lstrip('/')}"


def _kind_of(host: str) -> str:
    """What lies at host path @host, "" for nothing."""
    try:
        return _KINDS[stat.S_IFMT(os.lstat(host).st_mode)]
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _innermost(binds: Sequence[Bind], path: str) -> Bind | None:
    """The bind that shows @path: of several at one place the first, as in walk.c."""
    found: Bind | None = None
    for bind in binds:
        inside = path == bind.dst or path.startswith(bind.dst.rstrip("/") + "/")
        if inside and not bind.seed and (found is None or len(bind.dst) > len(found.dst)):
            found = bind
    return found


def _is_translated(union: Union, path: str) -> bool:
    bind = _innermost(union.binds, path)
    return bool(bind and bind.proc and set(path.split("/")[2:]) & _TRANSLATED)
