"""Each verb alone: what it does, and what it says it did."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from onerow.rules import Key
from onerow.write import (
    NotFound,
    OutsideKey,
    Stale,
    WriteError,
    advance,
    bulk_upsert,
    conflict_of,
    get_or_create,
    patch,
    restore_or_create,
    singleton,
    upsert,
)
from tests.write.support import (
    EMAIL,
    PAGE,
    PLAN,
    SELECTION,
    USER,
    Page,
    Plan,
    Selection,
    State,
    Two,
    User,
)

A = {"tenant_id": 1, "slug": "a"}


def last_id(session: Session) -> int:
    """What the next row would be called, if PostgreSQL counts in steps of one."""
    return session.execute(sa.text("SELECT last_value FROM users_id_seq")).scalar_one()


def test_upsert_tells_the_outcome(session: Session) -> None:
    """Inserted, unchanged and updated are told apart, and the row is as written."""
    outcomes = [
        upsert(session, USER, {**A, "title": title}).outcome for title in ("x", "x", "y", "y", None)
    ]
    assert outcomes == ["inserted", "unchanged", "updated", "unchanged", "updated"]
    assert session.scalars(sa.select(User.title)).all() == [None]


def test_upsert_gives_instances(session: Session) -> None:
    """Through a Session a mapped key gives the instance of the identity map, refreshed."""
    first = upsert(session, USER, {**A, "title": "x"}).row
    second = upsert(session, USER, {**A, "title": "y"}).row
    assert second is first
    assert (first.title, first.hits, first.touched) == ("y", 0, "touched")


def test_upsert_gives_rows(engine: sa.Engine) -> None:
    """Through a Connection a row is a Row, after an update too."""
    with engine.begin() as connection:
        upsert(connection, USER, {**A, "title": "x"})
        written = upsert(connection, USER, {**A, "title": "y"})
    assert (written.row.title, written.row.touched, written.outcome) == ("y", "touched", "updated")


def test_upsert_by_table_name(engine: sa.Engine) -> None:
    """A key over a table's name needs no model."""
    key = Key("users", "tenant_id", "slug")
    with engine.begin() as connection:
        outcomes = [
            upsert(connection, key, {**A, "title": t, "hits": 0}).outcome for t in ("x", "y")
        ]
    assert outcomes == ["inserted", "updated"]


def test_update_names_columns(session: Session) -> None:
    """Only the columns named in `update` change in a row that exists."""
    upsert(session, USER, {**A, "title": "x", "hits": 1})
    row = upsert(session, USER, {**A, "title": "y", "hits": 2}, update=("title",)).row
    assert (row.title, row.hits) == ("y", 1)


def test_update_with_expressions(session: Session) -> None:
    """A counter is raised by the database, and counts every call."""
    for _ in range(3):
        row = upsert(session, USER, {**A, "hits": 1}, update={"hits": User.hits + 1}).row
    assert row.hits == 3


def test_update_nothing(session: Session) -> None:
    """With nothing to update an existing row is left as it is."""
    upsert(session, USER, {**A, "title": "x"})
    assert upsert(session, USER, {**A, "title": "y"}, update=()).outcome == "unchanged"


def test_defaults_for_new_rows(session: Session) -> None:
    """Defaults go into a new row and never into an old one."""
    assert upsert(session, USER, A, defaults={"title": "new"}).row.title == "new"
    assert upsert(session, USER, A, defaults={"title": "other"}).row.title == "new"


def test_no_sequence_value_is_burnt(pg_url: str) -> None:
    """An existing row costs no sequence value, whether it changes or not."""
    from tests.write.support import engine_of

    with engine_of(pg_url) as engine, Session(engine) as session:
        upsert(session, USER, {**A, "title": "x"})
        before = last_id(session)
        for title in ("x", "y", "y", "z"):
            upsert(session, USER, {**A, "title": title})
            get_or_create(session, USER, A)
        assert last_id(session) == before


