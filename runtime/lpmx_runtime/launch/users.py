"""Who a program in a container seems to be, and the passwd and group lines that give it a name.

By default that is the user's own uid and gid, unchanged; `-u` or the image's USER show another one.
Names are looked up in the image's /etc/passwd and /etc/group, never in the host's. Not here:
pretending to be root with remembered owners.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans.plan import Identity
from lpmx_runtime.store.store import make_private
from lpmx_runtime.union.imagefile import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.store.store import Store
    from lpmx_runtime.union.view import View

__all__ = [
    "Accounts",
    "Host",
    "Shown",
    "load_accounts",
    "resolve_user",
    "seed_group",
    "seed_passwd",
]

_SHELL = "/bin/sh"
_FILE_MAX = 4 << 20  # more than any passwd file that is meant to be one


@dataclass(frozen=True)
class User:
    """A line of passwd."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class Group:
    """A line of group."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Accounts:
    """The text of an image's /etc/passwd and /etc/group; "" where the image has none."""

    passwd: str = ""
    group: str = ""

    def users(self) -> Iterator[User]:
        """Every well-formed line of passwd."""
        for line in self.passwd.splitlines():
            field = line.split(":")
            if len(field) >= 6 and _is_id(field[2]) and _is_id(field[3]):
                yield User(field[0], int(field[2]), int(field[3]), field[5])

    def groups(self) -> Iterator[Group]:
        """Every well-formed line of group."""
        for line in self.group.splitlines():
            field = line.split(":")
            if len(field) >= 3 and _is_id(field[2]):
                members = field[3].split(",") if len(field) > 3 else []
                yield Group(field[0], int(field[2]), tuple(filter(None, members)))

    def user(self, name: str) -> User | None:
        """The user called @name."""
        return next((user for user in self.users() if user.name == name), None)

    def user_by_id(self, uid: int) -> User | None:
        """The first user with @uid, as getpwuid would find it."""
        return next((user for user in self.users() if user.uid == uid), None)

    def group_by_id(self, gid: int) -> Group | None:
        """The first group with @gid."""
        return next((group for group in self.groups() if group.gid == gid), None)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 0xFFFFFFFF


@dataclass(frozen=True)
class Host:
    """What of the starting process an identity depends on."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    user_name: Callable[[int], str]  # by uid, "" when the host knows none
    group_name: Callable[[int], str]


def this_host() -> Host:
    """The identity of this process."""
    return Host(os.getuid(), os.getgid(), tuple(os.getgroups()), _user_name, _group_name)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


@dataclass(frozen=True)
class Shown:
    """The resolved identity, and the home the image has for it ("" without a line)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    own: bool  # the user's own: nothing is emulated

    @property
    def identity(self) -> Identity | None:
        """As the plan wants it."""
        return None if self.own else Identity(self.uid, self.gid, self.groups)


def resolve_user(spec: str, accounts: Accounts, host: Host, *, explicit: bool) -> Shown:
    """The identity that @spec, NAME|UID[:GROUP|GID], means; "" is the user's own.

    An image's own wish (not @explicit) to run as root is ignored: without emulated owners a program
    that believes to be root would only fail at chown. `-u root` is taken at its word.
    """
    name, colon, group = spec.partition(":")
    if colon and not group:
        raise UsageError(f"user {spec!r}: the group after the colon is empty")
    if not name:
        if group:
            raise UsageError(f"user {spec!r}: the name before the colon is empty")
        return _own(accounts, host)
    user = _find_user(name, accounts)
    if not explicit and user.uid == 0:
        return _own(accounts, host)
    gid = _find_group(group, accounts) if group else user.gid
    if (user.uid, gid) == (host.uid, host.gid):
        return _own(accounts, host)
    groups = (gid,) if group else _groups_of(user, accounts)
    return Shown(user.uid, gid, groups, user.home, own=False)


def _own(accounts: Accounts, host: Host) -> Shown:
    user = accounts.user_by_id(host.uid)
    return Shown(host.uid, host.gid, host.groups, user.home if user else "", own=True)


