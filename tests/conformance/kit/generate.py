"""Random cases out of a seed.

Few names, so that operations meet. What is left out on purpose, because the union is known to
differ (docs/limits.md, asserted in test_differences.py):

- folders that are held open or worked in are never removed or moved, unless the script made them
  (the engine knows a lower folder by its name);
- inotify watches only folders the script made;
- names of one lower file with several are not renamed onto each other.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from .case import Case, Entry, escape

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Taste", "generate"]

ANCHORS = (b"a0", b"a1")  # folders that stay
NAMES = (b"d0", b"d1", b"d2", b"f0", b"f1", b"l0", b"l1")
HARD = (b"h0", b"h1", b"h2")
ODD = (
    b"\xff\xfe\x80", b"new\nline", b"sp ace", b"...", b"%41", b"-", b"wh.", b"x" * 251, b".wh",
    "ü".encode(), b"\\", b"*", b"tab\t",
)  # fmt: skip
ONLY_MADE = (b"y" * 255, b"z" * 252)  # too long for a whiteout: no layer has them
# what the union's marks are called, and what names like them are called on its disk
LIKE_MARKS = (
    b".wh.", b".wh.f0", b".wh.d0", b".wh.n1", b".wh..wh..opq", b".wh..opq", b".wh+f0", b".wh=",
    b".wh==f0", b".wh." + b"y" * 251,
)  # fmt: skip
TOO_LONG = b"w" * 256
MODES = (0o644, 0o600, 0o755, 0o444, 0o700, 0o666, 0o1777, 0o2755, 0o4755)
OWN_MODES = (0o755, 0o700, 0o744, 0o777)  # what a user keeps the use of
ACCESS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR)
FLAGS = (
    os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY,
    os.O_PATH, os.O_CLOEXEC, os.O_SYNC, os.O_NOATIME,
)  # fmt: skip
SIZES = (0, 1, 5, 100, 4095, 4096, 4097, 10_000, 70_000)
WATCHED = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x200, 0x400, 0x1000
CWD = -1


class Taste:
    """What a generator may use: all for root and overlayfs, less for a user and a plain tree."""

    def __init__(self, *, root: bool) -> None:
        self.modes = MODES if root else OWN_MODES
        self.roots = root  # a plain tree is none
        self.hard_links = root  # a plain tree keeps lower hard links together, a copy-up does not
        self.owners = root
        self.overlay = root


def generate(seed: int, *, operations: int = 120, taste: Taste | None = None) -> Case:
    """The case of @seed, the same on every machine."""
    rng = random.Random(seed)
    return _Writer(rng, taste or Taste(root=True)).case(operations, f"seed {seed}")


class _Writer:
    def __init__(self, rng: random.Random, taste: Taste) -> None:
        self.rng = rng
        self.taste = taste
        self.known: list[bytes] = [b"t", *(b"t/" + name for name in ANCHORS)]
        self.kinds: dict[bytes, str] = {}
        self.made: list[bytes] = []  # folders the script made, perhaps
        self.count = 0
        self.workers = [0]
        self.handles: dict[int, list[int]] = {0: []}  # worker: slots in use
        self.folders: dict[int, list[int]] = {0: []}  # worker: slots of folders
        self.script: list[str] = []
        self.jails: dict[int, bytes] = {}  # worker: its root, where that is another
        self.jail = b""  # of the worker whose turn it is

    # ---- layers
    def case(self, operations: int, name: str) -> Case:
        layers = [self._layer(number) for number in range(self.rng.randint(1, 4))]
        self._do(0, "chdir", b"/t")
        while len(self.script) < operations:
            self._operation()
        self._ending()
        return Case(tuple(layers), tuple(self.script), name)

    def _layer(self, number: int) -> tuple[Entry, ...]:
        rng = self.rng
        here: dict[bytes, Entry] = {}
        for anchor in (b"t", *(b"t/" + name for name in ANCHORS)):
            if number == 0 or rng.random() < 0.3:
                kind = "opaque" if number and anchor != b"t" and rng.random() < 0.3 else "dir"
                mode = 0o755 if kind == "opaque" else rng.choice((0o755, 0o700, 0o775))
                here[anchor] = self._stamp(Entry(kind, anchor, mode))
        for _ in range(rng.randint(3, 14)):
            self._layer_entry(here, number)
        return tuple(here.values())

    def _layer_entry(self, here: dict[bytes, Entry], number: int) -> None:
        rng = self.rng
        parent = rng.choice(
            [b"t", b"t/a0", b"t/a1", *(p for p, k in self.kinds.items() if k in {"dir", "opaque"})]
        )
        if parent in here and here[parent].kind not in {"dir", "opaque"}:
            return
        if parent not in here and any(
            parent.startswith(path + b"/") and entry.kind not in {"dir", "opaque"}
            for path, entry in here.items()
        ):
            return
        path = parent + b"/" + self._layer_name()
        if path in here or any(other.startswith(path + b"/") for other in here):
            return
        entry = self._entry(path, number, here)
        if entry is None:
            return
        self._with_parents(here, path)
        here[path] = entry
        self.kinds[path] = entry.kind
        if entry.kind == "whiteout":
            self.kinds.pop(path)
        if entry.kind not in {"dir", "whiteout"}:
            self.kinds = {
                p: k for p, k in self.kinds.items() if not p.startswith(path + b"/") or p in here
            }
        if path not in self.known:
            self.known.append(path)

    def _with_parents(self, here: dict[bytes, Entry], path: bytes) -> None:
        """Say what the folders above are; those left out would get the time of the import."""
        parts = path.split(b"/")
        for n in range(1, len(parts)):
            above = b"/".join(parts[:n])
            if above not in here:
                mode = self.rng.choice((0o755, 0o711)) if n > 1 else 0o755
                here[above] = self._stamp(Entry("dir", above, mode))

    def _layer_name(self) -> bytes:
        return self.rng.choice(NAMES if self.rng.random() < 0.8 else ODD)

    def _stamp(self, entry: Entry) -> Entry:
        from dataclasses import replace

        return replace(entry, mtime=1_000_000_000 + self.rng.randrange(10**8))

    def _entry(self, path: bytes, number: int, here: dict[bytes, Entry]) -> Entry | None:
        rng = self.rng
        kinds = ["dir"] * 6 + ["file"] * 6 + ["symlink"] * 4 + ["fifo"]
        if path in self.kinds and number:
            kinds += ["whiteout"] * 6 + ["opaque"] * (8 if self.kinds[path] == "dir" else 0)
        if self.taste.hard_links:
            kinds += ["hard"] * 2
        kind = rng.choice(kinds)
        mode = rng.choice([m for m in self.taste.modes if m < 0o1000])
        if kind in {"dir", "opaque"}:
            mode = rng.choice((0o755, 0o700, 0o777))
        entry = self._stamp(Entry(kind, path, mode))
        from dataclasses import replace

        if kind == "file":
            xattrs = (("user.a", b"lower"),) if rng.random() < 0.2 else ()
            size = rng.choice(SIZES)
            return replace(entry, size=size, seed=rng.randrange(100), xattrs=xattrs)
        if kind == "symlink":
            return replace(entry, mode=0o777, target=self._target())
        if kind == "hard":
            return self._hard(entry, here)
        return entry

    def _hard(self, entry: Entry, here: dict[bytes, Entry]) -> Entry | None:
        """One more name h0, h1, h2 of a file that has such a name in this layer."""
        from dataclasses import replace

        folder = entry.path.rpartition(b"/")[0]
        path = folder + b"/" + self.rng.choice(HARD)
        files = [e.path for e in here.values() if e.kind == "file" and _last(e.path) in HARD]
        if path in here:
            return None
        self._with_parents(here, path)
        if path not in self.known:
            self.known.append(path)
        if files:
            here[path] = replace(entry, path=path, target=self.rng.choice(files))
        else:
            here[path] = replace(entry, kind="file", path=path, size=7, seed=3)
        self.kinds[path] = "file"
        return None

    def _target(self) -> bytes:
        rng = self.rng
        known = rng.choice(self.known)
        return rng.choice(
            [
                b"/" + known,
                _last(known),
                rng.choice(NAMES),
                b"../" + rng.choice(NAMES),
                rng.choice(NAMES) + b"/../" + rng.choice(NAMES),
                b"../a0/" + rng.choice(NAMES),
                b"/t/" + rng.choice(NAMES) + b"/" + rng.choice(NAMES),
                b"./" + rng.choice(NAMES),
                b"../../t/" + rng.choice(NAMES),
                b".",
                b"..",
            ]
        )

    # ---- paths
    def _name(self) -> bytes:
        r = self.rng.random()
        if r < 0.75:
            return self.rng.choice(NAMES)
        if r < 0.85:
            return self.rng.choice(ODD)
        if r < 0.9:
            return self.rng.choice(HARD)
        if r < 0.92:
            return self.rng.choice(ONLY_MADE)
        if r < 0.94:
            return self.rng.choice(LIKE_MARKS)
        if r < 0.95:
            return TOO_LONG
        return b"n%d" % self.rng.randrange(self.count + 1)

    def _path(self) -> bytes:
        """An absolute path below /t, perhaps of something."""
        rng = self.rng
        path = self._inside(rng.choice(self.known))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            path += b"/" + self._name()
        r = rng.random()
        if r < 0.05 and _last(path) != TOO_LONG:
            path += rng.choice((b"/", b"/.", b"/..", b"//"))
        elif r < 0.12:
            path = path.replace(b"/t/", rng.choice((b"/t/../t/", b"/t/./", b"//t//", b"/t/a0/../")))
        elif r < 0.16:
            path = b"/t/" + rng.choice(NAMES) + b"/../" + self._name()
        return path

    def _inside(self, path: bytes) -> bytes:
        """@path, which has no slash in front, from the root of the worker whose turn it is."""
        if self.jail and (path + b"/").startswith(self.jail + b"/") and self.rng.random() < 0.9:
            path = path.removeprefix(self.jail).removeprefix(b"/")
        return b"/" + path

    def _at(self, worker: int) -> tuple[int, bytes]:
        """A folder's slot and a path for it, or an absolute path."""
        rng = self.rng
        if rng.random() < 0.02:
            return CWD, b""
        path = self._path()
        if rng.random() < 0.6:
            return CWD, path
        relative = path.removeprefix(b"/t/").removeprefix(b"/")
        if self.folders[worker] and rng.random() < 0.6:
            slot = rng.choice(self.folders[worker])
            return slot, rng.choice((relative, self._name(), b"../" + self._name()))
        return CWD, relative or b"."

    def _victim(self, worker: int) -> tuple[int, bytes]:
        """A name that may go."""
        while True:
            slot, path = self._at(worker)
            if _last(path.rstrip(b"/")) not in {*ANCHORS, b"t", b".", b".."} or (
                self.rng.random() < 0.1 and _last(path) in {b".", b".."}
            ):
                return slot, path

    # ---- operations
    def _do(self, worker: int, name: str, *words: bytes | int | str) -> None:
        texts = [escape(word) if isinstance(word, bytes) else str(word) for word in words]
        self.script.append(" ".join([str(worker), name, *texts]))

    def _operation(self) -> None:
        rng = self.rng
        worker = rng.choice(self.workers)
        self.jail = self.jails.get(worker, b"")
        actions = _ACTIONS if self.taste.owners else [a for a in _ACTIONS if a[1] is not _chown]
        weights = [weight for weight, _ in actions]
        rng.choices([action for _, action in actions], weights)[0](self, worker)

    def slot(self, worker: int) -> int:
        """A slot in use, most times."""
        used = self.handles[worker]
        return self.rng.choice(used) if used and self.rng.random() < 0.95 else 30

    def free_slot(self, worker: int) -> int:
        return self.rng.randrange(12) if worker is not None else 0

    def _ending(self) -> None:
        for worker in self.workers:
            self._do(worker, "getcwd")
        self._do(0, "dump", b"/t")


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _open(w: _Writer, worker: int) -> None:
    rng, slot = w.rng, w.free_slot(worker)
    flags = rng.choice(ACCESS)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        flags |= rng.choice(FLAGS)
    at, path = w._at(worker)
    w._do(worker, "open", slot, at, path, flags, rng.choice(w.taste.modes))
    _taken(w, worker, slot)


