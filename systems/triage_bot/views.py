"""Modals and App Home, as Slack's views. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from systems.triage_bot import rotation
from systems.triage_bot.messages import (
    Block,
    button,
    context,
    day,
    divider,
    duty_lines,
    escape,
    header,
    mention,
    section,
    span,
)
from systems.triage_bot.rotation import TITLES, Duty, Person, Sprint, Team
from systems.triage_bot.schema import DISCIPLINES
from systems.triage_bot.snapshot import Snapshot

View = dict[str, Any]

SCHEDULE, OVERRIDE = "schedule", "override"
USERS, PLACES, SPRINTS = "admin_users", "admin_disciplines", "admin_sprints"
TOGGLE, ENTER, ASK = "person_toggle", "sprint_enter", "ask_override"
MOST_OPTIONS = 100  #: of a select; Slack takes no more
MOST_LISTED = 60  #: Slack takes 100 blocks of a view


def modal(callback: str, title: str, blocks: Sequence[Block], submit: str | None = None) -> View:
    more = {"submit": _plain(submit)} if submit else {}
    return {
        "type": "modal",
        "callback_id": callback,
        "title": _plain(title),
        "close": _plain("Close"),
        "blocks": list(blocks),
        **more,
    }


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text[:75]}


def _input(block: str, label: str, element: Block, *, optional: bool = False) -> Block:
    return {
        "type": "input",
        "block_id": block,
        "label": _plain(label),
        "element": {"action_id": "value", **element},
        "optional": optional,
    }


def _select(options: Iterable[tuple[str, str]], placeholder: str = "Choose") -> Block:
    """Of pairs of text and value."""
    shown = [{"text": _plain(text), "value": value} for text, value in options]
    return {
        "type": "static_select",
        "placeholder": _plain(placeholder),
        "options": shown[:MOST_OPTIONS],
    }


def _date(initial: date | None = None) -> Block:
    more = {"initial_date": initial.isoformat()} if initial else {}
    return {"type": "datepicker", **more}


def _stale(found: Snapshot) -> list[Block]:
    if not found.stale:
        return []
    return [context(f":warning: The database is away; this is as of {found.at:%d %b %H:%M} UTC.")]


# -- the schedule ----------------------------------------------------------------------------------


def schedule(today: date) -> View:
    """Asks for a day."""
    return modal(SCHEDULE, "Who is on call?", [_input("day", "Day", _date(today))], "Show")


def schedule_of(found: Snapshot, when: date) -> View:
    """Takes its place."""
    sprint, duties = found.team.on_call(when)
    return modal(SCHEDULE, "Who is on call?", [*on_day(sprint, duties, when), *_stale(found)])


def on_day(sprint: Sprint | None, duties: Sequence[Duty], when: date) -> list[Block]:
    if sprint is None:
        return [section(f"There is no sprint on {day(when)}.")]
    about = context(f"{escape(sprint.name)}, {span(sprint)}")
    return [header(day(when)), about, section(duty_lines(duties))]


# -- overrides -------------------------------------------------------------------------------------


def override(shifts: Sequence[tuple[Sprint, str]]) -> View:
    """Asks which shift, who instead, and why."""
    if not shifts:
        text = "You are not on call in any sprint that is laid, so there is nothing to override."
        return modal(OVERRIDE, "Ask for an override", [section(text)])
    options = [
        (f"{s.name} · {TITLES[r]} · from {s.start.day} {s.start:%b}", f"{s.index}:{r}")
        for s, r in shifts
    ]
    person = {"type": "users_select", "placeholder": _plain("Choose somebody")}
    reason = {"type": "plain_text_input", "multiline": True, "max_length": 2000}
    return modal(
        OVERRIDE,
        "Ask for an override",
        [
            _input("shift", "Your shift", _select(options)),
            _input("replacement", "Who takes it", person),
            _input("reason", "Why", reason, optional=True),
        ],
        "Send",
    )


# -- administrators --------------------------------------------------------------------------------


def users(team: Team) -> View:
    """Everybody, each with a button; and a form for one more."""
    listed = [_person(p) for d in DISCIPLINES for p in team.people if p.discipline == d]
    person = {"type": "users_select", "placeholder": _plain("Choose somebody")}
    text = {"type": "plain_text_input", "max_length": 200}
    more = [context(f"{len(listed) - MOST_LISTED} more are not shown.")]
    return modal(
        USERS,
        "People",
        [
            _input("person", "Person", person),
            _input("name", "Name", text),
            _input("discipline", "Discipline", _select((TITLES[d], d) for d in DISCIPLINES)),
            divider(),
            *listed[:MOST_LISTED],
            *(more if len(listed) > MOST_LISTED else []),
        ],
        "Add",
    )


def _person(person: Person) -> Block:
    word = "Deactivate" if person.active else "Activate"
    value = f"{person.slack_id}:{person.discipline}:{'off' if person.active else 'on'}"
    state = "" if person.active else " _(inactive)_"
    text = f"{mention(person.slack_id)} {escape(person.name)} · {TITLES[person.discipline]}{state}"
    return section(text, button(word, TOGGLE, value))


def places(team: Team) -> View:
    """The rosters in their order; and a form that moves somebody."""
    people = [p for d in DISCIPLINES for p in team.roster(d)]
    options = [
        (f"{p.name} · {TITLES[p.discipline]}", f"{p.slack_id}:{p.discipline}") for p in people
    ]
    rosters = [section(f"*{TITLES[d]}*\n{_roster(team, d)}") for d in DISCIPLINES]
    if not people:
        return modal(PLACES, "Disciplines", [section("Nobody is active."), *rosters])
    number = {"type": "number_input", "is_decimal_allowed": False, "min_value": "0"}
    return modal(
        PLACES,
        "Disciplines",
        [
            _input("person", "Person", _select(options)),
            _input("position", "Position", number),
            divider(),
            *rosters,
        ],
        "Move",
    )


def _roster(team: Team, discipline: str) -> str:
    lines = [
        f"{p.position}. {mention(p.slack_id)} {escape(p.name)}" for p in team.roster(discipline)
    ]
    return "\n".join(lines) or "_nobody_"


def sprints(team: Team, today: date) -> View:
    """What is laid and what is wrong with it; a form for one more, and the next one to enter."""
    last = max(team.sprints, key=lambda s: s.index, default=None)
    start = last.end + rotation.DAY if last else today
    name = {"type": "plain_text_input", "max_length": 200}
    following = team.sprint((rotation.NONE_YET if team.current is None else team.current) + 1)
    return modal(
        SPRINTS,
        "Sprints",
        [
            _input("name", "Name", name),
            _input("start", "First day", _date(start)),
            _input("end", "Last day", _date(start + 13 * rotation.DAY)),
            divider(),
            *([_enter(following)] if following else []),
            *(_sprint(s, team.current) for s in team.coming(today)[:MOST_LISTED]),
            *(context(f":warning: {escape(flaw)}") for flaw in rotation.flaws(team)[:10]),
        ],
        "Add",
    )


def _enter(sprint: Sprint) -> Block:
    text = f"*{escape(sprint.name)}* is next. It begins by itself at 8:00 on {day(sprint.start)}."
    return section(text, button("Enter it now", ENTER, str(sprint.index - 1)))


def _sprint(sprint: Sprint, current: int | None) -> Block:
    mark = " :white_check_mark:" if sprint.index == current else ""
    return section(f"*{escape(sprint.name)}*{mark}  {span(sprint)}")


# -- home ------------------------------------------------------------------------------------------


def home(found: Snapshot, who: str, today: date) -> View:
    """On call now and next, and one's own shifts."""
    team = found.team
    now = team.sprint(team.current) or team.sprint_on(today)
    following = team.sprint(now.index + 1) if now else None
    shifts = team.shifts(who, today)
    lines = [f"*{TITLES[r]}* in {escape(s.name)}, {span(s)}" for s, r in shifts[:20]]
    ask = button("Ask for an override", ASK, "home", "primary")
    blocks = [
        *_stale(found),
        header("On call now"),
        *(_on_call(team, now) if now else [section("No sprint has begun.")]),
        divider(),
        header("Next"),
        *(_on_call(team, following) if following else [section("No further sprint is laid.")]),
        divider(),
        header("Your shifts"),
        section("\n".join(lines) or "You are not on call in any sprint that is laid."),
        *([{"type": "actions", "elements": [ask]}] if shifts else []),
    ]
    return {"type": "home", "blocks": blocks}


def _on_call(team: Team, sprint: Sprint) -> list[Block]:
    duties = team.duties(sprint.index)
    return [context(f"{escape(sprint.name)}, {span(sprint)}"), section(duty_lines(duties))]
