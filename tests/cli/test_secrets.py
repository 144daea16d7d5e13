"""Passwords and tokens appear nowhere: no output, no document, no journal, no plan file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, make_url

from tests.cli.conftest import plant
from tests.cli.shell import RULES, Shell
from tests.support.sandbox import Sandbox

SECRET = "s3cr3t/@:&word"
URL_FORMS = ("in the URL", "as a parameter", "in the environment", "in the rule file")


@pytest.fixture
def owner(pg_url: str) -> Iterator[URL]:
    """The address of a database for its owner, whose password is known to be secret."""
    box = Sandbox(pg_url)
    url = make_url(pg_url)
    name = f"owner_{url.database}"
    box.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    box.execute(f"ALTER DATABASE {url.database} OWNER TO {name}")
    box.execute(f"GRANT ALL ON SCHEMA public TO {name}")
    mine = url.set(username=name, password=SECRET)
    plant(Sandbox(mine.render_as_string(hide_password=False)))
    yield mine
    box.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}")
    box.execute(f"DROP ROLE {name}")


def secrets_of(password: str) -> list[str]:
    """The password as it is, and as a URL writes it."""
    in_url = URL.create("x", "y", password).render_as_string(hide_password=False)
    return [password, in_url.removeprefix("x://y:").removesuffix("@")]


@pytest.mark.parametrize("form", URL_FORMS)
def test_passwords(shell: Shell, owner: URL, form: str) -> None:
    """The whole way, in words and in documents."""
    shell.secrets = secrets_of(SECRET)
    words, env = _given(shell, owner, form, SECRET)
    assert shell("check", *words, env=env).code == 1
    assert shell("plan", *words, "--out", "plan.json", env=env).code == 0
    assert shell("apply", *words, "--json", env=env).code == 0
    assert shell("status", *words, "--json", env=env).code == 0
    assert shell("undo", *words, env=env).code == 0
    _is_not_kept(shell, owner)


@pytest.mark.parametrize("form", URL_FORMS)
def test_wrong_passwords(shell: Shell, owner: URL, form: str) -> None:
    """The server's refusal as a document, and with the traceback that one may ask for."""
    wrong = f"wrong-{SECRET}"
    shell.secrets = secrets_of(wrong)
    words, env = _given(shell, owner, form, wrong)
    call = shell("apply", *words, "--json", env=env)
    assert (call.code, call.error["code"]) == (2, "connection_failed")
    debug = shell("status", *words, env={**env, "ONEROW_DEBUG": "1"}, traceback=True)
    assert debug.code == 2


def _given(
    shell: Shell, owner: URL, form: str, password: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Words and environment that hand the password over."""
    bare = owner._replace(password=None)
    full = owner.set(password=password).render_as_string(hide_password=False)
    shell.rules()
    if form == "in the URL":
        return ("--url", full), {}
    if form == "as a parameter":
        url = bare.update_query_dict({"password": password})
        return ("--url", url.render_as_string(hide_password=False)), {}
    if form == "in the environment":
        return ("--url", bare.render_as_string(hide_password=False)), {"PGPASSWORD": password}
    shell.rules(f"[database]\nurl = '{full}'\n{RULES}")
    return (), {}


def _is_not_kept(shell: Shell, owner: URL) -> None:
    """Neither the plan file nor any table of the journal has it."""
    box = Sandbox(owner.render_as_string(hide_password=False))
    kept = (shell.folder / "plan.json").read_text()
    tables = box.rows("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables")
    for (table,) in tables:
        if table.startswith("onerow."):
            kept += str(box.rows(f"SELECT t::text FROM {table} AS t"))
    assert "merge_duplicates" in kept
    for secret in shell.secrets:
        assert secret not in kept


@pytest.mark.parametrize(
    "words",
    [
        ("status", "postgresql://app:hunter22@localhost/app"),
        ("check", "postgresql://app:hunter22@localhost/app", "sqlite:///b.db"),
        ("apply", "postgresql://app:hunter22@localhost/app", "--url", "sqlite:///a.db"),
        ("undo", "postgresql://app@localhost/app?password=hunter22", "--url", "sqlite:///a.db"),
        ("check", "mysql://app:hunter22@localhost/app"),
        ("check", "postgresql://app:hunter22@localhost:port/app"),
        ("plan", "--rules", "postgresql://app:hunter22@localhost/app"),
        ("plan", "--lock-timeout=postgresql://app:hunter22@localhost/app"),
        ("postgresql://app:hunter22@localhost/app",),
    ],
)
def test_passwords_in_the_wrong_place(shell: Shell, words: tuple[str, ...]) -> None:
    """An address where none belongs is not repeated with its password."""
    (shell.folder / "a.db").touch()
    shell.secrets = ["hunter22"]
    assert shell(*words, "--json").code in (1, 2)