def test_pending_objects_go_first(session: Session) -> None:
    """A pending object of the session is flushed before the verb looks."""
    session.add(User(tenant_id=1, slug="a", title="pending"))
    assert get_or_create(session, USER, A).row.title == "pending"


def test_unflushed_change_is_not_lost(session: Session) -> None:
    """A change of another column that was not flushed yet survives the refresh."""
    row = upsert(session, USER, {**A, "title": "x"}).row
    row.hits = 9
    upsert(session, USER, {**A, "title": "y"})
    assert (row.title, row.hits) == ("y", 9)


def test_mapper_version_is_raised(session: Session) -> None:
    """A version that SQLAlchemy's mapper keeps is raised by every change and by nothing else."""
    versions = [
        upsert(session, SELECTION, {"workout_id": 1, "day": day}).row.version
        for day in ("mon", "mon", "tue")
    ]
    assert versions == [1, 1, 2]
    row = session.get(Selection, 1)
    assert row is not None
    row.slot = "morning"
    session.flush()
    assert row.version == 3


def test_partial_update_keeps_the_rest(session: Session) -> None:
    """Two writers of different fields of one row both survive."""
    upsert(session, SELECTION, {"workout_id": 1, "day": "mon"})
    row = upsert(session, SELECTION, {"workout_id": 1, "slot": "evening"}).row
    assert (row.day, row.slot, row.version) == ("mon", "evening", 2)


def test_case_scope_and_filter(session: Session) -> None:
    """Case is ignored, NULL scope is one scope, and archived rows do not count."""
    base = {"tenant_id": "t", "branch_id": None}
    first = get_or_create(session, PLAN, {**base, "name": "Gold"})
    again = get_or_create(session, PLAN, {**base, "name": "GOLD"})
    branch = get_or_create(session, PLAN, {**base, "branch_id": "b", "name": "gold"})
    assert [first.outcome, again.outcome, branch.outcome] == ["inserted", "unchanged", "inserted"]
    assert first.row.scope_key == "TENANT"
    first.row.status = "ARCHIVED"
    assert get_or_create(session, PLAN, {**base, "name": "Gold"}).created


def test_generated_column_cannot_be_given(session: Session) -> None:
    """A value for a generated column is the database's error, not a silent loss."""
    values = {"tenant_id": "t", "branch_id": None, "name": "x", "scope_key": "mine"}
    with pytest.raises(sa.exc.SQLAlchemyError):
        upsert(session, PLAN, values)


def test_row_outside_the_filter(session: Session) -> None:
    """A new row that the key does not cover is refused, or it would be made again and again."""
    values = {"tenant_id": "t", "branch_id": None, "name": "x", "status": "ARCHIVED"}
    with pytest.raises(OutsideKey):
        upsert(session, PLAN, values)


def test_nulls_are_distinct(session: Session) -> None:
    """With NULLs distinct a key with a NULL never meets itself."""
    key = Key(Page, "deleted_at", "id")
    session.execute(sa.text("CREATE UNIQUE INDEX pages_d ON pages (deleted_at)"))
    key = Key(Page, "deleted_at")
    outcomes = [get_or_create(session, key, {"deleted_at": None, "slug": s}).outcome for s in "ab"]
    assert outcomes == ["inserted", "inserted"]


def test_triggers_are_seen(engine: sa.Engine) -> None:
    """What a trigger makes of the row is in the row that is given back."""
    lite = """CREATE TRIGGER u AFTER UPDATE ON users WHEN NEW.touched IS NOT 'by trigger' BEGIN
        UPDATE users SET touched = 'by trigger' WHERE id = NEW.id; END"""
    postgres = """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        NEW.touched := 'by trigger'; RETURN NEW; END $$;
        CREATE TRIGGER u BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()"""
    with engine.begin() as connection:
        connection.exec_driver_sql(lite if engine.dialect.name == "sqlite" else postgres)
    with Session(engine) as session:
        upsert(session, USER, {**A, "title": "x"})
        for title in "yz":
            row = upsert(session, USER, {**A, "title": title}).row
            assert (row.title, row.touched) == (title, "by trigger")


