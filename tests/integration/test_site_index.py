"""A site with a package index and a certification authority of its own: what reaches inside."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pip
import pytest
from support.packageindex import package_index

from lpmx_runtime.launch.sitefiles import FILE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.jupyter import Jupyter, Session

NAMES = ("PIP_", "UV_", *FILE_VARIABLES)
READ = "import sys, urllib.request as r; print(len(r.urlopen(sys.argv[1]).read()) > 9)"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that no container shows."""
    path = Path(tempfile.mkdtemp(prefix="lpmx-site-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[str]:
    with package_index(folder) as address:
        yield address


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the site of these tests itself has."""
    for name in os.environ:
        if name.startswith(NAMES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "localhost")


def bring_pip(place: Path) -> None:
    """A pip for images that have none: `python3 -m pip` looks in the working directory first."""
    place.mkdir(exist_ok=True)
    shutil.copytree(Path(pip.__file__).parent, place / "pip")


def test_pip_in_a_kernel_finds_the_site_s_index(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    index: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bring_pip(Path.cwd())
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", "demo")
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("PIP_CERT", str(folder / "ca.pem"))
    kernel = start()
    printed = kernel.run("%pip install sitepackage")
    assert "Successfully installed sitepackage-1.0" in printed
    assert kernel.value("__import__('sitepackage').WORD") == "from the site"


def test_settings_of_pip_and_the_certificates_they_name_reach_inside(
    run_lpmx, image, index, folder, tmp_path
):
    bring_pip(tmp_path / "cwd")
    (folder / "pip.conf").write_text(f"[global]\nindex-url = {index}\ncert = {folder}/ca.pem\n")
    done = run_lpmx(
        "run", image("demo"), "python3", "-m", "pip", "install", "-q", "--target", "out",
        "sitepackage", env={"PIP_CONFIG_FILE": str(folder / "pip.conf")},
    )  # fmt: skip
    assert (tmp_path / "cwd" / "out" / "sitepackage.py").exists(), done.stderr


def test_variables_that_name_certificates_reach_inside(run_lpmx, image, index, folder):
    def read(env, *options, check=True):
        return run_lpmx(
            "run", *options, image("demo"), "python3", "-c", READ, index, env=env, check=check
        )

    certificate = str(folder / "ca.pem")
    assert "CERTIFICATE_VERIFY_FAILED" in read({}, check=False).stderr
    assert read({"SSL_CERT_FILE": certificate}).stdout == "True\n"
    hashed = folder / "hashed"
    hashed.mkdir()
    (hashed / "site.pem").symlink_to(certificate)
    os.system(f"openssl rehash {hashed} 2>/dev/null")
    assert read({"SSL_CERT_DIR": f"/etc/ssl/certs:{hashed}"}).stdout == "True\n"
    own = ("-e", "SSL_CERT_FILE=/nowhere")
    done = read({"SSL_CERT_FILE": certificate}, *own, check=False)
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr, "what the user says wins"


def test_place_of_a_certificate_is_translated_and_read_only(run_lpmx, busybox_image, folder, index):
    assert index
    certificate = str(folder / "ca.pem")
    script = "echo $CURL_CA_BUNDLE; cat $CURL_CA_BUNDLE; echo x >> $CURL_CA_BUNDLE"
    done = run_lpmx(
        "run", busybox_image, "sh", "-c", script, env={"CURL_CA_BUNDLE": certificate}, check=False
    )
    place, _, text = done.stdout.partition("\n")
    assert place == "/run/lpmx-site/CURL_CA_BUNDLE/ca.pem"
    assert text == (folder / "ca.pem").read_text()
    assert "Read-only file system" in done.stderr
    visible = ("-v", f"{folder}:{folder}:ro")
    env = {"CURL_CA_BUNDLE": certificate, "SSL_CERT_FILE": "/nowhere/ca.pem"}
    script = "echo $CURL_CA_BUNDLE-$SSL_CERT_FILE-"
    done = run_lpmx("run", *visible, busybox_image, "sh", "-c", script, env=env)
    assert done.stdout == f"{certificate}--\n"


def test_starts_with_other_variables_leave_a_running_program_its_own(
    run_lpmx, store, busybox_image, folder, index
):
    assert index
    env = {"CURL_CA_BUNDLE": str(folder / "ca.pem")}
    run_lpmx("create", "--name", "site", busybox_image, "true", env=env)
    run_lpmx("exec", "site", "true")
    (record,) = (row for row in (store.home / "containers").iterdir() if (row / "plan").exists()
                 and list(row.glob("plan-site-*")))  # fmt: skip
    assert b"lpmx-site" in next(record.glob("plan-site-*")).read_bytes()
    assert b"lpmx-site" not in (record / "plan").read_bytes()
    run_lpmx("rm", "site")


@pytest.mark.skipif(not BUNDLE.is_file(), reason="this machine has no certificates")
def test_host_s_certificates_are_offered_to_an_image_without(run_lpmx, busybox_image, image):
    show = f"cat {BUNDLE}"
    assert run_lpmx("run", busybox_image, "sh", "-c", show).stdout == BUNDLE.read_text()
    script = f"echo own > /new; mv /new {BUNDLE}; {show}; ls {BUNDLE.parent}"
    run_lpmx("create", "--name", "uncertified", busybox_image, "true")
    run_lpmx("exec", "uncertified", "true")
    assert run_lpmx("diff", "uncertified").stdout == ""
    done = run_lpmx("exec", "uncertified", "sh", "-c", script)
    assert done.stdout == f"own\n{BUNDLE.name}\n"
    run_lpmx("rm", "uncertified")
    own = run_lpmx("run", image("demo"), "sh", "-c", show).stdout
    plan = run_lpmx("run", "--print-plan", image("demo"), "true").stdout
    assert "BEGIN CERTIFICATE" in own
    assert f"seed       {BUNDLE}" not in plan
