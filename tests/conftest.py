"""What all tests share: the tiers, the switch that forbids skips, and the fixtures for images,
stores and users.

Tiers: `fast` (no image, seconds), `full` (the gate), `long` (minutes a test). A test is of the tier
of its folder unless it carries a marker of another. `--tier T` runs T and all below it. See
docs/testing.md.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from images import build
from images.builder import BuildError
from support import users
from support.lpmx import Completed, Lpmx, run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

TIERS = ("fast", "full", "long")
FOLDER_TIERS = {
    "unit": "fast",
    "c": "fast",
    "conformance": "full",
    "integration": "full",
    "fuzz": "full",
    "e2e": "long",
}
MUST_WORK = os.environ.get("LPMX_MUST_WORK") == "1"
DENIED = bool(os.environ.get("LPMX_TEST_DENIED"))
MARKERS = {
    "fast": "of the fast tier, whatever its folder",
    "full": "of the full tier, whatever its folder",
    "long": "of the long tier: takes minutes",
    "needs_root": "only root can do it; not selected for others",
    "needs_user": "of what root is refused nothing; not selected for root",
    "needs_checkout": "looks at the sources; not selected for an installed package",
    "needs_ptrace": "traces a program; not selected under the denier of privileges",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, default="full", help="run this tier and all below it")


def pytest_configure(config: pytest.Config) -> None:
    # A job in the background of a shell without job control ignores it, and so would all programs.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is missing is to be missing; and the user's own settings are no part of any test.
    os.environ.update(LPMX_PULL="never", LPMX_CONFIG=os.devnull)
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, rather than skip, what is not meant for this run."""
    highest = TIERS.index(config.getoption("tier"))
    chosen = [item for item in items if _tier(item) <= highest and _possible(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _tier(item: pytest.Item) -> int:
    for index, name in enumerate(TIERS):
        if item.get_closest_marker(name):
            return index
    parts = item.path.relative_to(Path(__file__).parent).parts
    return TIERS.index(FOLDER_TIERS.get(parts[0], "fast"))


def _possible(item: pytest.Item) -> bool:
    checkout = (users.ROOT / "preload" / "Makefile").exists() and (
        users.ROOT / ".clang-format"
    ).exists()
    return not (
        (item.get_closest_marker("needs_root") and os.geteuid() != 0)
        or (item.get_closest_marker("needs_user") and os.geteuid() == 0)
        or (item.get_closest_marker("needs_ptrace") and DENIED)
        or (item.get_closest_marker("needs_checkout") and not checkout)
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With LPMX_MUST_WORK=1 a skipped test is a failed one: nothing is left out unseen."""
    report = yield
    if MUST_WORK and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must work here but was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def archive() -> Callable[[str], Path]:
    """archive(name): the docker-save archive of a test image (images/recipes.py)."""

    def find(name: str) -> Path:
        try:
            return build.archive(name)
        except BuildError as error:
            pytest.skip(str(error))

    return find


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Lpmx:
    """A store of this session: images are loaded once, into it, by the fixture `image`."""
    return Lpmx(tmp_path_factory.mktemp("store"))


@pytest.fixture
def empty_store(tmp_path: Path) -> Lpmx:
    """A store of this test alone."""
    return Lpmx(tmp_path / "lpmx")


@pytest.fixture(scope="session")
def image(store: Lpmx, archive: Callable[[str], Path]) -> Callable[[str], str]:
    """image(name): the name under which that test image is loaded in `store`."""
    loaded: set[str] = set()

    def load(name: str) -> str:
        if name not in loaded:
            store("load", archive(name))
            loaded.add(name)
        return build.reference(name)

    return load


@pytest.fixture
def run_lpmx(store: Lpmx, tmp_path: Path) -> Callable[..., Completed]:
    """run_lpmx("run", IMAGE, ...): lpmx with the session's store, in an empty folder."""

    def call(*arguments: str | os.PathLike[str], **options: object) -> Completed:
        work = tmp_path / "cwd"
        work.mkdir(exist_ok=True)
        return store(*arguments, **{"cwd": work, **options})  # type: ignore[arg-type]

    return call


@pytest.fixture(scope="session")
def ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> Lpmx:
    """lpmx as an ordinary user with its own store: ourselves or, for root, `lpmxtest`."""
    if os.geteuid() != 0:
        return Lpmx(tmp_path_factory.mktemp("user-store"))
    place = users.build_stage(build.cache_folder())
    home = Path(users.ensure_user().pw_dir)
    store_folder = home / "lpmx-test-store"
    prefix = tuple(users.user_command(["env", "-C", str(home)]))
    run([*prefix, "rm", "-rf", str(store_folder)])
    return Lpmx(store_folder, prefix, (str(place.venv / "bin" / "lpmx"),))


@pytest.fixture(scope="session")
def user_archive(ordinary_user: Lpmx, archive: Callable[[str], Path]) -> Callable[[str], Path]:
    """Like `archive`, at a path that `ordinary_user` can read."""
    if os.geteuid() != 0:
        return archive
    place = users.stage(build.cache_folder())
    return lambda name: users.share_image(archive(name), place)


@pytest.fixture(scope="session")
def nopriv(ordinary_user: Lpmx) -> Lpmx:
    """lpmx as an ordinary user who is denied all that support/nopriv.py denies."""
    prefix = users.user_command(["env"], denied=True)
    return Lpmx(ordinary_user.home, tuple(prefix), ordinary_user.command)
