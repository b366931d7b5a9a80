"""The store: one folder with layers, views, images, names and containers.

Everything is content-addressed or written as temporary + fsync + rename, so that a reader never
sees half a thing and a killed writer leaves only garbage under tmp/. Locks are advisory locks on
files in locks/: whoever adds something that is not referenced yet holds the store's lock shared,
whoever collects garbage holds it alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from lpmx_runtime.config.values import store_root
from lpmx_runtime.errors import (
    ImageNotFoundError,
    InUseError,
    LpmxError,
    StorageError,
    pass_over,
    storage_errors,
)
from lpmx_runtime.plainpath import plain_path
from lpmx_runtime.reference import check_name, parse_reference
from lpmx_runtime.text import parse_json

from .image import Image, LazyNames, chain_id, is_hex_digest, parse_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "Store",
    "atomic_write",
    "bad_container",
    "default_root",
    "is_own",
    "is_there",
    "make_private",
    "remove_tree",
]

VERSION = 1
LOWER_LINKS = "lower-links.json"  # in a layer's folder
_ANY = object()  # stands for any image
_FOLDERS = ("layers", "views", "images", "refs", "containers", "tmp", "locks")
_ID_PREFIX = 4  # fewer hex digits than this are taken for a name only


def default_root() -> Path:
    """$LPMX_HOME, else `store` of config.yaml, $XDG_DATA_HOME/lpmx or ~/.local/share/lpmx."""
    home = store_root()
    if home:
        return Path(plain_path(home))
    data = os.environ.get("XDG_DATA_HOME")
    base = data if data and os.path.isabs(data) else os.path.expanduser("~/.local/share")
    return Path(plain_path(base), "lpmx")


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Make a rename in folder @path durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def atomic_write(
    path: str | os.PathLike[str], data: bytes, *, mode: int = 0o600, durable: bool = True
) -> None:
    """Replace @path by @data, whole or not at all; @durable also through a power cut."""
    path = os.fspath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:40]}.{os.urandom(6).hex()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        fsync_folder(folder or ".")


def make_private(path: str | os.PathLike[str]) -> None:
    """Make folder @path and what is missing above it, all for the user alone whatever the umask."""
    path = os.fspath(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path) or "."
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a tree of ours, however deep, read-only or already half gone."""
    top = os.fspath(path)
    if os.path.islink(top) or not os.path.isdir(top):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(top)
        return
    pending = [(top, False)]
    while pending:
        folder, emptied = pending.pop()
        if emptied:
            _take_away(os.rmdir, folder)
            continue
        pending.append((folder, True))
        for entry in _entries(folder):
            if not entry.is_dir(follow_symlinks=False):
                _take_away(os.unlink, entry.path)
            elif len(entry.path) > 1024:  # lift it to the top: paths may exceed PATH_MAX
                lifted = os.path.join(top, f".lifted-{os.urandom(8).hex()}")
                os.rename(entry.path, lifted)
                pending.insert(1, (lifted, False))
            else:
                pending.append((entry.path, False))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except PermissionError:
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            return list(entries)


def _take_away(how: Callable[[str], None], path: str) -> None:
    """Call os.unlink or os.rmdir, opening the folder above where its mode is in the way."""
    try:
        how(path)
    except FileNotFoundError:
        pass
    except PermissionError:
        os.chmod(os.path.dirname(path), 0o700)
        how(path)


