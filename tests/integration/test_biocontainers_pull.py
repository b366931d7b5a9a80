"""Images of packages from a registry: its list of tags, page by page, and the latest build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from support import busybox
from support.lpmx import Lpmx
from support.registry import FaultProxy, Rule, lone_user, proxied_registry

from lpmx_galaxy.builds import best_build
from lpmx_galaxy.site.prefetch import mulled_name
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.images.registry.places import Access, open_places
from lpmx_runtime.images.registry.tags import list_tags
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILDS = ("1.9--h1_7", "1.17--h0_2", "1.17--h0_10", "1.17--h9_9", "1.170--h0_99")
SEVERAL = mulled_name([("bwa", "0.7.17"), ("samtools", "1.17")])
QUAY = "quay.io/biocontainers"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """Before a registry with builds of samtools, and of bwa with samtools."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path_factory.mktemp("registry")
    archive = busybox.write_archive(folder / "x.tar", name="x:1")
    names = [*(f"samtools:{build}" for build in BUILDS), f"{SEVERAL}-0", f"{SEVERAL}-11"]
    with proxied_registry(folder, archive, *(f"biocontainers/{name}" for name in names)) as proxy:
        yield proxy


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> Lpmx:
    """With an empty store, and the registry as a mirror of quay.io."""
    lone_user(tmp_path / "home", monkeypatch)
    monkeypatch.setenv("LPMX_MIRROR", f"quay.io={proxy.address}")
    proxy.begin()
    return Lpmx(tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("samtools:1.17", "samtools:1.17--h0_10"),
        ("samtools", "samtools:1.170--h0_99"),
        ("samtools:1.9", "samtools:1.9--h1_7"),
        (SEVERAL, f"{SEVERAL}-11"),
    ],
)
def test_latest_build_of_the_registry_is_found_by_one_request(
    lpmx: Lpmx, proxy: FaultProxy, name: str, build: str
) -> None:
    store = Store.open(lpmx.home)
    assert best_build(store, f"{QUAY}/{name}") == f"{QUAY}/{build}"
    assert best_build(store, f"{QUAY}/{name}") == f"{QUAY}/{build}"
    assert len(proxy.requests) == 1


def test_a_build_that_is_here_is_taken_without_asking(
    lpmx: Lpmx, proxy: FaultProxy, tmp_path: Path
) -> None:
    own = f"{QUAY}/samtools:1.17--h0_1"
    lpmx("load", busybox.write_archive(tmp_path / "own.tar", name=own))
    assert best_build(Store.open(lpmx.home), f"{QUAY}/samtools:1.17") == own
    assert proxy.requests == []


def test_a_package_that_nobody_has_stays_what_it_is(lpmx: Lpmx, proxy: FaultProxy) -> None:
    name = f"{proxy.address}/biocontainers/no-such:1"
    assert best_build(Store.open(lpmx.home), name) == name


def test_a_registry_that_does_not_answer_is_said(lpmx: Lpmx, proxy: FaultProxy) -> None:
    proxy.begin(Rule("tags/list", "status", code=403))
    name = f"{proxy.address}/biocontainers/samtools"
    with pytest.raises(LpmxError, match=f"^{name}: not found, or not for you"):
        best_build(Store.open(lpmx.home), f"{name}:1.17")


@pytest.mark.parametrize("base", ["/v2/lab/x/tags/list", "{place}/v2/lab/x/tags/list"])
def test_a_list_of_several_pages_is_read_to_its_end(base: str) -> None:
    with FaultProxy("127.0.0.1:9") as proxy:
        base = base.replace("{place}", f"http://{proxy.address}")
        proxy.begin(
            page(r"last=b", ["c", "d"], f'<{base}?n=2&last=d>; rel="next"'),
            page(r"last=d", ["e"], ""),
            page(r"tags/list\?n=1000$", ["a", "b"], f'<{base}?n=2&last=b>; rel="next"'),
        )
        reference = parse_reference(f"{proxy.address}/lab/x")
        assert list_tags(open_places(reference, Access())) == ["a", "b", "c", "d", "e"]
        asked = [parse_qs(urlsplit(one.path).query).get("last") for one in proxy.requests]
        assert asked == [None, ["b"], ["d"]]


def test_a_list_that_leads_back_to_itself_ends() -> None:
    with FaultProxy("127.0.0.1:9") as proxy:
        proxy.begin(page("tags/list", ["a"], '</v2/lab/x/tags/list?last=a>; rel="next"'))
        assert list_tags(open_places(parse_reference(f"{proxy.address}/lab/x"), Access())) == ["a"]
        assert len(proxy.requests) == 2


def page(match: str, tags: list[str], link: str) -> Rule:
    body = json.dumps({"name": "lab/x", "tags": tags}).encode()
    headers = {"Content-Type": "application/json", **({"Link": link} if link else {})}
    return Rule(match, "status", code=200, headers=headers, body=body)


def test_prefetch_brings_in_the_latest_builds(lpmx: Lpmx, tmp_path: Path) -> None:
    tool = tmp_path / "tool.xml"
    tool.write_text(
        "<tool id='t'><requirements>"
        "<requirement type='package' version='1.17'>samtools</requirement>"
        "</requirements></tool>"
    )
    done = lpmx("galaxy", "prefetch", tool, "--cache", tmp_path / "cache")
    assert done.stdout == f"{QUAY}/samtools:1.17: here\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["samtools:1.17--h0_10"]
    names = [name for row in json.loads(lpmx("--json", "images").stdout) for name in row["names"]]
    assert names == [f"{QUAY}/samtools:1.17--h0_10"]
