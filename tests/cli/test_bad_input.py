"""Every bad input of the issue: one clear message, the right exit code, nothing changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import make_url

from tests.cli.shell import RULES, Call, Shell, environment
from tests.support.sandbox import Sandbox


def fails(shell: Shell, *words: str, code: int = 2, error: str = "", says: Sequence[str]) -> Call:
    """The call ends so, in words on standard error and as a document on standard output."""
    call = shell(*words, *(() if "--json" in words else ("--json",)))
    assert (call.code, call.error["code"]) == (code, error), call.err
    told = f"{call.error['message']} {call.error['hint']}"
    for part in says:
        assert part in call.said, call.err
        assert part in told, told
    assert call.err.startswith("Error: ")
    assert len(call.err.splitlines()) <= 3, call.err
    return call


def test_without_json(shell: Shell) -> None:
    """Without --json a failure leaves standard output empty."""
    call = shell("check", "sqlite:///no.db")
    assert (call.code, call.out) == (2, "")
    assert call.err == (
        "Error: There is no SQLite file 'no.db'.\nonerow never makes a new database.\n"
    )


# -- the database -------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["check", "status", "undo", "init"])
def test_no_url(shell: Shell, verb: str) -> None:
    """Without a URL a verb says how to give one."""
    fails(shell, verb, error="url_error", says=["No database URL.", "URL"])


@pytest.mark.parametrize("verb", ["plan", "apply", "verify"])
def test_no_url_and_no_rules(shell: Shell, verb: str) -> None:
    """Verbs that need rules say how to begin."""
    fails(
        shell,
        verb,
        error="rule_file_error",
        says=["no rule file 'onerow.toml', and no database URL", "`onerow init URL`"],
    )


def test_no_url_in_the_rule_file(shell: Shell) -> None:
    """The rule file is named as a place for the URL."""
    shell.rules()
    fails(shell, "plan", error="url_error", says=["No database URL.", "[database] in onerow.toml"])


def test_url_from_the_environment(shell: Shell, box: Sandbox) -> None:
    """`${NAME}` in the rule file comes from the environment; a missing one is named."""
    shell.rules('[database]\nurl = "${DATABASE_URL}"\n' + RULES)
    assert shell("plan", env={"DATABASE_URL": box.url}).code == 0
    fails(shell, "plan", error="url_error", says=["environment variable DATABASE_URL", "not set"])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "cannot be read"),
        ("postgresql//host/db", "cannot be read"),
        ("mysql://root@localhost/app", "works on PostgreSQL and SQLite; the URL names 'mysql'"),
        ("sqlite://", "needs a SQLite file"),
        ("sqlite:///:memory:", "needs a SQLite file"),
    ],
)
def test_no_such_url(shell: Shell, url: str, says: str) -> None:
    """What is no address of ours is told from one that nobody answers at."""
    fails(shell, "check", url, error="url_error", says=[says])


def test_two_urls(shell: Shell) -> None:
    """An argument and an option that differ are a mistake."""
    fails(
        shell,
        *("check", "sqlite:///a.db", "--url", "sqlite:///b.db"),
        error="usage_error",
        says=["two different ones"],
    )


def test_unreachable_server(shell: Shell) -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://app@127.0.0.1:{free.getsockname()[1]}/app"
        for verb in ("check", "status"):
            fails(
                shell,
                *(verb, "--url", url),
                error="connection_failed",
                says=["cannot be reached", "127.0.0.1"],
            )


def test_wrong_password(shell: Shell, pg_url: str) -> None:
    """The login is refused, and the password is not repeated."""
    shell.secrets = ["not-the-password"]
    url = make_url(pg_url).set(password="not-the-password")
    fails(
        shell,
        *("check", url.render_as_string(hide_password=False)),
        error="connection_failed",
        says=["password authentication failed"],
    )


def test_unknown_database(shell: Shell, pg_url: str) -> None:
    """The server is there and the database is not."""
    url = make_url(pg_url).set(database="no_such_database")
    fails(
        shell,
        *("check", url.render_as_string(hide_password=False)),
        error="connection_failed",
        says=["no_such_database"],
    )


def test_sqlite_files(shell: Shell) -> None:
    """No file is made where there is none; another file is left as it is."""
    fails(shell, "check", "sqlite:///no.db", error="connection_failed", says=["no SQLite file"])
    assert not (shell.folder / "no.db").exists()
    other = shell.folder / "notes.txt"
    other.write_text("some notes, and no database")
    fails(
        shell,
        *("check", "sqlite:///notes.txt"),
        error="connection_failed",
        says=["is not a SQLite database"],
    )
    assert other.read_text() == "some notes, and no database"


# -- the rule file ------------------------------------------------------------------------------


def test_no_rule_file(shell: Shell, sqlite_box: Sandbox) -> None:
    """A rule file that is named and missing is an error of every verb that reads it."""
    for verb in ("check", "plan", "apply", "verify", "status"):
        words = (verb, "--url", sqlite_box.url, "--rules", "other.toml")
        fails(shell, *words, error="rule_file_error", says=["no rule file 'other.toml'"])
    fails(
        shell,
        *("plan", "--url", sqlite_box.url),
        error="rule_file_error",
        says=["no rule file 'onerow.toml'", "`onerow init URL` writes one"],
    )


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("table = selection", ["onerow.toml is not TOML", "line 1"]),
        ("[[key]\n", ["onerow.toml is not TOML"]),
        ("[[kee]]\n", ["unknown field 'kee'", "Did you mean 'key'?"]),
        (RULES + "colums = []\n", ["[[key]] number 1", "'colums'", "Did you mean 'columns'?"]),
        ('[[key]]\ntable = "selection"\n', ["'columns' is missing"]),
        ('[[key]]\ntable = 7\ncolumns = ["a"]\n', ["number 1, table", "string"]),
        (RULES + 'nulls = "eqal"\n', ["'eqal' is unknown", "Did you mean 'equal'?"]),
    ],
)
def test_rule_file_not_understood(
    shell: Shell, sqlite_box: Sandbox, rules: str, says: list[str]
) -> None:
    """Where it is, what is wrong, and the nearest known name."""
    shell.rules(rules)
    fails(shell, "plan", "--url", sqlite_box.url, error="rule_file_error", says=says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('keep = "latets updated_at"', ["unknown keep 'latets'", "Did you mean 'latest'?"]),
        ('merge = { default = "fil" }', ["unknown merge policy 'fil'", "Did you mean 'fill'?"]),
        ('keep = "latest"', ["should read 'latest COLUMN'"]),
        ('keep = "latest updated"', ["Did you mean 'updated_at'?"]),
        ('ignore_case = ["workot_id"]', ["'workot_id'", "Did you mean 'workout_id'?"]),
        ('where = "workout_idd > 1"', ["'workout_idd'", "Did you mean 'workout_id'?"]),
        ('where = "workout_id >"', ["where is not one SQL expression"]),
        ('merge = { slott = "fill" }', ["no column 'slott'", "Did you mean 'slot'?"]),
        ('replaces = ["no_such_key"]', ["'no_such_key'"]),
    ],
)
def test_rule_not_understood(
    shell: Shell, sqlite_box: Sandbox, change: str, says: list[str]
) -> None:
    """Unknown policy, column or form of a rule, with the nearest name."""
    name = change.split()[0]
    kept = "".join(x for x in RULES.splitlines(True) if not x.startswith(name))
    shell.rules(f"{kept}{change}\n")
    before = sqlite_box.state()
    for verb in ("plan", "apply"):
        fails(shell, verb, "--url", sqlite_box.url, error="rule_error", says=says)
    assert sqlite_box.state() == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"selection"', '"selecton"', ["no table 'selecton'", "Did you mean 'selection'?"]),
        ('"workout_id"]', '"workout"]', ["no column 'workout'", "Did you mean 'workout_id'?"]),
    ],
)
def test_unknown_names(shell: Shell, box: Sandbox, old: str, new: str, says: list[str]) -> None:
    """Unknown table or column, with the nearest name, by every verb that reads rules."""
    shell.rules(RULES.replace(old, new))
    for verb in ("check", "plan", "verify"):
        fails(shell, verb, "--url", box.url, error="rule_error", says=says)


def test_folder_as_a_rule_file(shell: Shell, sqlite_box: Sandbox) -> None:
    """What cannot be read is said to be so."""
    words = ("plan", "--url", sqlite_box.url, "--rules", ".")
    fails(shell, *words, error="rule_file_error", says=["cannot be read"])


# -- tables that no rule can be about -----------------------------------------------------------


def test_view(shell: Shell, box: Sandbox) -> None:
    """A rule on a view: check cannot, plan is blocked, nothing is touched."""
    box.execute("CREATE VIEW seen AS SELECT workout_id FROM selection;")
    shell.rules('[[key]]\ntable = "seen"\ncolumns = ["workout_id"]\n')
    _is_no_table(shell, box, "is a view")


def test_foreign_table(shell: Shell, pg_box: Sandbox) -> None:
    """The same of a foreign table."""
    pg_box.execute(
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;"
        "CREATE FOREIGN TABLE abroad (workout_id bigint) SERVER far;"
    )
    shell.rules('[[key]]\ntable = "abroad"\ncolumns = ["workout_id"]\n')
    _is_no_table(shell, pg_box, "is a foreign table")


def _is_no_table(shell: Shell, box: Sandbox, says: str) -> None:
    before = box.state()
    fails(shell, "check", "--url", box.url, error="rule_error", says=[says, "the table behind it"])
    plan = shell("plan", "--url", box.url, "--json")
    assert (plan.code, plan.json["blockers"][0]["code"]) == (1, "not_a_table")
    assert says in plan.err
    assert "there are no rules" not in shell("plan", "--url", box.url).out
    assert shell("apply", "--url", box.url).code == 1
    assert box.state() == before


def test_no_primary_key(shell: Shell, box: Sandbox) -> None:
    """Rows that cannot be told apart block the plan, which says what it needs."""
    box.execute("CREATE TABLE visit (who text, day text)")
    box.execute("INSERT INTO visit VALUES ('a', 'mon'), ('a', 'mon'), ('b', 'mon')")
    shell.rules('[[key]]\ntable = "visit"\ncolumns = ["who"]\n')
    before = box.state()
    plan = shell("plan", "--url", box.url, "--json")
    assert plan.code == 1
    assert "no_primary_key" in [b["code"] for b in plan.json["blockers"]]
    assert "no primary key" in plan.err
    apply = shell("apply", "--url", box.url, "--json")
    assert (apply.code, apply.json["status"]) == (1, "refused")
    assert box.state() == before


# -- what the role may not do -------------------------------------------------------------------


@pytest.fixture
def clerk(pg_box: Sandbox) -> Iterator[str]:
    """The address for a role that owns nothing. Roles are the server's, so it goes at the end."""
    name = f"clerk_{make_url(pg_box.url).database}"
    pg_box.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'clerk-secret'")
    url = make_url(pg_box.url).set(username=name, password="clerk-secret")
    yield url.render_as_string(hide_password=False)
    pg_box.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_may_not_read(shell: Shell, pg_box: Sandbox, clerk: str) -> None:
    """Without SELECT nothing can be said of the rows: check says so, verify cannot run."""
    shell.rules()
    shell.secrets = ["clerk-secret"]
    check = shell("check", "--url", clerk)
    assert check.code == 1
    assert "may not SELECT public.selection, so its rows were not looked at" in check.words
    fails(shell, "verify", "--url", clerk, error="no_privilege", says=["may not", "selection"])