def _openat2(w: _Writer, worker: int) -> None:
    rng, slot = w.rng, w.free_slot(worker)
    resolve = rng.choice((0, 0, 0x8, 0x8, 0x10)) if w.taste.roots else rng.choice((0, 0x8))
    for flag in (0x1, 0x2, 0x4):  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS
        resolve |= flag if rng.random() < 0.2 else 0
    flags = rng.choice(
        (*ACCESS, os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY)
    )
    mode = 0
    if not flags & (os.O_PATH | os.O_DIRECTORY) and rng.random() < 0.4:
        flags, mode = flags | os.O_CREAT, rng.choice(w.taste.modes)
    at, path = w._at(worker)
    if rng.random() < 0.5:
        path = path.removeprefix(b"/t/")
    w._do(worker, "openat2", slot, at, path, flags, mode, resolve)
    _taken(w, worker, slot)


def _taken(w: _Writer, worker: int, slot: int) -> None:
    if slot not in w.handles[worker]:
        w.handles[worker].append(slot)


def _open_folder(w: _Writer, worker: int) -> None:
    slot = w.rng.randrange(12, 16)
    path = w.rng.choice([b"t", *(b"t/" + name for name in ANCHORS), *w.made])
    w._do(worker, "open", slot, CWD, w._inside(path), os.O_RDONLY | os.O_DIRECTORY, 0)
    if slot not in w.folders[worker]:
        w.folders[worker].append(slot)


