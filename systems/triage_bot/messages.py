"""What people are told, as Slack's Block Kit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from systems.triage_bot.rotation import TITLES, Duty, Override, Sprint, Team
from systems.triage_bot.severity import Level, assess

Block = dict[str, Any]
Message = dict[str, Any]

#: Whom a notice is for, where it is not a person; the settings say which channel that is.
CHANNEL, ADMINS, GROUP = "#channel", "#admins", "#group"
APPROVE, DECLINE = "override_approve", "override_decline"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be sent, once for each sprint, recipient and kind."""

    sprint_index: int
    recipient: str
    kind: str
    message: Message

    def row(self) -> dict[str, Any]:
        return asdict(self)


def escape(text: str) -> str:
    """Text of people, so that it makes no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mention(slack_id: str | None) -> str:
    return f"<@{slack_id}>" if slack_id else "_nobody_"


def section(text: str, accessory: Block | None = None) -> Block:
    more = {"accessory": accessory} if accessory else {}
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}, **more}


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text[:150]}}


def context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text[:2000]}]}


def divider() -> Block:
    return {"type": "divider"}


def button(text: str, action: str, value: str, style: str | None = None) -> Block:
    more = {"style": style} if style else {}
    return {
        "type": "button",
        "text": {"type": "plain_text", "text": text},
        "action_id": action,
        "value": value,
        **more,
    }


def day(when: date) -> str:
    """Mon 5 Jan 2026."""
    return f"{when:%a} {when.day} {when:%b %Y}"


def span(sprint: Sprint) -> str:
    return f"{day(sprint.start)} – {day(sprint.end)}"


def duty_line(duty: Duty) -> str:
    stand_in = f" (for {mention(duty.instead_of)})" if duty.instead_of else ""
    return f"*{TITLES[duty.role]}*: {mention(duty.slack_id)}{stand_in}"


def duty_lines(duties: Iterable[Duty]) -> str:
    return "\n".join(map(duty_line, duties))


def message(text: str, blocks: Sequence[Block] = ()) -> Message:
    """`text` is what a notification shows, and all where blocks are not shown."""
    return {"text": text, "blocks": list(blocks) or [section(text)]}


def on_call(title: str, sprint: Sprint, duties: Sequence[Duty]) -> Message:
    """Who is on call in a sprint."""
    about = f"{escape(sprint.name)}, {span(sprint)}"
    return message(
        f"{title}: {about}", [header(title), context(about), section(duty_lines(duties))]
    )


def roles(names: Iterable[str]) -> str:
    return " and ".join(TITLES[n] for n in names)


# -- notices ---------------------------------------------------------------------------------------


def of_transition(
    sprint: Sprint,
    duties: Sequence[Duty],
    joins: Mapping[str, list[str]],
    leaves: Mapping[str, list[str]],
) -> list[Notice]:
    """The channel, everybody who comes or goes, and the on-call group."""
    name = escape(sprint.name)
    told = [
        Notice(sprint.index, CHANNEL, "started", on_call("On call now", sprint, duties)),
        Notice(sprint.index, GROUP, "group", {}),
    ]
    for who, names in joins.items():
        text = f"You are on call as {roles(names)} from now on: {name}, {span(sprint)}."
        told.append(Notice(sprint.index, who, "joining", message(text)))
    for who, names in leaves.items():
        text = f"You are off call as {roles(names)}: {name} has begun. Thank you."
        told.append(Notice(sprint.index, who, "leaving", message(text)))
    return told


def of_announcement(sprint: Sprint, duties: Sequence[Duty]) -> list[Notice]:
    return [Notice(sprint.index, CHANNEL, "announced", on_call("On call tomorrow", sprint, duties))]


def of_request(override: Override, sprint: Sprint, audit: int) -> list[Notice]:
    """The administrators, with the two buttons."""
    blocks = [
        header("Override requested"),
        section(request_text(override, sprint)),
        {
            "type": "actions",
            "block_id": f"override:{override.id}",
            "elements": [
                button("Approve", APPROVE, answer_value(override), "primary"),
                button("Decline", DECLINE, answer_value(override), "danger"),
            ],
        },
    ]
    text = f"{mention(override.requested_by)} asks to be replaced in {escape(sprint.name)}"
    return [Notice(sprint.index, ADMINS, f"request:{audit}", message(text, blocks))]


def answer_value(override: Override) -> str:
    """What a button carries: which request, and the key that its writes are ordered by."""
    return f"{override.id}:{override.sprint_index}:{override.role}"


def request_text(override: Override, sprint: Sprint) -> str:
    reason = f"\n>{escape(override.reason)}" if override.reason else ""
    return (
        f"{mention(override.requested_by)} asks that {mention(override.replacement)} takes"
        f" *{TITLES[override.role]}* in *{escape(sprint.name)}* ({span(sprint)}).{reason}"
    )


def of_answer(override: Override, sprint: Sprint, audit: int) -> list[Notice]:
    """Who asked; and who stands in now."""
    what = f"{TITLES[override.role]} in {escape(sprint.name)} ({span(sprint)})"
    answered = f"{override.status} by {mention(override.answered_by)}"
    asked = f"Your override was {answered}: {mention(override.replacement)} for {what}."
    kind = f"answer:{audit}"
    told = [Notice(sprint.index, override.requested_by, kind, message(asked))]
    if override.status == "approved":
        text = f"You stand in for {mention(override.original)} as {what}."
        told.append(Notice(sprint.index, override.replacement, f"stand-in:{audit}", message(text)))
    return told


def answered(override: Override, sprint: Sprint | None) -> Message:
    """What takes the place of the buttons."""
    text = f"*{override.status.capitalize()}* by {mention(override.answered_by)}"
    said = request_text(override, sprint) if sprint else ""
    return message(f"Override {override.status}", [section(said or text), context(text)])


def assessment(team: Team, today: date, said: str, levels: Sequence[Level]) -> Message:
    """Who is on call; or, of a message that says what is wrong, how severe it is."""
    sprint = team.sprint(team.current) or team.sprint_on(today)
    if sprint is None:
        return message(f"There is no sprint on {day(today)}.")
    duties = team.duties(sprint.index)
    if not said.strip() or "on call" in said.lower() or "on-call" in said.lower():
        return on_call("On call now", sprint, duties)
    level, words = assess(said, levels)
    found = f"Because of: {', '.join(words)}" if words else "No word of the guidelines was found."
    call = [d for d in duties if d.role in level.call]
    text = f"{level.name} ({level.title}): answer within {level.respond}"
    return message(text, [section(f"*{text}*\n{duty_lines(call)}"), context(escape(found))])
