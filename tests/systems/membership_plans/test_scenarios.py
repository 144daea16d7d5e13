"""The scenarios with many clients at once, and what the original writers make of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from systems.membership_plans import policy
from systems.membership_plans.app import make
from systems.shared.address import open_engine
from systems.shared.errors import SystemRefusal
from systems.shared.fixtures import build
from systems.shared.web.application import Serving
from tests.systems.membership_plans.support import NAME, PLANS, House, at_once, broken, fresh, plan
from tests.systems.serving import TOKENS
from tests.systems.support import after, before

CLIENTS = 20
ROUNDS = 10  #: in which the original writers have to show what they do


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def old(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The original writers on the broken schema."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("old") / "old.sqlite3"
        file.touch()
        with broken(f"sqlite:///{file}") as started:
            yield started
        return
    with request.getfixturevalue("pg_server").database() as url, broken(url) as started:
        yield started


def same(name: str) -> list[str]:
    return [name] * CLIENTS


def mixed(name: str) -> list[str]:
    return [(name.upper(), name.lower(), name)[n % 3] for n in range(CLIENTS)]


each = pytest.mark.parametrize("spelled", [same, mixed])


def posts(house: House, names: list[str], branch: str | None) -> list[Callable[[], httpx.Response]]:
    return [lambda n=n: house.admin.call("POST", PLANS, plan(n, branch)) for n in names]


@each
@pytest.mark.parametrize("branch", [None, "t1-b1"])
def test_many_make_one_plan(
    shop: House, branch: str | None, spelled: Callable[[str], list[str]]
) -> None:
    """Scenario 1: one 201, nineteen 409, one row; of all branches, of one, and in mixed case."""
    name = fresh("Gold")
    answers = at_once(posts(shop, spelled(name), branch))
    assert Counter(a.status_code for a in answers) == {201: 1, 409: CLIENTS - 1}
    (made,) = (a.json()["id"] for a in answers if a.status_code == 201)
    assert shop.rows(name) == [(made, "ACTIVE", branch)]
    assert {a.json()["message"] for a in answers if a.status_code == 409} == {policy.NAME_TAKEN}


@pytest.mark.parametrize(("branch", "spelled"), [(None, same), (None, mixed), ("t1-b1", mixed)])
def test_many_made_several(
    old: House, branch: str | None, spelled: Callable[[str], list[str]]
) -> None:
    """Before: one after the other they behave; at once they leave several rows."""
    calm = fresh("Calm")
    first, *others = [post().status_code for post in posts(old, spelled(calm)[:4], branch)]
    assert (first, set(others)) == (201, {409})
    assert any(_several(old, branch, spelled) for _ in range(ROUNDS))


def _several(old: House, branch: str | None, spelled: Callable[[str], list[str]]) -> bool:
    name = fresh("Gold")
    answers = at_once(posts(old, spelled(name), branch))
    assert {a.status_code for a in answers} <= {201, 409}
    return old.active(name) > 1


def test_before_an_archived_plan_keeps_its_name(old: House) -> None:
    """In a branch, whose key the old one sees; after, it does not (test_calls.py)."""
    made = old.admin.create(branch="t1-b1")
    old.admin.archive(made["id"])
    answer = old.admin.call("POST", PLANS, plan(made["name"], "t1-b1"))
    assert (answer.status_code, old.active(made["name"])) == (409, 0)


def test_restore_and_create_at_once(shop: House) -> None:
    """Scenario 2: exactly one ends ACTIVE, the other call gets its documented answer."""
    seen = set()
    for _ in range(12):
        name = fresh("Silver")
        made = shop.admin.create(name)["id"]
        shop.admin.archive(made)
        restored, created = at_once(
            [
                lambda own=made: shop.admin.restore(own),  # type: ignore[misc]
                lambda n=name: shop.admin.call("POST", PLANS, plan(n.upper())),  # type: ignore[misc]
            ]
        )
        assert shop.active(name) == 1
        seen.add((restored.status_code, created.status_code))
        if restored.status_code == 400:
            assert restored.json()["message"] == policy.CANNOT_RESTORE
    assert seen <= {(200, 409), (400, 201)}


def test_archive_many_times_at_once(shop: House) -> None:
    """Scenario 3: 200s, and `updatedAt` moves once."""
    made = shop.admin.create()
    answers = at_once([lambda: shop.admin.archive(made["id"])] * CLIENTS)
    assert {a.status_code for a in answers} == {200}
    assert len({a.text for a in answers}) == 1
    assert shop.admin.get(made["id"])["updatedAt"] == answers[0].json()["updatedAt"]


def test_before_archiving_moved_the_row_again(old: House) -> None:
    """Before: at once, more than one of them writes."""
    for _ in range(ROUNDS):
        made = old.admin.create()["id"]
        answers = at_once([lambda own=made: old.admin.archive(own)] * CLIENTS)  # type: ignore[misc]
        assert {a.status_code for a in answers} == {200}
        if len({a.json()["updatedAt"] for a in answers}) > 1:
            return
    raise AssertionError("the original writer has moved the row once")


def test_a_sale_and_an_archive_at_once(shop: House) -> None:
    """No member of a plan is added after it was archived: whoever is added was counted."""
    for _ in range(8):
        made = shop.admin.create()["id"]
        sales = [lambda own=made: shop.admin.enrol(own)] * 5  # type: ignore[misc]
        *sold, archived = at_once([*sales, lambda own=made: shop.admin.archive(own)])  # type: ignore[misc]
        assert {a.status_code for a in sold} <= {201, 400}
        members = shop.box.value(
            f"SELECT count(*) FROM members WHERE membership_plan_id = '{made}'"
        )
        assert archived.json()["activeMemberCount"] == members


def test_a_sale_and_a_deletion_at_once(shop: House) -> None:
    """A member always has a plan: one of the two is refused."""
    for _ in range(8):
        made = shop.admin.create()["id"]
        sold, deleted = at_once(
            [
                lambda own=made: shop.admin.enrol(own),  # type: ignore[misc]
                lambda own=made: shop.admin.delete(own),  # type: ignore[misc]
            ]
        )
        assert (sold.status_code, deleted.status_code) in {(201, 400), (400, 204)}


def test_each_writer_has_its_schema(db_url: str) -> None:
    """The original writers are not let onto the repaired schema, nor ours onto another one."""
    for state, naive, said in (
        (before(NAME, 0), False, "lacks column membership_plans.scope_key"),
        (after(NAME), True, "The original writers"),
    ):
        build(db_url, state, force=True)
        engine = open_engine(db_url)
        with pytest.raises(SystemRefusal, match=said):
            make(Serving(engine=engine, tokens=TOKENS, naive=naive))
        engine.dispose()