def test_may_not_change(shell: Shell, pg_box: Sandbox, clerk: str) -> None:
    """Who may only read can check; the plan is blocked and says what to grant."""
    name = make_url(clerk).username
    pg_box.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    shell.rules()
    before = pg_box.state()
    assert shell("check", "--url", clerk, "--json").json["rules"][0]["violations"]["groups"] == 5
    plan = shell("plan", "--url", clerk, "--json")
    assert plan.code == 1
    assert {b["code"] for b in plan.json["blockers"]} >= {"missing_privilege"}
    assert f'TO "{name}"' in plan.err
    assert shell("apply", "--url", clerk).code == 1
    assert pg_box.state() == before
    assert not pg_box.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'onerow'")


def test_read_only_server(shell: Shell, pg_box: Sandbox) -> None:
    """A server that takes no writes can be checked, and blocks the plan."""
    database = make_url(pg_box.url).database
    shell.rules()
    pg_box.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert shell("check", "--url", pg_box.url).code == 1
    plan = shell("plan", "--url", pg_box.url, "--json")
    assert plan.code == 1
    assert "is read-only" in plan.err
    assert shell("apply", "--url", pg_box.url, "--json").json["status"] == "refused"


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ['Weird "Name', '"Weird ""Name"'])
def test_weird_name(shell: Shell, box: Sandbox, written: str) -> None:
    """A table named `Weird "Name` goes the whole way, as written and as quoted."""
    pk = "integer primary key" if box.sqlite else "bigint generated always as identity primary key"
    box.execute(f'CREATE TABLE "Weird ""Name" (id {pk}, "the [key]" text, "né%s" text)')
    box.execute("""INSERT INTO "Weird ""Name" ("the [key]") VALUES ('a'), ('a'), (':b')""")
    shell.rules(f"[[key]]\ntable = '{written}'\ncolumns = ['the [key]']\n")
    before = box.state()
    url = ("--url", box.url)
    check = shell("check", *url)
    assert check.code == 1
    assert "the [key]" in check.out
    assert shell("apply", *url, "--json").json["archived"] == 1
    assert shell("verify", *url).code == 0
    assert shell("undo", *url).code == 0
    assert box.state() == before