# -- the second unique key -----------------------------------------------------------------------


def test_other_key_raises(session: Session) -> None:
    """By default another unique key in the way is the database's error, typed."""
    upsert(session, EMAIL, {"email": "a", "handle": "h"})
    with pytest.raises(IntegrityError) as caught:
        upsert(session, EMAIL, {"email": "b", "handle": "h"})
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert (conflict.kind, conflict.columns, conflict.values) == (
        "unique",
        ("handle",),
        {"handle": "h"},
    )


def test_other_key_adopts(session: Session) -> None:
    """`adopt` answers with the row that has the other key, as it is."""
    upsert(session, EMAIL, {"email": "a", "handle": "h"})
    written = upsert(session, EMAIL, {"email": "b", "handle": "h", "n": 5}, other_keys="adopt")
    assert (written.outcome, written.row.email, written.row.n) == ("unchanged", "a", 0)


def test_other_key_merges(session: Session) -> None:
    """`merge` writes our values, the key too, into the row that has the other key."""
    upsert(session, EMAIL, {"email": "a", "handle": "h"})
    written = upsert(session, EMAIL, {"email": "b", "handle": "h", "n": 5}, other_keys="merge")
    assert (written.outcome, written.row.email, written.row.n) == ("updated", "b", 5)
    assert session.scalars(sa.select(Two.email)).all() == ["b"]


# -- get_or_create, singleton --------------------------------------------------------------------


def test_get_or_create(session: Session) -> None:
    """The first call makes the row with its defaults, the second finds it untouched."""
    first = get_or_create(session, USER, A, defaults={"title": "x"})
    second = get_or_create(session, USER, A, defaults={"title": "y"}, lock="update")
    assert (first.outcome, second.outcome, second.row.title) == ("inserted", "unchanged", "x")


def test_singleton(session: Session) -> None:
    """There is one row, whatever the defaults of later calls."""
    first = singleton(session, State, defaults={"lead": "x"})
    second = singleton(session, State, defaults={"lead": "y"})
    assert (first.outcome, second.outcome, second.row.lead) == ("inserted", "unchanged", "x")


