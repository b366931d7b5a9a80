"""An image by its name: what is fetched, what never is, and from where first."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import mkimage

from lpmx_runtime.errors import ImageNotFoundError, UsageError
from lpmx_runtime.fetch import supply
from lpmx_runtime.fetch.obtain import obtain
from lpmx_runtime.images.load import load
from lpmx_runtime.images.registry import pull as registry
from lpmx_runtime.images.registry.wire.errors import DeniedError, UnreachableError
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

HERE = mkimage.Spec("lab/here:1", [mkimage.layer(mkimage.file("a", b"1"))])
OTHER = mkimage.Spec("lab/here:1", [mkimage.layer(mkimage.file("a", b"2"))])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """With one image; a registry that cannot be reached."""

    def unreachable(_store: Store, name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise UnreachableError("reg.example: cannot be reached: no such host", status=-1)

    asked: list[str] = []
    monkeypatch.setattr(registry, "pull", unreachable)
    monkeypatch.setenv("LPMX_PULL", "missing")
    monkeypatch.delenv("LPMX_SUPPLY", raising=False)
    found = Store.open(tmp_path / "store")
    archive = tmp_path / "here.tar"
    mkimage.docker_archive(archive, [HERE])
    load(found, archive)
    found.asked = asked  # type: ignore[attr-defined]
    return found


def asked(store: Store) -> list[str]:
    """What was asked of a registry."""
    listed: list[str] = store.asked  # type: ignore[attr-defined]
    return listed


@pytest.mark.parametrize("policy", ["missing", "never"])
def test_what_is_here_is_asked_of_no_registry(store: Store, policy: str) -> None:
    assert obtain(store, "lab/here:1", policy=policy).id == HERE.id
    assert asked(store) == []


def test_what_is_nowhere_names_all_places(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError) as error:
        obtain(store, "lab/none:1")
    assert error.value.message == (
        f"lab/none:1: no such image here, no archive of it in {tmp_path}/store/supply,"
        " and reg.example cannot be reached: no such host"
    )
    assert asked(store) == ["lab/none:1"]


def test_a_mistyped_name_keeps_its_hint(store: Store) -> None:
    with pytest.raises(ImageNotFoundError) as error:
        obtain(store, "lab/heer:1")
    assert error.value.hint == "did you mean 'lab/here:1'?"


def test_a_mistyped_name_that_a_registry_refuses_keeps_its_hint(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_store: Store, name: str, *_: object, **__: object) -> None:
        raise DeniedError(f"{name}: not found, or not for you", hint="`lpmx login`")

    monkeypatch.setattr(registry, "pull", denied)
    with pytest.raises(DeniedError) as error:
        obtain(store, "lab/heer:1")
    assert error.value.hint == "did you mean 'lab/here:1'?"
    with pytest.raises(DeniedError) as error:
        obtain(store, "quay.io/other/thing:1")
    assert error.value.hint == "`lpmx login`"


def test_always_says_how_to_take_what_is_here(store: Store) -> None:
    with pytest.raises(UnreachableError) as error:
        obtain(store, "lab/here:1", policy="always")
    assert error.value.hint == "`--pull missing` takes the image that is here"


@pytest.mark.parametrize("policy", ["missing", "always"])
@pytest.mark.parametrize(
    "word", ["sha256:" + "a" * 64, "a" * 12, "a" * 64, "sha256:abcd", "x y", "../up"]
)
def test_an_id_or_what_is_no_name_is_never_fetched(store: Store, word: str, policy: str) -> None:
    with pytest.raises(ImageNotFoundError):
        obtain(store, word, policy=policy)
    assert asked(store) == []


@pytest.mark.parametrize("digits", [4, 12, 64])
def test_an_id_of_an_image_here_is_not_looked_up_even_by_always(store: Store, digits: int) -> None:
    assert obtain(store, HERE.id[:digits], policy="always").id == HERE.id
    assert asked(store) == []


def test_never_fetches_nothing(store: Store) -> None:
    with pytest.raises(ImageNotFoundError) as error:
        obtain(store, "lab/none:1", policy="never")
    assert "`lpmx pull NAME`" in (error.value.hint or "")
    assert asked(store) == []


def test_an_unknown_policy_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="'newer' is not one of missing, always, never"):
        obtain(store, "lab/here:1", policy="newer")


def test_an_archive_in_the_directory_is_not_pulled_by_its_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageNotFoundError):
        obtain(store, "here.tar")
    assert asked(store) == []


def test_a_supply_directory_comes_before_the_registry(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplied = tmp_path / "supply"
    supplied.mkdir()
    (supplied / "broken").symlink_to("nowhere")
    mkimage.docker_archive(supplied / "x.tar", [OTHER])
    monkeypatch.setenv("LPMX_SUPPLY", str(supplied))
    assert supply.find_archive(store, "lab/here:1") == str(supplied / "x.tar")
    assert obtain(store, "lab/here:1").id == HERE.id
    assert obtain(store, "lab/here:1", policy="always").id == OTHER.id
    assert asked(store) == []


def test_finding_an_image_that_is_here_imports_nothing_of_registries() -> None:
    code = (
        "import sys, lpmx_runtime.fetch.obtain\n"
        "wrong = {'json', 'ssl', 'http', 'hashlib', 'urllib3', 'yaml',\n"
        "         'lpmx_runtime.images.load', 'lpmx_runtime.fetch.supply',\n"
        "         'lpmx_runtime.images.registry.pull'}\n"
        "print(sorted(wrong & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
