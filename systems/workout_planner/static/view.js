// The calendar and the tray as elements.

import * as dates from "./dates.js";
import { SLOTS, SLOT_NAMES, clock } from "./model.js";

const KINDS = ["swim", "bike", "run", "strength"];
const grid = document.getElementById("grid");
const tray = document.getElementById("tray");
const template = document.getElementById("card");

function element(tag, classes, text) {
  const made = document.createElement(tag);
  made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

function zone(day, slot) {
  const made = element("ul", "zone");
  made.dataset.day = day;
  if (slot !== undefined) made.dataset.slot = slot ?? "";
  const named = slot === undefined ? "" : `, ${SLOT_NAMES[slot].toLowerCase()}`;
  made.setAttribute("aria-label", dates.long(day) + named);
  return made;
}

/** Draw an empty calendar; its zones. */
export function draw(view, day, days) {
  grid.replaceChildren();
  grid.className = view;
  document.getElementById("range").textContent =
    view === "week" ? dates.from_to(days) : dates.monthName(day);
  (view === "week" ? drawWeek : drawMonth)(day, days);
  return [...grid.querySelectorAll(".zone"), tray];
}

function head(day, withNumber) {
  const made = element("div", "head");
  made.append(element("span", "weekday", dates.weekday(day)));
  if (withNumber) made.append(element("span", "number", dates.number(day)));
  if (withNumber && day === dates.today()) made.classList.add("today");
  return made;
}

function drawMonth(shown, days) {
  grid.append(...days.slice(0, 7).map((day) => head(day, false)));
  for (const day of days) {
    const cell = element("div", "cell");
    cell.classList.toggle("outside", dates.month(day) !== dates.month(shown));
    cell.classList.toggle("today", day === dates.today());
    const named = element("div", "date");
    named.append(element("span", "weekday", dates.weekday(day)), element("span", "number", dates.number(day)));
    cell.append(named, zone(day));
    grid.append(cell);
  }
}

function drawWeek(_shown, days) {
  grid.append(element("div", "corner"), ...days.map((day) => head(day, true)));
  for (const slot of SLOTS) {
    grid.append(element("div", "slot-name", SLOT_NAMES[slot]));
    for (const [at, day] of days.entries()) {
      const cell = element("div", `cell column-${at + 1}`);
      cell.append(element("span", "slot-label", SLOT_NAMES[slot]), zone(day, slot));
      grid.append(cell);
    }
  }
}

export const focusedKey = () => document.activeElement?.closest?.(".workout")?.dataset.key;

/** Put the cards where they belong; `focused` has the focus afterwards. */
export function fill(items, state, focused) {
  for (const list of document.querySelectorAll(".zone")) list.replaceChildren();
  for (const item of [...items].sort(order)) {
    zoneOf(item)?.append(card(item, state));
  }
  const waiting = items.filter((item) => !item.scheduled).length;
  document.getElementById("tray-count").textContent = waiting || "";
  tray.classList.toggle("empty", waiting === 0);
  if (focused) faceOf(focused)?.focus({ preventScroll: true });
}

const order = (a, b) =>
  a.day.localeCompare(b.day) || SLOTS.indexOf(a.slot) - SLOTS.indexOf(b.slot) || a.key.localeCompare(b.key);

function zoneOf(item) {
  if (!item.scheduled) return tray;
  const here = `.zone[data-day="${item.day}"]`;
  return grid.querySelector(`${here}[data-slot="${item.slot ?? ""}"]`) ?? grid.querySelector(here);
}

export const faceOf = (key) => document.querySelector(`[data-key="${key}"] .face`);

function card(item, { busy, carried }) {
  const made = template.content.cloneNode(true).firstElementChild;
  const kind = (item.type ?? "").toLowerCase();
  made.dataset.key = item.key;
  made.dataset.kind = KINDS.includes(kind) ? kind : "other";
  made.classList.toggle("own", item.kind === "own");
  made.classList.toggle("busy", busy.has(item.key));
  made.classList.toggle("carried", item.key === carried);
  made.querySelector(".title").textContent = item.title;
  made.querySelector(".meta").textContent = facts(item).join(" · ");
  made.querySelector(".face").title = item.title;
  return made;
}

/** The few words under a title: what its place does not say already, as far as there is room. */
function facts(item) {
  const inMonth = item.scheduled && grid.className === "month";
  const first = inMonth ? item.slot && SLOT_NAMES[item.slot] : !item.scheduled && dates.short(item.day);
  return [first, inMonth && first ? "" : item.type, clock(item.hours)].filter(Boolean);
}

export function describe(place) {
  if (place.scheduled === false) return "not scheduled";
  const slot = place.slot ? `, ${SLOT_NAMES[place.slot].toLowerCase()}` : "";
  return `${dates.short(place.day)}${slot}`;
}