class FileLock:
    """An advisory lock on a file, gone with its process.

    Open-file-description locks work between threads of one process, between processes, and through
    NFS, where they become the server's byte-range locks.
    """

    def __init__(self, path: str | os.PathLike[str], *, shared: bool = False) -> None:
        self.path = os.fspath(path)
        self._kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        self._fd = -1

    def try_acquire(self) -> bool:
        """Take the lock if nobody is in the way."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhxxxxqqixxxx", self._kind, 0, 0, 0, 0))
        except OSError as error:
            os.close(fd)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            raise
        self._fd = fd
        return True

    def acquire(self, *, timeout: float | None = None, busy: str = "the store is busy") -> None:
        """Take the lock; after @timeout seconds raise InUseError(@busy)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.002
        while not self.try_acquire():
            if deadline is not None and time.monotonic() >= deadline:
                raise InUseError(busy, hint="wait for the other lpmx command, or end it")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def release(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileLock:
        if self._fd < 0:
            self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Store:
    """The folder and the rules of what lies where."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers_dir = root / "layers"
        self.views_dir = root / "views"
        self.images_dir = root / "images"
        self.refs_dir = root / "refs"
        self.containers_dir = root / "containers"
        self.tmp_dir = root / "tmp"
        self.locks_dir = root / "locks"

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None) -> Store:
        """Open the store at @root (default_root() when None), making it when it is not there."""
        store = cls(Path(plain_path(root)) if root is not None else default_root())
        version = store.root / "version"
        _refuse_others(store.root)
        if not version.exists():
            store._create()
        found = version.read_text(errors="replace").strip()
        if found != str(VERSION):
            raise StorageError(
                f"{store.root}: a store of version {found[:20]}, this lpmx knows version {VERSION}",
                hint="use the lpmx that made it, or another folder by LPMX_HOME",
            )
        return store

    def _create(self) -> None:
        with storage_errors(f"store {self.root}"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "not writable", str(self.root))
            for name in _FOLDERS:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
            atomic_write(self.root / "version", f"{VERSION}\n".encode())

    # ---- layers and views
    def layer_dir(self, diff_id: str) -> Path:
        """The folder of a layer: fs/, layer.view and layer.json."""
        return self.layers_dir / diff_id

    def layer_fs(self, diff_id: str) -> Path:
        """The extracted tree of a layer."""
        return self.layers_dir / diff_id / "fs"

    def layer_view(self, diff_id: str) -> Path:
        """The view of one layer."""
        return self.layers_dir / diff_id / "layer.view"

    def has_layer(self, diff_id: str) -> bool:
        """Is the layer there, whole? (It appears by one rename.)"""
        return os.path.exists(self.layers_dir / diff_id / "layer.json")

    def layer_info(self, diff_id: str) -> dict[str, Any]:
        """What layer.json says: diff_id, size, entries."""
        return _read_json(self.layers_dir / diff_id / "layer.json")

    def layers(self) -> list[str]:
        """The diff ids of all layers."""
        return sorted(name for name in os.listdir(self.layers_dir) if is_hex_digest(name))

    def has_lower_links(self, diff_id: str) -> bool:
        """Has the layer hard links to files of layers below it (lowerlinks.py)?"""
        return os.path.exists(self.layers_dir / diff_id / LOWER_LINKS)

    def stack(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """The layers of a chain as they lie in its view, with the link layers between them."""
        stack = []
        for number, diff_id in enumerate(diff_ids):
            stack.append(diff_id)
            if self.has_lower_links(diff_id):
                stack.append(link_layer_id(chain_id(diff_ids[: number + 1])))
        return tuple(stack)

    def view_path(self, chain: str) -> Path:
        """The merged view of a chain of layers."""
        return self.views_dir / f"{chain}.view"

    # ---- images
    def add_image(self, config: bytes, image_id: str, diff_ids: Sequence[str]) -> Image:
        """Record an image whose layers and view are in the store already."""
        size = sum(int(self.layer_info(diff_id)["size"]) for diff_id in diff_ids)
        stack = list(self.stack(diff_ids))
        record = {
            "id": image_id,
            "diff_ids": list(diff_ids),
            "chain_id": chain_id(diff_ids),
            "size": size,
            **({"stack": stack} if stack != list(diff_ids) else {}),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        folder = self.images_dir / image_id
        folder.mkdir(mode=0o700, exist_ok=True)
        atomic_write(folder / "config.json", config)
        try:
            return self.image(image_id)  # what is there stays, its date too
        except (ImageNotFoundError, StorageError):
            atomic_write(folder / "image.json", json.dumps(record, indent=1).encode())
        return self.image(image_id)

    def image(
        self, image_id: str, names: Sequence[str] | None = None, *, called: str = ""
    ) -> Image:
        """The image with the full id @image_id, asked for as @called."""
        record, config = self._read_image(image_id)
        if names is None:  # who starts a container does not look at ten thousand names
            known: Sequence[str] = LazyNames(lambda: self.names_of(image_id))
        else:
            known = tuple(sorted(names))
        try:
            return Image(
                id=image_id,
                names=known,
                called=called,
                diff_ids=tuple(record["diff_ids"]),
                stacked=tuple(record.get("stack", ())),
                chain_id=record["chain_id"],
                config=config,
                size=int(record["size"]),
                created=str(record.get("created", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_record(image_id, "image.json is damaged") from error

    def _read_image(self, image_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """image.json and config.json; StorageError names the image whose record is of no use."""
        folder = self.images_dir / image_id
        if not is_there(folder / "image.json"):
            raise _no_image(image_id)
        found = []
        for name in ("image.json", "config.json"):
            try:
                found.append(_read_json(folder / name))
            except StorageError as error:
                raise _bad_record(image_id, f"{name} is damaged") from error
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise _bad_record(image_id, f"{name}: {reason}") from error
        return found[0], found[1]

    def layers_of(self, image_id: str) -> tuple[str, ...] | None:
        """The layers of an image, also where one of its files is damaged; None where no file says.

        Its configuration is as good as its record: the image's id is the digest of it.
        """
        with contextlib.suppress(OSError, StorageError):
            listed = _read_json(self.images_dir / image_id / "image.json").get("diff_ids")
            if isinstance(listed, list) and listed and all(map(is_hex_digest, listed)):
                return tuple(listed)
        try:
            raw = (self.images_dir / image_id / "config.json").read_bytes()
            return parse_config(raw)[1] if digest_of(raw) == image_id else None
        except (OSError, LpmxError):
            return None

    def names_of(self, image_id: str) -> list[str]:
        """The names that stand for an image."""
        return sorted(name for name, target in self.refs().items() if target == image_id)

    def image_ids(self) -> list[str]:
        """The ids of all images."""
        return sorted(
            name
            for name in os.listdir(self.images_dir)
            if is_hex_digest(name) and is_there(self.images_dir / name / "image.json")
        )

    def images(self) -> list[Image]:
        """All images, by name, nameless ones last; those with a bad record are passed over."""
        names: dict[str, list[str]] = {}
        for name, target in self.refs().items():
            names.setdefault(target, []).append(name)
        images = []
        for image_id in self.image_ids():
            try:
                images.append(self.image(image_id, names.get(image_id, ())))
            except StorageError as error:
                pass_over(error)
        return sorted(images, key=lambda image: (not image.names, image.names, image.id))

    def resolve(self, name: str) -> Image:
        """The image called @name, or whose id starts with it."""
        image_id = self.resolve_id(name)
        return self.image(image_id, called=self._name_for(name, image_id))

    def _name_for(self, name: str, image_id: str) -> str:
        """The name in full by which an image was asked for; none if that was its id."""
        if image_id.startswith(name.removeprefix("sha256:")):
            return ""
        return str(parse_reference(name))

    def resolve_id(self, name: str) -> str:
        """The id of the image called @name, or the one that starts with it."""
        bare = name.removeprefix("sha256:")
        if is_hex_digest(bare):
            return bare
        if bare == name:
            image_id = self._ref(name)
            if image_id is not None:
                return image_id
        if len(bare) >= _ID_PREFIX and not bare.strip("0123456789abcdef"):
            found = [image_id for image_id in self.image_ids() if image_id.startswith(bare)]
            if len(found) > 1:
                raise ImageNotFoundError(
                    f"{name}: {len(found)} images have an id that starts so",
                    hint="give more digits",
                )
            if found:
                return found[0]
        raise _no_image(name, self._all_names())

    def _ref(self, name: str) -> str | None:
        try:
            reference = parse_reference(name)
        except LpmxError as error:
            is_file = os.path.isfile(name)
            hint = f"it is a file: `lpmx load {name}` brings it in" if is_file else error.message
            raise ImageNotFoundError(f"{name}: no such image", hint=hint) from error
        return self._read_ref(str(reference))

    def _read_ref(self, name: str) -> str | None:
        try:
            with open(f"{self.refs_dir}/{quote(name, safe='')}", "rb") as file:
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            pass_over(StorageError(f"name {name}: {os.strerror(error.errno or 0).lower()}"))
            return None
        if not is_hex_digest(text.strip()):
            pass_over(StorageError(f"name {name}: damaged", hint="give it again with `lpmx tag`"))
            return None
        return text.strip()

    def remove_image(self, image_id: str) -> None:
        """Forget an image and its names; gc frees its layers."""
        for name, target in self.refs().items():
            if target == image_id:
                self.untag(name)
        with storage_errors(f"image {image_id[:12]}"):
            remove_tree(self.images_dir / image_id)

    # ---- names
    def refs(self) -> dict[str, str]:
        """All names and the image ids they stand for."""
        found = {}
        for name in self._all_names():
            target = self._read_ref(name)
            if target is not None:
                found[name] = target
        return found

    def _all_names(self) -> list[str]:
        return [unquote(name) for name in os.listdir(self.refs_dir) if not name.startswith(".")]

    def named(self, name: str) -> str | None:
        """The id of the image that @name stands for, None when there is no such name."""
        return self._read_ref(str(parse_reference(name)))

    def tag(self, name: str, image_id: str) -> str:
        """Let @name stand for the image from now on; returns its canonical spelling."""
        canonical = check_name(name)
        with storage_errors(f"name {canonical}"):
            atomic_write(self.refs_dir / quote(canonical, safe=""), image_id.encode() + b"\n")
        return canonical

    def untag(self, name: str) -> bool:
        """Forget a name. False when there was none."""
        try:
            os.unlink(self.refs_dir / quote(str(parse_reference(name)), safe=""))
        except FileNotFoundError:
            return False
        return True

    # ---- containers, as far as images care
    def containers_of(self, image_id: str) -> list[str]:
        """The containers made from an image, or calling programs of it.

        One whose record is kept from us, or that runs with a damaged one, may be any image's.
        """
        return [name for name, images in self._container_images() if {image_id, _ANY} & images]

    def _container_images(self) -> Iterator[tuple[str, set[object]]]:
        from lpmx_runtime.process.runs import live_runs  # here: a start asks for none

        for name in sorted(os.listdir(self.containers_dir)):
            folder = self.containers_dir / name
            if name.startswith(".") or not is_there(folder / "container.json"):
                continue
            try:
                record = _read_json(folder / "container.json")
            except (OSError, StorageError) as error:
                pass_over(bad_container(folder, error))
                if isinstance(error, OSError) or live_runs(folder / "runs"):
                    yield name, {_ANY}
                continue
            yield name, set(_images_in(record))

    # ---- locks and temporaries
    def lock(self, name: str, *, shared: bool = False) -> FileLock:
        """The lock @name, not taken yet: use `with`. gc takes the one called `store` alone."""
        return FileLock(self.locks_dir / name, shared=shared)

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Hold off gc while things are added that nothing refers to yet."""
        with self.lock("store", shared=True):
            yield

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder under tmp/ for one import, removed at the end; its lock keeps gc away."""
        with storage_errors(f"store {self.root}"):
            path = self.tmp_dir / os.urandom(8).hex()
            lock = FileLock(self.tmp_dir / f"{path.name}.lock")
            lock.acquire()
            path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                remove_tree(path)
            with contextlib.suppress(OSError):
                os.unlink(lock.path)
            lock.release()


def _refuse_others(root: Path) -> None:
    """A store is one user's: its folders are closed, and its locks and records are that user's.

    Used by another it would be half there: its containers unseen, images removed from under them.
    That goes for root too, whose files in it the user could neither change nor remove.
    """
    try:
        uid = os.stat(root).st_uid
    except OSError:
        return  # not there yet, or not to be reached: the next step says so
    if is_own(root, uid):
        return
    name = user_name(uid)
    hint = "name a folder of your own by LPMX_HOME; `lpmx save` and `lpmx load` carry images over"
    if os.geteuid() == 0:
        hint = f"run lpmx as {name}, or name a folder of root's by LPMX_HOME"
    raise StorageError(f"store {root}: belongs to {name}, and a store serves one user", hint=hint)


def is_own(root: Path, uid: int) -> bool:
    """Is folder @root, which belongs to @uid, this user's, as the file system sees it?

    CIFS and FUSE may know one owner for all files, and NFS shows nobody for root's: there a file
    that this process makes belongs to @uid, too.
    """
    if uid == os.geteuid():
        return True
    path = os.path.join(root, f".owner-{os.urandom(6).hex()}.tmp")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_uid == uid
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(path)


def user_name(uid: int) -> str:
    """What to call user @uid in a message."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def is_there(path: str | os.PathLike[str]) -> bool:
    """False when @path is missing; what cannot be looked at is not missing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _bad_record(image_id: str, why: str) -> StorageError:
    short = image_id[:12]
    return StorageError(
        f"image {short}: {why}",
        hint=f"load its archive again, or `lpmx rmi {short}` removes it",
    )


def bad_container(folder: str | os.PathLike[str], error: Exception) -> StorageError:
    """What is wrong with the record of the container in @folder."""
    folder = os.fspath(folder)
    why, hint = "damaged", f"`rm -r {folder}` removes it"
    if isinstance(error, OSError) and error.errno:
        why = os.strerror(error.errno).lower()
        with contextlib.suppress(OSError):
            uid = os.lstat(folder).st_uid
            if uid != os.geteuid():
                hint = f"it belongs to {user_name(uid)}, and may be running"
    return StorageError(
        f"container {os.path.basename(folder)}: its record cannot be read: {why}", hint=hint
    )


def _no_image(name: str, known: Iterable[str] = ()) -> ImageNotFoundError:
    from lpmx_runtime.similar import did_you_mean_image

    return ImageNotFoundError(
        f"{name}: no such image",
        hint=did_you_mean_image(name, known)
        or "`lpmx images` lists what is here, `lpmx pull NAME` or `lpmx load FILE` brings one in",
    )


def link_layer_id(chain: str) -> str:
    """What the link layer on top of chain @chain is called; no layer's digest, nor a chain's."""
    return digest_of(b"lower links of " + chain.encode())


def without_link_layers(stack: Sequence[str]) -> list[str]:
    """The layers that an image names, of a stack that has link layers between them."""
    named: list[str] = []
    for one in stack:
        if not named or one != link_layer_id(chain_id(named)):
            named.append(one)
    return named


def digest_of(data: bytes) -> str:
    """Its sha256 in hex."""
    import hashlib  # here: a start makes no ids

    return hashlib.sha256(data).hexdigest()


def _images_in(record: dict[str, Any]) -> Iterator[object]:
    """The image ids in a container.json: its own and those of its exec map."""
    yield record.get("image")
    commands = record.get("commands", ())
    for mapping in commands if isinstance(commands, list) else ():
        if isinstance(mapping, dict):
            yield from _images_in(mapping.get("environment", mapping))


def _read_json(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        value = parse_json(data)
    except ValueError as error:
        raise StorageError(
            f"{path}: damaged", hint="remove its folder and load the image again"
        ) from error
    if not isinstance(value, dict):
        raise StorageError(f"{path}: damaged", hint="remove its folder and load the image again")
    return value