def test_singleton_by_constant_index(engine: sa.Engine) -> None:
    """A unique index over a constant keeps a second row out, and defaults may be empty."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE one (id integer PRIMARY KEY, n integer DEFAULT 7)"
            if engine.dialect.name == "sqlite"
            else "CREATE TABLE one (id serial PRIMARY KEY, n integer DEFAULT 7)"
        )
        connection.exec_driver_sql("CREATE UNIQUE INDEX one_row ON one ((1))")
        written = [singleton(connection, Key("one")) for _ in "12"]
    assert [(w.outcome, w.row.n) for w in written] == [("inserted", 7), ("unchanged", 7)]


# -- patch and advance ---------------------------------------------------------------------------


def test_patch(session: Session) -> None:
    """Only what is named changes, and writing the same again changes nothing."""
    upsert(session, USER, {**A, "title": "x", "hits": 3})
    outcomes = [patch(session, USER, A, {"title": t}).outcome for t in ("y", "y")]
    row = patch(session, USER, A, {"hits": User.hits + 1}).row
    assert (outcomes, row.title, row.hits) == (["updated", "unchanged"], "y", 4)


def test_patch_not_found(session: Session) -> None:
    """There is nothing to patch without a row."""
    with pytest.raises(NotFound):
        patch(session, USER, A, {"title": "x"})


def test_patch_expects(session: Session) -> None:
    """The second of two patches that expect one version is stale, and shows the row."""
    upsert(session, USER, {**A, "title": "x", "hits": 3})
    assert patch(session, USER, A, {"title": "y"}, expect={"hits": 3}).row.hits == 4
    with pytest.raises(Stale) as caught:
        patch(session, USER, A, {"title": "z"}, expect={"hits": 3})
    assert (caught.value.row.title, caught.value.expected) == ("y", {"hits": 3})


def test_patch_expects_null(session: Session) -> None:
    """NULL can be expected."""
    upsert(session, USER, A)
    assert patch(session, USER, A, {"title": "x"}, expect={"title": None}).outcome == "updated"
    with pytest.raises(Stale):
        patch(session, USER, A, {"title": "y"}, expect={"title": None})


def test_advance(session: Session) -> None:
    """Only the caller that expects the present state moves it; others learn what it is."""
    singleton(session, State)
    first = advance(session, State, {}, {"sprint_index": (None, 0)}, set={"lead": "U0"})
    second = advance(session, State, {}, {"sprint_index": (None, 0)}, set={"lead": "U1"})
    assert (first.outcome, second.outcome) == ("updated", "unchanged")
    assert (second.row.sprint_index, second.row.lead) == (0, "U0")
    assert advance(session, State, {}, {"sprint_index": (0, 1)}).row.sprint_index == 1


def test_advance_not_found(session: Session) -> None:
    """There is no state to move without a row."""
    with pytest.raises(NotFound):
        advance(session, State, {}, {"sprint_index": (0, 1)})


# -- soft delete ---------------------------------------------------------------------------------


def test_restore_or_create(session: Session) -> None:
    """A deleted row comes back with its content, a living one stays, else one is made."""
    made = restore_or_create(session, PAGE, {"slug": "a"}, defaults={"body": "first"})
    made.row.deleted_at = datetime.now(UTC).replace(tzinfo=None)
    session.flush()
    back = restore_or_create(session, PAGE, {"slug": "a"}, defaults={"body": "second"})
    again = restore_or_create(session, PAGE, {"slug": "a"})
    assert [made.outcome, back.outcome, again.outcome] == ["inserted", "restored", "unchanged"]
    assert (back.row.body, back.row.deleted_at, back.row.id) == ("first", None, made.row.id)


def test_restore_takes_the_latest(session: Session) -> None:
    """Of several deleted rows the one deleted last comes back, with what `update` sets."""
    for year in (2020, 2022, 2021):
        session.add(Page(slug="a", body=str(year), deleted_at=datetime(year, 1, 1)))
    written = restore_or_create(session, PAGE, {"slug": "a"}, update={"body": "back"})
    assert (written.outcome, written.row.body, written.row.id) == ("restored", "back", 2)


def test_restore_with_a_full_key(session: Session) -> None:
    """Where deleted rows keep their name, the row of that name comes back."""
    session.execute(sa.text("CREATE UNIQUE INDEX pages_slug ON pages (slug)"))
    key = Key(Page, "slug")
    session.add(Page(slug="a", body="x", deleted_at=datetime(2020, 1, 1)))
    outcomes = [
        restore_or_create(session, key, {"slug": "a"}, deleted="deleted_at").outcome for _ in "12"
    ]
    assert outcomes == ["restored", "unchanged"]


def test_restore_needs_the_mark(session: Session) -> None:
    """Without a filter that tells, the mark of a deleted row must be named."""
    with pytest.raises(WriteError, match="deleted="):
        restore_or_create(session, USER, A)


def test_a_session_over_several_databases(engine: sa.Engine) -> None:
    """A Session that finds its database by the model is written through as well."""
    with Session(binds={User: engine, Two: engine}) as session:
        outcomes = [upsert(session, USER, {**A, "title": t}).outcome for t in "xyy"]
        assert upsert(session, EMAIL, {"email": "a", "handle": "h"}).created
        rows = [{"tenant_id": 1, "slug": f"s{i}"} for i in range(300)]
        assert bulk_upsert(session, USER, rows).inserted == 300
        session.commit()
    assert outcomes == ["inserted", "updated", "unchanged"]


def test_names_of_attributes(session: Session) -> None:
    """Values may be named by mapped attributes."""
    row = upsert(session, USER, {User.tenant_id: 1, User.slug: "a", User.title: "x"}).row
    assert row.title == "x"
    assert session.scalars(sa.select(sa.func.count()).select_from(Plan)).one() == 0
