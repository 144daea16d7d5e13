"""What the servers of all systems share, on an application with a call or two."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from systems.shared.address import open_engine
from systems.shared.errors import SystemFailure
from systems.shared.web.application import Serving, make_app
from systems.shared.web.errors import PLAIN, Fault
from systems.shared.web.fields import Id, Model, Words
from systems.shared.web.pages import Pages
from systems.shared.web.schema import lacking
from systems.shared.web.session import COOKIE, CSRF_HEADER, SignedIn
from systems.shared.web.tokens import SECRET, Claims, Tokens
from tests.systems.serving import KEY, TOKENS, in_thread
from tests.systems.support import after, before, made

LIMIT = 1000


class Body(Model):
    some_number: Id
    text: Words = ""


def application(engine: sa.Engine) -> FastAPI:
    serving = Serving(engine=engine, tokens=TOKENS)
    app = make_app(serving, title="Probe", description="", most_bytes=LIMIT)
    pages = Pages("Probe <1>", Path(__file__).parent, TOKENS, Claims)
    pages.install(app)
    signed_in = SignedIn(TOKENS, Claims)

    @app.post("/things", responses=PLAIN.documented(409))
    def add(body: Body, who: Claims = Depends(signed_in)) -> dict[str, Any]:
        if body.some_number == 9:
            raise Fault(409, "taken", more={"stored": {"someNumber": 9}})
        return {"sub": who.sub}

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("hush")

    @app.get("/nul")
    def refused() -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO nulls VALUES (NULL)"))

    @app.get("/", response_class=Response)
    def page(request: Request) -> Response:
        return pages.render(request, "base.html", who=pages.signed_in(request).sub)

    return app


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application behind a real server, in a thread."""
    file = tmp_path_factory.mktemp("probe") / "probe.sqlite3"
    engine = open_engine(f"sqlite:///{file}", create=True, connections=2)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE nulls (n integer NOT NULL)"))
    with in_thread(application(engine)) as found:
        yield found
    engine.dispose()


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        yield client


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "anna", "exp": time.time() + 3600, **claims}, KEY, algorithm="HS256")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


GOOD = {"someNumber": 1}


def test_a_token_lets_in(http: httpx.Client) -> None:
    """One that was signed with the secret and has not expired."""
    answer = http.post("/things", json=GOOD, headers=bearer(token()))
    assert (answer.status_code, answer.json()) == (200, {"sub": "anna"})
    minted = TOKENS.mint(Claims(sub="bert"))
    assert http.post("/things", json=GOOD, headers=bearer(minted)).json() == {"sub": "bert"}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "A bearer token is needed."),
        ({"Authorization": "Basic abc"}, "A bearer token is needed."),
        (bearer("no.token.at-all"), "The token is not valid."),
        (bearer(token(exp=time.time() - 5)), "The token has expired."),
        (bearer(jwt.encode({"sub": "a"}, KEY, algorithm="HS256")), "The token lacks 'exp'."),
        (bearer(jwt.encode({"exp": 9e9}, KEY, algorithm="HS256")), "The token lacks 'sub'."),
        (bearer(token(sub=7)), "The token is not valid."),
        (bearer(token(sub="")), "The token does not say, or says wrongly: sub."),
        (bearer(token(sub="a\0b")), "The token does not say, or says wrongly: sub."),
        (bearer(jwt.encode({"sub": "a", "exp": 9e9}, "x" * 40)), "The token is not valid."),
        (bearer(jwt.encode({"sub": "a", "exp": 9e9}, KEY, "HS384")), "The token is not valid."),
        (bearer(jwt.encode({"sub": "a", "exp": 9e9}, None, "none")), "The token is not valid."),
    ],
)
def test_no_other_token_does(http: httpx.Client, headers: dict[str, str], said: str) -> None:
    """Expiry, subject, signature and algorithm are looked at; the answer is 401, and says why."""
    answer = http.post("/things", json=GOOD, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "UNAUTHORIZED", "message": said}
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("secret", [None, "", "x" * 31])
def test_no_start_without_a_secret(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    """One that is missing or short is told, and how to make one."""
    monkeypatch.delenv(SECRET, raising=False)
    if secret is not None:
        monkeypatch.setenv(SECRET, secret)
    with pytest.raises(SystemFailure, match="openssl rand -hex 32"):
        Tokens.from_environment()


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("DELETE", "/things", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/broken", 500, "INTERNAL"),
        ("GET", "/nul", 400, "BAD_REQUEST"),
        ("GET", "/static/shared/nowhere.css", 404, "NOT_FOUND"),
    ],
)
def test_every_error_has_one_form(
    http: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    """Whoever made it; and tells nothing of the inside."""
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["message"]
    assert "hush" not in answer.text
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"someNumber": 0}', "someNumber"),
        (b'{"someNumber": 99999999999}', "someNumber"),
        (b'{"someNumber": 1, "text": "secret\\u0000"}', "text"),
        (b'{"someNumber": 1, "other": 1}', "other"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"", "body"),
    ],
)
def test_a_bad_body_is_400(http: httpx.Client, content: bytes, field: str) -> None:
    """With the field at fault, and without what was sent."""
    headers = bearer(token()) | {"Content-Type": "application/json"}
    answer = http.post("/things", content=content, headers=headers)
    assert answer.status_code == 400
    told = answer.json()
    assert field in str(told.get("details", field))
    assert "secret" not in answer.text


