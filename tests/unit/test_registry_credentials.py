"""Who one is for a registry: nine places, their order, and what may be wrong with them."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from lpmx_runtime.images.registry.wire import helpers
from lpmx_runtime.images.registry.wire.challenge import Challenge, parse_challenges
from lpmx_runtime.images.registry.wire.credentials import find_credentials
from lpmx_runtime.images.registry.wire.errors import RegistryError
from lpmx_runtime.images.registry.wire.settings import endpoints
from lpmx_runtime.reference import parse_reference


def basic(user, password="secret"):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def place(tmp_path):
    """A home and an environment without credentials."""
    environ = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": os.environ["PATH"],
    }
    return tmp_path, environ


def write(path, config):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))


def user_of(environ, registry="reg.test", repository="lab/tool", **options):
    found = find_credentials(registry, repository, environ=environ, **options)
    return found.user if found else None


def test_places_are_asked_in_their_order(place):
    home, environ = place
    files = ["run/containers/auth.json", ".config/containers/auth.json", ".docker/config.json",
             ".apptainer/docker-config.json"]  # fmt: skip
    assert user_of(environ) is None
    for number, name in reversed(list(enumerate(files))):
        write(home / name, {"auths": {"reg.test": basic(f"file{number}")}})
        assert user_of(environ) == f"file{number}"
    environ["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"reg.test": basic("variable")}})
    assert user_of(environ) == "variable"
    write(home / "only.json", {"auths": {}})
    environ["REGISTRY_AUTH_FILE"] = str(home / "only.json")
    assert user_of(environ) is None, "no other is read"
    write(home / "given.json", {"auths": {"reg.test": basic("given")}})
    assert user_of(environ, authfile=str(home / "given.json")) == "given"
    environ |= {"LPMX_REGISTRY_USER": "me", "LPMX_REGISTRY_PASSWORD": ""}
    assert user_of(environ) == "me"


@pytest.mark.parametrize(
    ("auths", "user"),
    [
        ({"reg.test/lab/tool": basic("tool"), "reg.test": basic("all")}, "tool"),
        ({"reg.test/lab": basic("lab"), "reg.test": basic("all")}, "lab"),
        ({"reg.test/other": basic("other"), "reg.test": basic("all")}, "all"),
        ({"https://reg.test/v2/": basic("address")}, "address"),
        ({"reg.test:5000": basic("port")}, None),
        ({"reg.test": {}}, None),
        ({"reg.test": {"auth": ""}}, None),
        ({"reg.test": {"username": "plain", "password": "x"}}, "plain"),
    ],
)
def test_the_longest_key_counts(place, auths, user):
    home, environ = place
    write(home / ".docker/config.json", {"auths": auths})
    assert user_of(environ) == user


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
)
def test_docker_hub_has_many_names(place, key):
    home, environ = place
    write(home / ".docker/config.json", {"auths": {key: basic("hub")}})
    assert user_of(environ, "docker.io", "library/debian") == "hub"


def test_a_password_may_hold_colons_and_end_in_nuls(place):
    home, environ = place
    auth = base64.b64encode(b"ada:a:b:c\0\0").decode()
    write(home / ".docker/config.json", {"auths": {"reg.test": {"auth": auth}}})
    found = find_credentials("reg.test", "x", environ=environ)
    assert (found.user, found.password) == ("ada", "a:b:c")
    assert found.basic == "Basic " + base64.b64encode(b"ada:a:b:c").decode()


def test_tokens(place):
    home, environ = place
    auths = {"reg.test": {"identitytoken": "I"}, "two.test": {"registrytoken": "R"}}
    write(home / ".docker/config.json", {"auths": auths})
    assert find_credentials("reg.test", "x", environ=environ).identity_token == "I"
    assert find_credentials("two.test", "x", environ=environ).registry_token == "R"


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"reg.test": {"auth": "a"}}}', "\xff"])
def test_a_file_that_makes_no_sense_is_an_error_that_names_it(place, text):
    home, environ = place
    write(home / ".docker/config.json", text)
    with pytest.raises(RegistryError, match=r"\.docker/config\.json"):
        user_of(environ)


def helper(home, environ, script):
    path = home / "bin" / "docker-credential-lab"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environ["PATH"] = f"{path.parent}:{environ['PATH']}"
    return path


@pytest.mark.parametrize("config", [{"credHelpers": {"reg.test": "lab"}}, {"credsStore": "lab"}])
def test_helpers_are_asked(place, config, monkeypatch):
    home, environ = place
    answer = '{"ServerURL":"x","Username":"from helper","Secret":"s"}'
    helper(home, environ, f"test $1 = get && read key; test $key = reg.test && echo '{answer}'")
    monkeypatch.setenv("PATH", environ["PATH"])
    write(home / ".docker/config.json", config | {"auths": {"reg.test": {}}})
    assert user_of(environ) == "from helper"


@pytest.mark.parametrize(
    ("script", "user"),
    [
        ("echo credentials not found in native keychain; exit 1", None),
        ("""echo '{"Username":"","Secret":""}'""", None),
    ],
)
def test_a_helper_that_has_nothing(place, script, user, monkeypatch):
    home, environ = place
    helper(home, environ, script)
    monkeypatch.setenv("PATH", environ["PATH"])
    write(home / ".docker/config.json", {"credsStore": "lab"})
    assert user_of(environ) == user


def test_an_identity_token_of_a_helper(place, monkeypatch):
    home, environ = place
    helper(home, environ, """echo '{"Username":"<token>","Secret":"T"}'""")
    monkeypatch.setenv("PATH", environ["PATH"])
    write(home / ".docker/config.json", {"credsStore": "lab"})
    assert find_credentials("reg.test", "x", environ=environ).identity_token == "T"


@pytest.mark.parametrize("script", [None, "echo broken >&2; exit 3", "echo no json", "sleep 60"])
def test_a_helper_that_fails_is_named_with_its_file(place, script, monkeypatch):
    home, environ = place
    if script:
        helper(home, environ, script)
    monkeypatch.setenv("PATH", environ["PATH"])
    monkeypatch.setattr(helpers, "SECONDS", 0.5)
    write(home / ".docker/config.json", {"credsStore": "lab"})
    with pytest.raises(RegistryError, match="docker-credential-lab"):
        user_of(environ)


# ---- challenges


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (['Basic realm="lab"'], [Challenge("basic", {"realm": "lab"})]),
        (
            ['Bearer realm="https://a/token",service="s",scope="repository:x:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/token", "service": "s", "scope": "repository:x:pull,push"},
                )
            ],
        ),
        (
            ['BASIC realm="a\\"b", Bearer realm=c'],
            [Challenge("basic", {"realm": 'a"b'}), Challenge("bearer", {"realm": "c"})],
        ),
        (
            ["Negotiate", "Basic realm=x"],
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
        ),
        ([""], []),
        (['realm="without a scheme"'], []),
        (["=,=,="], []),
    ],
)
def test_challenges_are_parsed(headers, found):
    assert parse_challenges(headers) == found


# ---- registries.conf

CONF = """
unqualified-search-registries = ["evil.test"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.test:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.test"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/library"
location = "copies.test/debian"
[[registry]]
prefix = "*.internal.test"
location = "gate.test"
[[registry]]
location = "bad.test"
blocked = true
[[registry]]
location = "open.test"
insecure = true
"""
DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("quay.io/a/b", [("quay.io", "a/b", False, False)]),
        (
            "lab/x",
            [("mirror.test:5000", "hub/lab/x", True, True), ("docker.io", "lab/x", False, False)],
        ),
        (
            f"lab/x@{DIGEST}",
            [
                ("mirror.test:5000", "hub/lab/x", True, True),
                ("digests.test", "lab/x", False, True),
                ("docker.io", "lab/x", False, False),
            ],
        ),
        ("debian", [("copies.test", "debian/debian", False, False)]),
        ("one.internal.test/a", [("gate.test", "a", False, False)]),
        ("open.test/a", [("open.test", "a", True, False)]),
    ],
)
def test_where_an_image_is_looked_for(tmp_path, name, places):
    write(tmp_path / "r.conf", CONF)
    environ = {"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "r.conf")}
    found = endpoints(parse_reference(name), environ)
    assert [(e.registry, e.repository, e.insecure, e.is_mirror) for e in found] == places


def test_a_blocked_registry_is_refused(tmp_path):
    write(tmp_path / "r.conf", CONF)
    environ = {"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "r.conf")}
    with pytest.raises(RegistryError, match=r"bad\.test: blocked by .*r\.conf"):
        endpoints(parse_reference("bad.test/x"), environ)


def test_a_file_of_registries_that_cannot_be_read_is_no_empty_one(tmp_path):
    write(tmp_path / "r.conf", "[[registry]]\nlocation = \n")
    environ = {"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "r.conf")}
    with pytest.raises(RegistryError, match=r"r\.conf: .*line 2"):
        endpoints(parse_reference("x"), environ)


def test_docker_hubs_host_is_another_than_its_name():
    (place,) = endpoints(parse_reference("debian"), {"HOME": "/nowhere"})
    assert (place.registry, place.host) == ("docker.io", "registry-1.docker.io")
