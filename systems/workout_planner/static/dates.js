// Days are texts such as 2026-03-02; nothing here depends on the clock's zone.

const MS = 86_400_000;
const parse = (day) => new Date(`${day}T00:00:00Z`);
const iso = (date) => date.toISOString().slice(0, 10);
const format = (options) => {
  const said = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (day) => said.format(parse(day));
};

export const plus = (day, days) => iso(new Date(parse(day).getTime() + days * MS));
export const monday = (day) => plus(day, -((parse(day).getUTCDay() + 6) % 7));
export const month = (day) => day.slice(0, 7);
export const today = () => {
  const now = new Date();
  return iso(new Date(Date.UTC(now.getFullYear(), now.getMonth(), now.getDate())));
};

export const weekday = format({ weekday: "short" });
export const number = (day) => String(Number(day.slice(8)));
export const short = format({ weekday: "short", day: "numeric", month: "short" });
export const long = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
export const monthName = format({ month: "long", year: "numeric" });
const dayMonth = format({ day: "numeric", month: "short" });
const full = format({ day: "numeric", month: "short", year: "numeric" });

export const from_to = (days) => `${dayMonth(days[0])} – ${full(days.at(-1))}`;

/** The days that a view shows. */
export function daysOf(view, day) {
  const first = monday(view === "week" ? day : `${month(day)}-01`);
  const days = [];
  for (let at = first; view === "week" ? days.length < 7 : !filled(days, month(day)); at = plus(at, 1)) {
    days.push(at);
  }
  return days;
}

const filled = (days, shown) =>
  days.length > 7 && days.length % 7 === 0 && month(plus(days.at(-1), 1)) !== shown;

/** The same view, one step earlier or later. */
export function step(view, day, by) {
  if (view === "week") return plus(day, 7 * by);
  const first = parse(`${month(day)}-01`);
  first.setUTCMonth(first.getUTCMonth() + by);
  return iso(first);
}