def _close(w: _Writer, worker: int) -> None:
    w._do(worker, "close", w.slot(worker))


def _dup(w: _Writer, worker: int) -> None:
    to = w.free_slot(worker)
    w._do(worker, "dup", w.slot(worker), to)
    _taken(w, worker, to)


def _descriptor(w: _Writer, worker: int) -> None:
    rng, slot = w.rng, w.slot(worker)
    size, place = rng.choice(SIZES), rng.choice((0, 1, 10, 4096, 20_000))
    match rng.randrange(10):
        case 0 | 1:
            w._do(worker, "read", slot, size)
        case 2:
            w._do(worker, "pread", slot, size, place)
        case 3 | 4:
            w._do(worker, "write", slot, size, rng.randrange(100))
        case 5:
            w._do(worker, "pwrite", slot, size, place, rng.randrange(100))
        case 6:
            w._do(worker, "lseek", slot, place, rng.choice((0, 1, 2, 3, 4)))
        case 7:
            w._do(worker, "fstat", slot)
        case 8:
            w._do(worker, "ftruncate", slot, size)
        case 9:
            w._do(worker, "fallocate", slot, rng.choice((0, 1, 3)), place, max(1, size))


def _mmap(w: _Writer, worker: int) -> None:
    w._do(worker, "mmap", w.slot(worker), w.rng.choice((0, 1, 50, 4000)), w.rng.randrange(4))


