"""The systems that carry out a case: the engine's union, the kernel's, a plain tree."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lpmx_runtime.container.record import DIRTY_SIZE
from lpmx_runtime.images.extract import extract_layer
from lpmx_runtime.native import loader_path
from lpmx_runtime.plans.plan import Bind, Identity, LaunchPlan, compile_plan
from lpmx_runtime.store.store import remove_tree
from lpmx_runtime.union.view import merge_views

from .render import complete, kernel_layer, layer_tar, merged_tree, without_idle_whiteouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .case import Case, Entry

__all__ = ["Bench", "Interpreter", "LeftTreeError", "RunError", "compile_interpreter"]

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
# All happens below /t. A few folders above a plain tree lead back into it, so that `..` at what
# stands for its root does what it does at a root.
ABOVE_ROOT = "r/r/r/r"
DEADLINE = 90.0
BASE_FOLDERS = ("proc", "t")


class RunError(AssertionError):
    """A script did not come to its end; shows what the interpreter said."""


class LeftTreeError(Exception):
    """A script changed a folder above a plain tree, which a root does not have: no answer after
    that means anything."""


@dataclass(frozen=True)
class Interpreter:
    """The program that carries out scripts, and the files of the C library it needs, if any."""

    program: Path
    libraries: tuple[Path, ...] = ()


def compile_interpreter(folder: Path, *, by_libc: bool = False) -> Interpreter:
    """A static one, which makes system calls itself; or @by_libc a dynamic one, which makes them
    by the C library's functions. FileNotFoundError: no compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise FileNotFoundError("no C compiler (Debian: gcc, libc6-dev)")
    program = folder / "ops"
    sources = sorted(str(path) for path in PROGRAMS.glob("*.c"))
    kind = "-DBY_LIBC" if by_libc else "-static"
    subprocess.run(
        [compiler, "-D_GNU_SOURCE", "-std=gnu11", "-O1", kind, *sources, "-o", str(program)],
        check=True,
    )
    if not by_libc:
        return Interpreter(program)
    told = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
    return Interpreter(program, tuple(map(Path, re.findall(r"(/\S+) \(", told))))


