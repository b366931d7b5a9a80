"""Which host paths a container shows: default binds, those asked for with -v, and how they add up.

Decides only, and looks at the host's files to do so. A bind is a fixed pair of names: the source is
kept as it was given, since another node may have the same directory behind other symlinks.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plainpath import plain_path

from .plan import Bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "RULES",
    "Place",
    "default_binds",
    "find_bind",
    "hidden_places",
    "merge_binds",
    "parse_no_bind",
    "parse_volume",
    "without_layers",
]

# The default rules, by the name --no-bind knows them by.
RULES = {
    "proc": "/proc",
    "dev": "/dev",
    "sys": "/sys",
    "tmp": "/tmp",  # noqa: S108  the host's /tmp is what is meant
    "home": "the home directory",
    "cwd": "the working directory",
    "resolv": "/etc/resolv.conf",
    "hosts": "/etc/hosts",
    "localtime": "/etc/localtime",
    "site": "package indexes and certificates of the site",  # sitefiles.py, at each start
}
_FILES = ("resolv", "hosts", "localtime")
_KERNEL = ("proc", "dev", "sys")
_KERNEL_FOLDERS = frozenset(f"/{name}" for name in _KERNEL)

# Hiding these from an image would hide the image; what lies deeper in /var, /opt, /srv ... may be
# bound.
_SYSTEM = re.compile(r"/(bin|boot|dev|etc|lib|lib32|lib64|libx32|proc|run|sbin|sys|usr)(/|$)")
_TOP = re.compile(r"/(home|media|mnt|opt|root|srv|tmp|var)?$")
# But a name in these that no system uses is a site's own: /usr/people, /run/media. Where the image
# does not have it either, nothing is hidden by showing it.
_SITE = re.compile(r"/(?:usr/local|usr|run)/([^/]+)")
_SYSTEM_NAMES = re.compile(
    r"X11R6|bin|etc|games|include|lib.*|local|lock|lpmx.*|man|sbin|share|src|systemd|tmp"
)
# Words Docker users have in their fingers: they speak of SELinux labels and of Docker's file
# sharing.
_NO_MEANING = {"rw", "z", "Z", "cached", "delegated", "consistent", "bind", "rbind"}


@dataclass(frozen=True)
class Place:
    """Where the start happens: what the default binds depend on."""

    home: str  # "" when there is none
    cwd: str  # physical
    logical_cwd: str  # as $PWD says it, or the same


def this_place(environ: Mapping[str, str]) -> Place:
    """Home and working directory of this process."""
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = "/"  # removed under our feet
    logical = environ.get("PWD", "")
    try:
        same = os.path.isabs(logical) and os.path.samefile(logical, cwd)
    except OSError:
        same = False
    if not same or _clean(logical) != logical:
        logical = cwd
    home = environ.get("HOME") or _passwd_home()
    return Place(_clean(home) if home.startswith("/") else "", cwd, logical)


def _passwd_home() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _clean(path: str) -> str:
    """@path without "//", "." and "..", as text; posixpath keeps a leading double slash."""
    return "/" + posixpath.normpath(path).lstrip("/")


def parse_no_bind(words: Iterable[str]) -> frozenset[str]:
    """The rules named by --no-bind: a comma list; "all" is every one but /proc, /dev and /sys."""
    names: set[str] = set()
    for name in (name.strip() for word in words for name in word.split(",")):
        if name == "all":
            names |= RULES.keys() - set(_KERNEL)
        elif name in RULES:
            names.add(name)
        else:
            raise UsageError(
                f"--no-bind: there is no default bind {name!r}",
                hint=f"one of: all, {', '.join(RULES)}",
            )
    return frozenset(names)


def _has_all(_path: str) -> bool:
    return True


def default_binds(
    place: Place,
    without: frozenset[str] = frozenset(),
    *,
    image_has: Callable[[str], bool] = _has_all,
) -> list[Bind]:
    """The default binds that exist on this host, less the rules named in @without.

    @image_has: does the image have anything at a path? Asked only about the names of sites below
    /usr and /run.
    """
    binds = []
    for rule, path in RULES.items():
        if rule in without:
            continue
        if rule in _FILES:
            binds += _file(path)
        elif rule == "home":
            binds += _home(place.home, image_has)
        elif rule == "cwd":
            binds += _cwd(place, image_has)
        elif os.path.isdir(path):
            binds.append(Bind(os.path.realpath(path), path, proc=rule == "proc"))
    return binds


def _file(path: str) -> list[Bind]:
    source = os.path.realpath(path)
    return [Bind(source, path, read_only=True, file=True)] if os.path.isfile(source) else []


def _home(home: str, image_has: Callable[[str], bool]) -> list[Bind]:
    if home == "/root" or (home and _may_show(home, image_has)):
        return _at_both_names(home, os.path.realpath(home), image_has)
    return []


def _cwd(place: Place, image_has: Callable[[str], bool]) -> list[Bind]:
    binds = []
    for path in (place.logical_cwd, place.cwd):
        if _may_show(path, image_has):
            binds += _at_both_names(path, place.cwd, image_has)
    return binds


def _at_both_names(path: str, real: str, image_has: Callable[[str], bool]) -> list[Bind]:
    """@path and, where a symlink leads to it, its real name too: links in it may use either."""
    if not os.path.isdir(real):
        return []
    names = [path, real] if _may_show(real, image_has) else [path]
    return [folder_bind(name, name) for name in dict.fromkeys(names)]


def folder_bind(source: str, destination: str, *, read_only: bool = False) -> Bind:
    """A bind of the directory @source, by the name it was given.

    The name is looked up by each start anew: one file system may be elsewhere on the next node.
    """
    return Bind(source, destination, read_only=read_only, link=os.path.islink(source))


def _may_show(path: str, image_has: Callable[[str], bool]) -> bool:
    site = _SITE.match(path)
    if site and not _SYSTEM_NAMES.fullmatch(site[1]):
        return not image_has(site[0])
    return may_hide(path)


def may_hide(path: str) -> bool:
    """May a default bind cover @path of an image? Not where images keep their own files."""
    return not (_TOP.match(path) or _SYSTEM.match(path))


def parse_volume(text: str, *, cwd: str) -> Bind:
    r"""The bind that -v @text asks for.

    SRC:DST[:OPTIONS], or SRC[:OPTIONS] to show it at its own path; `\:` is a colon in a name.
    """
    parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text)]
    options = ""
    if len(parts) == 3 or (len(parts) == 2 and _are_options(parts[1])):
        options = parts.pop()
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise UsageError(f"-v {text}: not of the form SRC:DST[:ro]")
    read_only = _read_only(text, options)
    given = os.path.join(cwd, parts[0])
    source = os.path.realpath(given)
    if not os.path.lexists(source):
        raise UsageError(
            f"-v {text}: {parts[0]} does not exist on this host",
            hint="make it first, or give another path before the colon",
        )
    destination = parts[1] if len(parts) == 2 else _clean(os.path.join(cwd, parts[0]))
    if not destination.startswith("/"):
        raise UsageError(f"-v {text}: {destination} is not an absolute path")
    destination = _clean(destination)
    if destination == "/":
        raise UsageError(
            f"-v {text}: the container's root cannot be replaced", hint="bind a directory below it"
        )
    if not os.path.isdir(source):
        return Bind(source, destination, read_only=read_only, file=True)
    return folder_bind(plain_path(given), destination, read_only=read_only)


def _are_options(text: str) -> bool:
    return all(word == "ro" or word in _NO_MEANING for word in text.split(","))


def _read_only(text: str, options: str) -> bool:
    words = [word for word in options.split(",") if word]
    for word in words:
        if word != "ro" and word not in _NO_MEANING:
            raise UsageError(f"-v {text}: unknown option {word!r}", hint="ro or rw")
    return "ro" in words


def merge_binds(*groups: Iterable[Bind]) -> tuple[Bind, ...]:
    """All binds in the order the loader gets them: parents first.

    Of two at one destination the later wins. A bind that only repeats what an outer one shows is
    left out. One inside another is kept whatever their order was, as a mount deeper in the tree
    would be.
    """
    by_path = {bind.dst: bind for group in groups for bind in group}
    kept: dict[str, Bind] = {}
    for bind in sorted(by_path.values(), key=lambda bind: bind.dst.split("/")):
        outer = find_bind(kept.values(), bind.dst)
        if outer is None or bind.seed or not _repeats(bind, outer):
            kept[bind.dst] = bind
    return tuple(kept.values())


def _repeats(bind: Bind, outer: Bind) -> bool:
    if outer.read_only != bind.read_only or outer.proc:
        return False
    # A symlink on the way is followed inside, where its target may not be shown.
    shown = _join(os.path.realpath(outer.src), bind.dst[len(outer.dst) :])
    return shown == os.path.realpath(bind.src) == os.path.realpath(shown)


def _join(path: str, rest: str) -> str:
    return path.rstrip("/") + rest


def find_bind(binds: Iterable[Bind], path: str) -> Bind | None:
    """The innermost bind that shows container path @path."""
    found = None
    for bind in binds:
        if bind.seed or (path != bind.dst and not path.startswith(_join(bind.dst, "/"))):
            continue
        if found is None or len(bind.dst) > len(found.dst):
            found = bind
    return found


def without_layers(binds: Iterable[Bind], layers_dir: str | os.PathLike[str]) -> list[Bind]:
    """@binds, those read-only that show a part of the store's layers, by whatever name."""
    return [
        replace(bind, read_only=True)
        if bind.src not in _KERNEL_FOLDERS and _is_below(bind.src, layers_dir)
        else bind
        for bind in binds
    ]