def _locks(w: _Writer, worker: int) -> None:
    rng, slot = w.rng, w.slot(worker)
    if rng.random() < 0.4:
        w._do(worker, "flock", slot, rng.choice((1, 2, 8)))
    else:
        area = (rng.choice((0, 10, 100)), rng.choice((0, 5, 20)))
        w._do(worker, "lock", slot, rng.randrange(3), rng.randrange(3), *area)


def _tmpfile(w: _Writer, worker: int) -> None:
    slot = w.free_slot(worker)
    at, path = w._at(worker)
    flags = w.rng.choice((os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL, os.O_RDONLY))
    w._do(worker, "tmpfile", slot, at, path, flags, w.rng.choice(w.taste.modes))
    _taken(w, worker, slot)
    w._do(worker, "write", slot, 33, 5)
    w._do(worker, "linkfd", slot, w.rng.randrange(2), *w._victim(worker))


def _linkfd(w: _Writer, worker: int) -> None:
    w._do(worker, "linkfd", w.slot(worker), w.rng.randrange(2), *w._victim(worker))


def _mkdir(w: _Writer, worker: int) -> None:
    if w.rng.random() < 0.5:
        at, path = w._at(worker)
        w._do(worker, "mkdir", at, path, w.rng.choice((0o755, 0o700, 0o777)))
        if at == CWD and path.startswith(b"/"):
            w.known.append(path[1:])
        return
    w.count += 1
    path = w.rng.choice([b"t", b"t/a0", *w.made]) + b"/n%d" % w.count
    w._do(worker, "mkdir", CWD, b"/" + path, 0o755)
    w.made.append(path)
    w.known.append(path)


def _mknod(w: _Writer, worker: int) -> None:
    mode = w.rng.choice((0o010644, 0o010600, 0o140755, 0o100644))
    w._do(worker, "mknod", *w._victim(worker), mode, 0)


def _unlink(w: _Writer, worker: int) -> None:
    w._do(worker, "unlink", *w._victim(worker), w.rng.choice((0, 0, AT_REMOVEDIR)))