def _find_user(name: str, accounts: Accounts) -> User:
    user = accounts.user(name)
    if user:
        return user
    if not _is_id(name):
        raise UsageError(
            f"user {name}: no such name in the image's /etc/passwd",
            hint="give a number: -u UID[:GID]",
        )
    # Docker's rule for a number without a line: group 0.
    return accounts.user_by_id(int(name)) or User("", int(name), 0, "")


def _find_group(name: str, accounts: Accounts) -> int:
    for group in accounts.groups():
        if group.name == name:
            return group.gid
    if not _is_id(name):
        raise UsageError(
            f"group {name}: no such name in the image's /etc/group",
            hint="give a number: -u UID:GID",
        )
    return int(name)


def _groups_of(user: User, accounts: Accounts) -> tuple[int, ...]:
    member = [group.gid for group in accounts.groups() if user.name and user.name in group.members]
    return tuple(dict.fromkeys([user.gid, *member]))


def seed_passwd(shown: Shown, accounts: Accounts, host: Host, home: str) -> str | None:
    """The image's passwd with a line for the shown user, or None when it has one."""
    if accounts.user_by_id(shown.uid):
        return None
    taken = {user.name for user in accounts.users()}
    name = _free_name(host.user_name(shown.uid) or "user", shown.uid, taken)
    return _append(accounts.passwd, f"{name}:x:{shown.uid}:{shown.gid}::{home}:{_SHELL}\n")


def seed_group(shown: Shown, accounts: Accounts, host: Host) -> str | None:
    """The image's group file with a line for every shown group, or None when it has them."""
    known = {group.gid for group in accounts.groups()}
    taken = {group.name for group in accounts.groups()}
    lines = []
    for gid in dict.fromkeys((shown.gid, *shown.groups)):
        if gid not in known:
            name = _free_name(host.group_name(gid) or "group", gid, taken)
            taken.add(name)
            lines.append(f"{name}:x:{gid}:\n")
    return _append(accounts.group, "".join(lines)) if lines else None


def _free_name(name: str, number: int, taken: set[str]) -> str:
    name = name.translate({ord(":"): "_", ord("\n"): "_"})
    if name in taken or name in ("user", "group"):
        name = f"{name}{number}"
    while name in taken:
        name += "_"
    return name


def _append(text: str, lines: str) -> str:
    return text + ("\n" if text and not text.endswith("\n") else "") + lines


def load_accounts(store: Store, chain_id: str) -> Accounts:
    """The accounts of an image: read through its view once, later from the store's cache."""
    cache = store.root / "cache" / "accounts" / f"{chain_id}.json"
    try:
        data = json.loads(cache.read_bytes())
        return Accounts(data["passwd"], data["group"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    accounts = Accounts(*_image_files(store, chain_id, ("/etc/passwd", "/etc/group")))
    _remember(cache, accounts)
    return accounts


def _remember(cache: Path, accounts: Accounts) -> None:
    text = json.dumps({"passwd": accounts.passwd, "group": accounts.group})
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        make_private(cache.parent)
        temporary.write_text(text, encoding="ascii")
        temporary.replace(cache)
    except OSError:  # a store that cannot be written: read the view again next time
        temporary.unlink(missing_ok=True)


def _image_files(store: Store, chain_id: str, paths: Sequence[str]) -> list[str]:
    """The texts of @paths in an image, "" for one that it does not have."""
    from lpmx_runtime.union.view import View

    with View(store.view_path(chain_id)) as view:
        return [_image_file(store, view, path) for path in paths]


def _image_file(store: Store, view: View, path: str) -> str:
    return read_file(store, view, path, _FILE_MAX).decode("utf-8", "surrogateescape")


def upper_accounts(upper: str, accounts: Accounts) -> Accounts:
    """@accounts as a container changed them: files of its upper directory replace the image's."""
    return Accounts(
        _upper_file(upper, "passwd", accounts.passwd), _upper_file(upper, "group", accounts.group)
    )


def _upper_file(upper: str, name: str, lower: str) -> str:
    folder = os.path.join(upper, "etc")
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return lower
        fd = os.open(
            os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        )
    except OSError:
        return lower
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return lower
        return file.read(_FILE_MAX).decode("utf-8", "surrogateescape")