def _is_below(path: str, folder: str | os.PathLike[str]) -> bool:
    """Is @path in @folder? Told by inodes: there may be symlinks, and mounts in two places."""
    try:
        top = os.stat(folder)
    except OSError:
        return False
    real = os.path.realpath(path)
    while real != "/":
        try:
            if os.path.samestat(os.stat(real), top):
                return True
        except OSError:
            return False
        real = os.path.dirname(real)
    return False


def hidden_places(
    place: Place, binds: Iterable[Bind], without: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """What to tell of a working directory and a home that no default bind shows, nor any of @binds.

    Not of those that the user left out (the rules @without), nor of `/` and of homes that are
    somebody else's, as daemons have them.
    """
    binds = tuple(binds)
    wanted = {}
    if "cwd" not in without and place.cwd != "/":
        wanted[place.logical_cwd] = "the working directory"
    if "home" not in without and _is_own_folder(place.home):
        wanted.setdefault(place.home, "the home directory")
    return tuple(
        f"{what} {path} is not shown in the container: images have files of their own there"
        f" (`-v {path}` shows it)"
        for path, what in wanted.items()
        if not may_hide(path)
        and not find_bind(binds, path)
        and not _is_shown(os.path.realpath(path), binds)
    )


def _is_own_folder(path: str) -> bool:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and path != "/"


def _is_shown(source: str, binds: Iterable[Bind]) -> bool:
    """Is the host's @source shown, under whatever name?"""
    tops = [os.path.realpath(bind.src) for bind in binds]
    return any(source == top or source.startswith(_join(top, "/")) for top in tops)