def _symlink(w: _Writer, worker: int) -> None:
    w._do(worker, "symlink", w._target(), *w._victim(worker))


def _link(w: _Writer, worker: int) -> None:
    at, path = w._at(worker)
    if _last(path.rstrip(b"/")) == TOO_LONG:
        return
    flags = w.rng.choice((0, 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH))
    w._do(worker, "link", at, path, *w._victim(worker), flags)


def _rename(w: _Writer, worker: int) -> None:
    one, other = w._victim(worker), w._victim(worker)
    if _last(one[1].rstrip(b"/")) in HARD and _last(other[1].rstrip(b"/")) in HARD:
        return
    if TOO_LONG in {_last(one[1].rstrip(b"/")), _last(other[1].rstrip(b"/"))}:
        return  # which of two errors comes first is not worth knowing
    flags = w.rng.choice(
        (0, 0, 0, 0, NOREPLACE, EXCHANGE, EXCHANGE, NOREPLACE | EXCHANGE, WHITEOUT)
    )
    if flags == WHITEOUT and not w.taste.overlay:
        return  # the union refuses it as overlayfs does
    w._do(worker, "rename", *one, *other, flags)


def _readlink(w: _Writer, worker: int) -> None:
    w._do(worker, "readlink", *w._at(worker), w.rng.choice((100, 100, 3, 0)))


def _stat(w: _Writer, worker: int) -> None:
    rng = w.rng
    at, path = w._at(worker)
    match rng.randrange(4):
        case 0 | 1:
            w._do(worker, "stat", at, path, rng.choice((0, AT_SYMLINK_NOFOLLOW)))
        case 2:
            w._do(worker, "statx", at, path, rng.choice((0, AT_SYMLINK_NOFOLLOW)))
        case 3:
            flags = rng.choice((0, 0, 0x200, AT_SYMLINK_NOFOLLOW))
            w._do(worker, "access", at, path, rng.randrange(8), flags)


def _cat(w: _Writer, worker: int) -> None:
    flags = w.rng.choice((0, 0, os.O_NOFOLLOW, os.O_DIRECTORY))
    w._do(worker, "cat", *w._at(worker), flags)


def _put(w: _Writer, worker: int) -> None:
    flags = w.rng.choice((os.O_WRONLY, os.O_RDWR)) | w.rng.choice(
        (0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_TRUNC, os.O_APPEND, os.O_TRUNC)
    )
    mode, size = w.rng.choice(w.taste.modes), w.rng.choice(SIZES)
    at, path = w._at(worker)
    w._do(worker, "put", at, path, flags, mode, size, w.rng.randrange(100))
    if flags & os.O_CREAT and at == CWD and path.startswith(b"/"):
        w.known.append(path[1:])


def _change(w: _Writer, worker: int) -> None:
    rng = w.rng
    at, path = w._at(worker)
    seconds = 1_200_000_000 + rng.randrange(1000)
    match rng.randrange(6):
        case 0:
            w._do(worker, "truncate", w._path(), rng.choice((0, 3, 5000, -1)))
        case 1 | 2:
            w._do(worker, "chmod", at, path, rng.choice(w.taste.modes))
        case 3 | 4:
            flags = rng.choice((0, AT_SYMLINK_NOFOLLOW))
            w._do(worker, "utimens", at, path, seconds, 123456789, flags)
        case 5:
            value = rng.choice((0o755, 0o700))
            w._do(worker, "fchange", at, path, rng.randrange(4), value)


def _chown(w: _Writer, worker: int) -> None:
    flags = w.rng.choice((0, AT_SYMLINK_NOFOLLOW))
    w._do(worker, "chown", *w._at(worker), w.rng.choice((-1, 0, 7)), w.rng.choice((-1, 8)), flags)


def _xattr(w: _Writer, worker: int) -> None:
    rng, path = w.rng, w._path()
    name = rng.choice(("user.a", "user.b", "trusted.x", "bad"))
    name = name if w.taste.owners or name != "trusted.x" else "user.c"
    match rng.randrange(4):
        case 0 | 1:
            flags = rng.choice((0, 0, 1, 2))
            w._do(worker, "setxattr", path, name, rng.choice((b"v", b"w" * 50)), flags, 0)
        case 2:
            w._do(worker, "getxattr", path, name, rng.choice((0, 1, 100)))
        case 3:
            w._do(worker, "removexattr", path, name)