def test_schema_outside_the_search_path(shell: Shell, pg_box: Sandbox) -> None:
    """A table elsewhere is found by its schema; without it the message says what was read."""
    pg_box.execute(
        "CREATE SCHEMA elsewhere;"
        "CREATE TABLE elsewhere.visit (id int PRIMARY KEY, who text);"
        "INSERT INTO elsewhere.visit VALUES (1, 'a'), (2, 'a');"
    )
    rules = "[[key]]\ntable = '{}'\ncolumns = ['who']\n"
    shell.rules(rules.format("visit"))
    fails(
        shell,
        *("plan", "--url", pg_box.url),
        error="rule_error",
        says=["no table 'visit'", "schemas read: public"],
    )
    shell.rules(rules.format("elsewhere.visit"))
    before = pg_box.state()
    assert shell("apply", "--url", pg_box.url, "--json").json["archived"] == 1
    assert shell("undo", "--url", pg_box.url).code == 0
    assert pg_box.state() == before


def test_control_characters_in_values(shell: Shell, sqlite_box: Sandbox) -> None:
    """A value cannot write to the terminal as it likes."""
    sqlite_box.execute("CREATE TABLE visit (id integer PRIMARY KEY, who text)")
    who = "char(27) || '[31mred' || char(10) || 'x'"
    sqlite_box.execute(f"INSERT INTO visit SELECT 1, {who} UNION ALL SELECT 2, {who}")
    shell.rules("[[key]]\ntable = 'visit'\ncolumns = ['who']\n")
    call = shell("check", "--url", sqlite_box.url)
    assert r"\x1b[31mred\nx" in call.out
    assert "\x1b" not in call.out