def test_a_fault_tells_more(http: httpx.Client) -> None:
    """Such as what is stored."""
    answer = http.post("/things", json={"someNumber": 9}, headers=bearer(token()))
    assert answer.json() == {"error": "CONFLICT", "message": "taken", "stored": {"someNumber": 9}}


def test_no_422_in_the_document(http: httpx.Client) -> None:
    """The errors that are documented are those that are given, in the form that they have."""
    document = http.get("/openapi.json").json()
    answers = document["paths"]["/things"]["post"]["responses"]
    assert list(answers) == ["200", "400", "401", "403", "405", "409", "413", "500", "503"]
    schema = answers["409"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/PlainError"}
    assert "PlainError" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert list(document["paths"]["/health"]["get"]["responses"]) == [
        "200",
        "405",
        "413",
        "500",
        "503",
    ]


def test_a_large_request_is_413(http: httpx.Client) -> None:
    """Told by its length, or found while it comes in pieces."""

    def pieces() -> Iterator[bytes]:
        yield b'{"someNumber": 1, "text": "'
        for _ in range(20):
            yield b"x" * 100
        yield b'"}'

    headers = bearer(token()) | {"Content-Type": "application/json"}
    fits = http.post("/things", content=(p for p in pieces() if p[:2] != b"xx"), headers=headers)
    assert fits.status_code == 200
    whole = http.post("/things", content=b"".join(pieces()), headers=headers)
    chunked = http.post("/things", content=pieces(), headers=headers)
    form = http.post("/login", data={"token": "x" * LIMIT})
    for answer in (whole, chunked, form):
        assert (answer.status_code, answer.json()["error"]) == (413, "TOO_LARGE")


def test_health_and_metrics(http: httpx.Client) -> None:
    """200 with JSON; the metrics know the routes that were asked, and no others."""
    assert http.get("/health").json() == {"status": "ok"}
    http.get("/invented/by/a/client")
    text = http.get("/metrics").text
    assert 'http_requests_total{method="GET",route="/health",status="200"} 1.0' in text
    assert "onerow_transactions_total" in text
    assert "invented" not in text


# -- pages --------------------------------------------------------------------------------------


def signed_in(http: httpx.Client) -> None:
    answer = http.post("/login", data={"token": f" {token()}\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in (f"{COOKIE}=", "HttpOnly", "SameSite=strict", "Max-Age="))


def test_a_page_asks_to_sign_in(http: httpx.Client) -> None:
    """Until a token is in the cookie; a bad one is not taken."""
    assert http.get("/").headers["location"] == "/login"
    assert "<textarea" in http.get("/login").text
    refused = http.post("/login", data={"token": "<b>"})
    assert refused.status_code == 401
    assert "The token is not valid." in refused.text
    signed_in(http)
    page = http.get("/")
    assert page.status_code == 200
    assert "Probe &lt;1&gt;" in page.text
    assert "anna" in page.text


def test_a_cookie_alone_does_not_write(http: httpx.Client) -> None:
    """Another site can make a browser send it, but cannot read the page."""
    signed_in(http)
    refused = http.post("/things", json=GOOD)
    assert (refused.status_code, refused.json()["error"]) == (403, "CSRF")
    csrf = {CSRF_HEADER: TOKENS.csrf(http.cookies[COOKIE])}
    assert csrf[CSRF_HEADER] in http.get("/").text
    assert http.post("/things", json=GOOD, headers=csrf).status_code == 200
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert http.post("/things", json=GOOD, headers=csrf | foreign).status_code == 403
        assert http.post("/login", data={"token": token()}, headers=foreign).status_code == 403
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": str(http.base_url).rstrip("/")}
    assert http.post("/things", json=GOOD, headers=csrf | ours).status_code == 200


def test_signing_out(http: httpx.Client) -> None:
    """Takes the page's own field, and the cookie is gone."""
    signed_in(http)
    assert http.post("/logout").status_code == 403
    done = http.post("/logout", data={"csrf_token": TOKENS.csrf(http.cookies[COOKIE])})
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert COOKIE not in http.cookies


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/static/shared/base.css", "/broken"])
def test_what_a_page_may_do(http: httpx.Client, path: str) -> None:
    """Scripts and styles are our own files; nobody frames us; nothing is kept but files."""
    headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    kept = "no-cache" if path.startswith("/static") else "no-store"
    assert headers["cache-control"] == kept


# -- the database -------------------------------------------------------------------------------


def test_what_a_database_lacks(db_url: str) -> None:
    """Tables, columns and unique keys, by the columns of these."""
    made(db_url, before("execution_data", 4))
    engine = open_engine(db_url)
    assert lacking(engine, before("execution_data", 4).schema) == []
    assert lacking(engine, after("execution_data").schema) == [
        "column execution_data.facility_id",
        "unique key execution_data(activity_id, facility_id, reporting_period_id)",
    ]
    assert lacking(engine, after("workout_planner").schema)[0].startswith("table ")
    engine.dispose()


def test_a_server_reads_while_it_writes(sqlite_url: str) -> None:
    """SQLite: WAL, foreign keys, and no more connections than were asked for."""
    engine = open_engine(sqlite_url, connections=3)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
    assert engine.pool.size() == 3  # type: ignore[attr-defined]
    engine.dispose()