def _list(w: _Writer, worker: int) -> None:
    if w.folders[worker] and w.rng.random() < 0.5:
        w._do(worker, "scan", w.rng.choice(w.folders[worker]), w.rng.choice((400, 1000, 32768)))
    else:
        w._do(worker, "list", *w._at(worker), w.rng.choice((300, 4096)))


def _directory(w: _Writer, worker: int) -> None:
    rng = w.rng
    if w.folders[worker] and rng.random() < 0.4:
        w._do(worker, "fchdir", rng.choice(w.folders[worker]))
    elif rng.random() < 0.6:
        path = rng.choice([b"t", *(b"t/" + name for name in ANCHORS), *w.made])
        w._do(worker, "chdir", w._inside(path))
    else:
        w._do(worker, "getcwd")


def _process(w: _Writer, worker: int) -> None:
    rng = w.rng
    if rng.random() < 0.5 and len(w.workers) < 5:
        new = len(w.workers)
        w._do(worker, "fork", new)
        w.workers.append(new)
        w.handles[new], w.folders[new] = list(w.handles[worker]), list(w.folders[worker])
        if worker in w.jails:
            w.jails[new] = w.jails[worker]
        elif w.taste.overlay and rng.random() < 0.4:
            w.jails[new] = rng.choice((b"t", b"t/a0"))
            w._do(new, "chroot", b"/" + w.jails[new])
    elif rng.random() < 0.5:
        w._do(worker, "exec")
    else:
        w._do(worker, "umask", rng.choice((0o22, 0o27, 0, 0o77)))


def _closed(w: _Writer, worker: int) -> None:
    """A folder is closed for a while, perhaps with the worker below it. Root would not notice."""
    if w.taste.roots or not w.made:
        return
    rng = w.rng
    folder = w._inside(w.rng.choice(w.made))
    inner = folder + b"/" + rng.choice(NAMES)
    w._do(worker, "mkdir", CWD, inner, 0o755)
    w._do(worker, "put", CWD, inner + b"/f0", 0o101, 0o644, 5, 1)
    w._do(worker, "chdir", inner if rng.random() < 0.7 else folder)
    w._do(worker, "chmod", CWD, folder, rng.choice((0, 0o600, 0o644)))
    for _ in range(rng.randint(2, 7)):
        name = w._name()
        path = rng.choice(
            (name, name, b"f0", b".", b"..", b"./" + name, b"../" + name, folder + b"/" + name,
             folder + b"/.", inner + b"/..", inner)
        )  # fmt: skip
        action, *words = rng.choice(
            (("stat", 0), ("access", 0, 0), ("put", 0o101, 0o644, 5, 2), ("mkdir", 0o755),
             ("unlink", 0), ("unlink", AT_REMOVEDIR), ("readlink", 100), ("cat", 0))
        )  # fmt: skip
        w._do(worker, action, CWD, path, *words)
    w._do(worker, "rename", CWD, rng.choice(NAMES), CWD, rng.choice(NAMES), 0)
    w._do(worker, "chmod", CWD, folder, 0o755)
    w._do(worker, "chdir", b"/t")


def _inotify(w: _Writer, worker: int) -> None:
    if not w.made:
        return
    w._do(worker, "watch", 20, b"/" + w.rng.choice(w.made), WATCHED)
    if w.rng.random() < 0.7:
        path = w.rng.choice(w.made)
        w._do(worker, "put", CWD, b"/" + path + b"/" + w._name(), 0o101, 0o644, 5, 1)
        w._do(worker, "rename", CWD, b"/" + path + b"/f0", CWD, b"/" + path + b"/f1", 0)
        w._do(worker, "unlink", CWD, b"/" + path + b"/" + w._name(), 0)
        w._do(worker, "events", 20)


_ACTIONS: list[tuple[int, Callable[[_Writer, int], None]]] = [
    (10, _open), (4, _openat2), (3, _open_folder), (3, _close), (2, _dup), (14, _descriptor),
    (3, _mmap), (4, _locks), (2, _tmpfile), (1, _linkfd), (7, _mkdir), (2, _mknod), (9, _unlink),
    (4, _symlink), (5, _link), (10, _rename), (3, _readlink), (7, _stat), (5, _cat), (7, _put),
    (7, _change), (1, _chown), (4, _xattr), (6, _list), (4, _directory), (2, _process),
    (2, _inotify), (2, _closed),
]  # fmt: skip
