"""Who a program in a container seems to be."""

from __future__ import annotations

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.launch import users as identity
from lpmx_runtime.launch.users import Accounts, Host, resolve_user, seed_group, seed_passwd
from lpmx_runtime.plans.plan import Identity

ACCOUNTS = Accounts(
    passwd="root:x:0:0:root:/root:/bin/bash\n"
    "# a comment\n"
    "broken line\n"
    "jovyan:x:1000:100:J:/home/jovyan:/bin/bash\n"
    "biodocker:x:1001:1001::/home/biodocker:/bin/sh\n",
    group="root:x:0:\nusers:x:100:\nstaff:x:50:jovyan,other\nbiodocker:x:1001:",
)
HOST = Host(
    1234,
    1234,
    (1234, 27),
    {1234: "alice"}.get,
    {1234: "alice", 27: "sudo"}.get,  # type: ignore[arg-type]
)


def shown(spec, *, explicit=True, host=HOST):
    return resolve_user(spec, ACCOUNTS, host, explicit=explicit)


def test_nothing_asked_is_the_users_own_identity():
    found = shown("", explicit=False)
    assert (found.uid, found.gid, found.groups, found.identity) == (1234, 1234, (1234, 27), None)


def test_names_and_numbers_are_looked_up_in_the_image():
    by_name, by_number = shown("jovyan"), shown("1000")
    assert by_name == by_number
    assert by_name.identity == Identity(1000, 100, (100, 50))
    assert by_name.home == "/home/jovyan"


def test_group_given_replaces_all_groups():
    assert shown("jovyan:staff").identity == Identity(1000, 50, (50,))
    assert shown("jovyan:7").identity == Identity(1000, 7, (7,))


def test_unknown_number_has_group_zero_as_with_docker():
    found = shown("4321")
    assert (found.identity, found.home) == (Identity(4321, 0, (0,)), "")


def test_own_ids_given_as_numbers_need_no_emulation():
    assert shown("1234:1234").identity is None
    assert shown("1234").identity == Identity(1234, 0, (0,))


def test_image_that_wants_root_gets_the_user_but_an_explicit_root_is_shown():
    assert shown("root", explicit=False).identity is None
    assert shown("0:0", explicit=False).identity is None
    assert shown("root").identity == Identity(0, 0, (0,))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody", "no such name in the image's /etc/passwd"),
        ("jovyan:wheel", "no such name in the image's /etc/group"),
        ("jovyan:", "group after the colon is empty"),
        (":users", "name before the colon is empty"),
        ("-1", "no such name"),
    ],
)
def test_unknown_users_are_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        shown(spec)


def test_passwd_gets_a_line_only_when_the_user_has_none():
    own = shown("")
    text = seed_passwd(own, ACCOUNTS, HOST, "/home/alice")
    assert text == ACCOUNTS.passwd + "alice:x:1234:1234::/home/alice:/bin/sh\n"
    assert seed_passwd(shown("jovyan"), ACCOUNTS, HOST, "/") is None


def test_group_gets_a_line_for_each_group_without_one():
    assert seed_group(shown(""), ACCOUNTS, HOST) == (
        ACCOUNTS.group + "\nalice:x:1234:\nsudo:x:27:\n"
    ), "and the image's last line, which lacks its newline, stays whole"
    assert seed_group(shown("jovyan"), ACCOUNTS, HOST) is None


def test_name_taken_by_another_user_of_the_image_is_not_used_twice():
    host = Host(5000, 5000, (), lambda _: "jovyan", lambda _: "")
    text = seed_passwd(resolve_user("", ACCOUNTS, host, explicit=False), ACCOUNTS, host, "/")
    assert text is not None
    assert "\njovyan5000:x:5000:5000:" in text


def test_image_without_accounts_gets_whole_files():
    own = resolve_user("", Accounts(), HOST, explicit=False)
    assert seed_passwd(own, Accounts(), HOST, "/h") == "alice:x:1234:1234::/h:/bin/sh\n"


def test_users_made_in_the_container_are_known(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("new:x:7:7::/new:/bin/sh\n")
    found = identity.upper_accounts(str(tmp_path), ACCOUNTS)
    assert [user.name for user in found.users()] == ["new"]
    assert found.group == ACCOUNTS.group


def test_symlink_in_the_upper_is_not_followed_to_the_host(tmp_path):
    (tmp_path / "etc").symlink_to("/etc")
    assert identity.upper_accounts(str(tmp_path), ACCOUNTS) == ACCOUNTS
    (tmp_path / "etc").unlink()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").symlink_to("/etc/passwd")
    assert identity.upper_accounts(str(tmp_path), ACCOUNTS) == ACCOUNTS
