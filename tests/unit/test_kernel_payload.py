"""Payloads: which one suits which Python, and what wheels say about the libc they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.errors import KernelSpecError, NoPayloadError
from lpmx_kernels.image import payload
from lpmx_kernels.image.payload import Payload
from lpmx_kernels.image.payload_build import _pip_environment, libc_floor
from lpmx_kernels.image.probe import FoundPython
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = {"ipykernel": "7.4.0", "debugpy": "1.8.0"}


def python(
    tag: str = "cp311", libc: str = "glibc", version: str = "2.36", machine: str = "x86_64"
) -> FoundPython:
    return FoundPython("/usr/bin/python3", "3.11.2", "", libc, version, machine, tag)


def made(
    tag: str = "cp311", libc: str = "glibc", version: str = "2.28", digest: str = "aaaa"
) -> Payload:
    identity = payload.make_id(tag, libc, version, "x86_64", digest)
    return Payload(identity, tag, libc, version, "x86_64", PACKAGES)


def put(store: Store, *records: Payload) -> None:
    for record in records:
        folder = payload.folder(store, record.id)
        folder.mkdir(parents=True)
        (folder / payload.RECORD).write_text(record.to_json())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.mark.parametrize(
    ("other", "suits"),
    [
        (python(), True),
        (python(version="2.28"), True),
        (python(version="2.9"), False),
        (python(version=""), True),
        (python(tag="cp312"), False),
        (python(tag="cp311t"), False),
        (python(libc="musl"), False),
        (python(machine="aarch64"), False),
    ],
)
def test_payload_suits_the_same_python_and_no_older_libc(other: FoundPython, suits: bool) -> None:
    assert made().suits(other) is suits


def test_record_is_read_back_and_the_right_one_found(store: Store) -> None:
    put(store, made(), made("cp313"), made(libc="musl", version="1.2"))
    assert {each.id for each in payload.payloads(store)} == {
        "cp311-glibc2.28-x86_64-aaaa", "cp313-glibc2.28-x86_64-aaaa", "cp311-musl1.2-x86_64-aaaa",
    }  # fmt: skip
    found = payload.find_for(store, python(tag="cp313"))
    assert found == made("cp313")
    assert payload.find_for(store, python(tag="cp310")) is None


def test_a_gone_payload_is_replaced_by_one_like_it(store: Store) -> None:
    put(store, made("cp313"), made(version="2.34", digest="bbbb"), made(digest="cccc"))
    folder = payload.locate(store, "cp311-glibc2.28-x86_64-aaaa", "lab/x")
    assert folder.name == "cp311-glibc2.28-x86_64-cccc"
    with pytest.raises(NoPayloadError) as caught:
        payload.locate(store, "cp312-glibc2.28-x86_64-aaaa", "lab/x:1")
    assert caught.value.hint == "`lpmx kernel payload build lab/x:1` makes it"
    with pytest.raises(KernelSpecError):
        payload.locate(store, "../../etc", "lab/x")


def test_removed_payload_is_gone(store: Store) -> None:
    put(store, made())
    payload.remove(store, made().id)
    assert payload.payloads(store) == []
    for name in (made().id, "../store", ""):
        with pytest.raises(NoPayloadError):
            payload.remove(store, name)


@pytest.mark.parametrize(
    ("tags", "libc", "floor"),
    [
        (["py3-none-any"], "glibc", ""),
        (
            ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"],
            "glibc",
            "2.17",
        ),
        (["cp312-abi3-manylinux_2_26_x86_64.manylinux_2_28_x86_64"], "glibc", "2.26"),
        (["cp311-cp311-manylinux2014_x86_64"], "glibc", "2.17"),
        (["cp311-cp311-manylinux1_x86_64"], "glibc", "2.5"),
        (["cp311-cp311-musllinux_1_2_x86_64"], "musl", "1.2"),
        (["cp311-cp311-linux_x86_64"], "glibc", "2.36"),
        (["py2.py3-none-any"], "musl", ""),
    ],
)
def test_libc_that_a_wheel_needs(tags: list[str], libc: str, floor: str) -> None:
    assert libc_floor(tags, libc, "2.36") == floor


def test_pip_is_not_sent_elsewhere_by_the_users_settings() -> None:
    environ = {"PIP_INDEX_URL": "u", "PIP_TARGET": "/x", "PIP_USER": "1", "HOME": "/h"}
    assert _pip_environment(environ) == {"PIP_INDEX_URL": "u"}