# -- files and words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no plan file"),
        ("not JSON", "The plan is not JSON"),
        ("{}", "This is not a plan"),
        ("[1]", "This is not a plan"),
        ('{"schema": 9, "plan": "x", "steps": []}', "The plan has format 9"),
        ('{"schema": 1, "plan": "x", "steps": []}', "not complete"),
    ],
)
def test_plan_file(shell: Shell, sqlite_box: Sandbox, content: str | None, says: str) -> None:
    """What is no plan is not applied."""
    if content is not None:
        (shell.folder / "p.json").write_text(content)
    before = sqlite_box.state()
    words = ("apply", "p.json", "--url", sqlite_box.url)
    fails(shell, *words, error="plan_file_error", says=[says])
    assert sqlite_box.state() == before


def test_files_that_cannot_be_written(shell: Shell, sqlite_box: Sandbox) -> None:
    """A file in a folder that is not there."""
    shell.rules()
    words = ("plan", "--url", sqlite_box.url, "--out", "nowhere/plan.json")
    fails(shell, *words, error="input_error", says=["cannot be written", "No such file"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("chek",), "No such command 'chek'"),
        (("plan", "--aply"), "No such option"),
        (("plan", "--sql", "--json"), "--sql and --json"),
        (("check", "--fail-on", "nothing"), "nothing"),
        (("apply", "--lock-timeout", "soon"), "soon"),
        (("apply", "--lock-timeout", "0"), "0"),
    ],
)
def test_words_that_are_none(shell: Shell, words: tuple[str, ...], says: str) -> None:
    """Words that no command takes."""
    call = fails(shell, *words, error="usage_error", says=[says])
    assert "--help` tells more." in call.err


def test_a_bug_is_one_line(shell: Shell) -> None:
    """What nobody expected is told in one line; ONEROW_DEBUG shows where."""
    (shell.folder / "sitecustomize.py").write_text(
        "import onerow.api\n"
        "def status(*_): raise KeyError('surprise')\n"
        "onerow.api.status = status\n"
    )
    (shell.folder / "a.db").touch()
    path = f"{shell.folder}:{environment()['PYTHONPATH']}"
    words = ("status", "--url", "sqlite:///a.db")
    call = shell(*words, "--json", env={"PYTHONPATH": path})
    assert (call.code, call.error["code"]) == (2, "unexpected_error")
    assert "KeyError: 'surprise'" in call.err
    assert "ONEROW_DEBUG=1" in call.err
    shell(*words, env={"PYTHONPATH": path, "ONEROW_DEBUG": "1"}, traceback=True)