@dataclass
class Bench:
    """A folder in which cases are carried out; everything of one is gone when the next begins."""

    folder: Path
    interpreter: Interpreter
    loader: str = field(default_factory=loader_path)
    environment: tuple[str, ...] = ()
    user: int | None = None  # the engine's side runs as this one, with --fakeroot. For root
    behind_a_link: bool = False  # the plan has other names than the kernel, as at many sites

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = self.folder / "layers"
        self.program = self.interpreter.program

    # ---- the engine
    def engine(self, case: Case) -> list[str]:
        """The answers of the engine's union; fails if a layer was touched."""
        plan = self.prepare(case)
        before = _fingerprint(self.store)
        answers = self.follow(plan, case)
        after = _fingerprint(self.store)
        if before != after:
            changed = sorted(set(before.items()) ^ set(after.items()))
            raise RunError(f"a layer was changed: {changed[:4]}\n{case}")
        return answers

    def prepare(self, case: Case, place: Path | None = None) -> Path:
        """A new container over the layers of @case, its changes to be in @place; its plan."""
        root = self._fresh("engine")
        place = place or root
        layers = [self._base(self.store)]
        views = [self._views() / "base.view"]
        for number, entries in enumerate(map(complete, case.layers)):
            name = f"{number + 1:064x}"
            self._import(name, entries, views)
            layers.append(self.store / name / "fs")
        merge_views(list(views), root / "image.view", f"{1:064x}")
        for name in ("upper", "work"):
            (place / name).mkdir()
        os.truncate(_touch(place / "dirty"), DIRTY_SIZE)
        plan = LaunchPlan(
            loader=self.loader,
            view=str(root / "image.view"),
            layers=tuple(map(self._called, layers)),
            stores=(self._called(self.store),),
            argv=("/ops", "serve"),
            env=self.environment,
            binds=(Bind("/proc", "/proc", proc=True),),
            upper=self._called(place / "upper"),
            work=self._called(place / "work"),
            dirty=self._called(place / "dirty"),
            cwd="/",
            clear_env=True,
            engine=os.environ.get("LPMX_TEST_ENGINE")
            or ("eager" if self.interpreter.libraries else "fast"),
            identity=None if self.user is None else Identity(0, 0),
            fakeroot=self.user is not None,
        )
        (root / "plan").write_bytes(compile_plan(plan))
        if self.user is not None:
            for tree in (root, self.store):
                _give(tree, self.user)
        return root / "plan"

    def _called(self, path: Path) -> str:
        """What the plan calls @path."""
        if not self.behind_a_link or not path.is_relative_to(self.folder):
            return str(path)
        link = self.folder.with_name(f"{self.folder.name}.link")
        if not link.is_symlink():
            link.symlink_to(self.folder)
        return str(link / path.relative_to(self.folder))

    def follow(self, plan: Path, case: Case) -> list[str]:
        """The answers to the script of @case in the container of @plan, used before or not."""
        become: list[str] = []
        if self.user is not None:
            become = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return self._run([*become, self.loader, "--plan", str(plan)], case)

    def _import(self, name: str, entries: Sequence[Entry], views: list[Path]) -> None:
        folder = self.store / name
        if folder.exists():
            remove_tree(folder)
        (folder / "fs").mkdir(parents=True)
        with extract_layer(iter([layer_tar(entries)]), folder / "fs") as extraction:
            extraction.write_view(folder / "layer.view", name)
        views.append(folder / "layer.view")

    def _views(self) -> Path:
        """The bottom layer, with the interpreter and the places everything happens in."""
        views = self.folder / "views"
        if not views.exists():
            views.mkdir()
            base = self._base(self.store)
            self._scan(base, views / "base.view")
        return views

    def _base(self, store: Path) -> Path:
        base = store / f"{0:064x}" / "fs"
        if not base.exists():
            for name in BASE_FOLDERS:
                (base / name).mkdir(parents=True)
            shutil.copy2(self.program, base / "ops")
            for library in self.interpreter.libraries:
                place = base / library.relative_to("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(library.resolve(), place)
        return base

    def _scan(self, base: Path, target: Path) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.add(base, arcname=".", filter=_as_root)
        shutil.rmtree(base)
        base.mkdir()
        with extract_layer(iter([data.getvalue()]), base) as extraction:
            extraction.write_view(target, f"{0:064x}")

    # ---- the others
    def overlay(self, case: Case) -> list[str]:
        """The answers of the kernel's overlayfs. For root."""
        root = self._fresh("overlay")
        lowers: list[str] = []
        layers = without_idle_whiteouts([complete(layer) for layer in case.layers])
        for number, entries in enumerate(layers):
            lower = root / f"lower{number}"
            lower.mkdir()
            kernel_layer(entries, lower)
            lowers.insert(0, str(lower))
        lowers.append(str(self._base(self.folder / "kernel")))
        for name in ("upper", "work", "merged"):
            (root / name).mkdir()
        words = [":".join(lowers), *(str(root / name) for name in ("upper", "work", "merged"))]
        return self._run([str(self.program), "overlay", *words], case)

    def plain(self, case: Case) -> list[str]:
        """The answers of a plain tree with the same names, which is no root. LeftTreeError: the
        script went above it, by `..` from its top, and changed something there."""
        top = self._fresh("plain")
        root = top / ABOVE_ROOT
        for above in reversed(root.parents):
            if above.is_relative_to(top):
                above.mkdir(exist_ok=True)
                (above / "t").symlink_to(root / "t")
        for name in BASE_FOLDERS:
            (root / name).mkdir(parents=True)
        (root / "ops").touch()
        for library in self.interpreter.libraries:
            place = root / library.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        merged_tree([complete(layer) for layer in case.layers], root, os.fsencode(root))
        folders = [above for above in root.parents if above.is_relative_to(self.folder)]
        before = [above.stat().st_ctime_ns for above in folders]
        answers = self._run([str(self.program), "plain", str(root)], case)
        if before != [above.stat().st_ctime_ns for above in folders]:
            raise LeftTreeError(case.name)
        return answers

    def _fresh(self, name: str) -> Path:
        root = self.folder / name
        if root.exists():
            remove_tree(root)
        root.mkdir()
        return root

    def _run(self, command: Sequence[str], case: Case) -> list[str]:
        done = subprocess.run(
            command,
            input="".join(f"{line}\n" for line in case.script).encode(),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        answers = done.stdout.decode().splitlines()
        if done.returncode or len(answers) != len(case.script):
            said = done.stderr.decode(errors="replace")[-800:]
            raise RunError(
                f"{command[0]}: status {done.returncode} after {len(answers)} of "
                f"{len(case.script)} answers: {said}\n{case}"
            )
        return answers


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    return member


def _give(tree: Path, user: int) -> None:
    """Make @tree the property of @user."""
    for where, folders, files in os.walk(os.fsencode(tree)):
        for name in [b".", *folders, *files]:
            os.chown(os.path.join(where, name), user, user, follow_symlinks=False)


def _touch(path: Path) -> Path:
    path.touch()
    return path


def _fingerprint(folder: Path) -> dict[str, tuple[int, ...]]:
    """What would tell that something below @folder was changed: also a link made or removed."""
    seen: dict[str, tuple[int, ...]] = {}
    for where, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files, b"."]:
            path = os.path.join(where, name)
            status = os.lstat(path)
            facts = (status.st_ino, status.st_mode, status.st_nlink, status.st_size)
            seen[os.fsdecode(path)] = (*facts, status.st_mtime_ns, status.st_ctime_ns)
    return seen
