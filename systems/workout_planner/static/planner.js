// The page: what is shown, what a move does, and how it is taken back.

import * as api from "./api.js";
import { carrying } from "./carry.js";
import * as dates from "./dates.js";
import * as details from "./details.js";
import { changed, changes, previous } from "./model.js";
import { tell } from "./toast.js";
import * as view from "./view.js";

const page = document.getElementById("planner");
const button = (id) => document.getElementById(id);
const apart = "naive" in page.dataset;
const asked = new URLSearchParams(location.search);
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "");

const state = {
  view: asked.get("view") ?? (matchMedia("(max-width: 48rem)").matches ? "week" : "month"),
  day: isDay(asked.get("day")) ? asked.get("day") : page.dataset.day || dates.today(),
  days: [], items: new Map(), busy: new Set(), undo: null, preview: null,
};
if (!["month", "week"].includes(state.view)) state.view = "month";

// -- showing -------------------------------------------------------------------------------------

let hand = false;
let late = false;
let sortables = [];
let asking = 0;

async function show(day = state.day, which = state.view) {
  Object.assign(state, { day, view: which, days: dates.daysOf(which, day) });
  history.replaceState(null, "", `?${new URLSearchParams({ view: which, day })}`);
  for (const name of ["month", "week"]) {
    button(`view-${name}`).setAttribute("aria-pressed", String(name === which));
  }
  const shown = dates.daysOf("month", day);
  const mine = ++asking;
  drawAll();
  try {
    const items = await api.load(state.days[0], state.days.at(-1), shown[0], shown.at(-1));
    if (mine !== asking) return;
    const held = state.preview && state.items.get(state.preview.key);
    state.items = new Map([...(held ? [held] : []), ...items].map((item) => [item.key, item]));
  } catch (refused) {
    failed("The calendar could not be loaded", refused);
  }
  button("tray-hint").textContent = `Planned for ${dates.from_to(shown)}.`;
  button("export").href = "/api/export/calendar.ics";
  fillAll();
}

function drawAll() {
  const focused = view.focusedKey();
  for (const sortable of sortables) sortable.destroy();
  sortables = view.draw(state.view, state.day, state.days).map(droppable);
  fillAll(focused);
}

/** Not while a card is in somebody's hand: the answer of another save would tear it away. */
function fillAll(focused = view.focusedKey()) {
  late = hand;
  if (hand) return;
  const { key, place } = state.preview ?? {};
  const items = [...state.items.values()].map((item) => (item.key === key ? changed(item, place) : item));
  view.fill(items, { busy: state.busy, carried: key }, key ?? focused);
}

// -- moving --------------------------------------------------------------------------------------

function droppable(zone) {
  return new Sortable(zone, {
    group: { name: "workouts", put: (to, _from, card) => takes(to.el, card) },
    draggable: ".workout:not(.busy)",
    sort: false, animation: 120, forceFallback: true, fallbackOnBody: true, fallbackTolerance: 4,
    delay: 150, delayOnTouchOnly: true, scrollSensitivity: 60,
    onChoose: () => { hand = true; },
    onUnchoose: () => {
      hand = false;
      setTimeout(() => late && fillAll());
    },
    onStart: () => { page.classList.add("dragging"); dragged = true; },
    onEnd: ({ item, originalEvent }) => {
      page.classList.remove("dragging");
      setTimeout(() => { dragged = false; });
      const zone = zoneUnder(originalEvent);
      if (zone && takes(zone, item)) move(item.dataset.key, placeOf(zone));
      else fillAll();
    },
  });
}

let dragged = false;

/** Where the card is let go; what it was last over may be another place, or none that is wanted. */
function zoneUnder(event) {
  const { clientX, clientY } = event.changedTouches?.[0] ?? event;
  const place = document.elementFromPoint(clientX, clientY)?.closest(".cell, .tray");
  return place?.querySelector(".zone");
}

const takes = (zone, card) => !("tray" in zone.dataset && card.classList.contains("own"));

function placeOf(zone) {
  const { day, slot, tray } = zone.dataset;
  if (tray !== undefined) return { scheduled: false };
  return { scheduled: true, day, ...(slot === undefined ? {} : { slot: slot || null }) };
}

/** Show a move at once, send what it changes, and take the card back when it is refused. */
async function move(key, place) {
  const before = state.items.get(key);
  const fields = changes(before, place);
  if (Object.keys(fields).length === 0) return fillAll();
  try {
    await write(before, changed(before, place), () => api.save(before, fields, apart));
  } catch (refused) {
    return failed(`“${before.title}” was not saved and is back: ${view.describe(before)}`, refused);
  }
  const undo = () => takeBack(key, before);
  offer(undo);
  tell(`“${before.title}”: ${view.describe(state.items.get(key))}.`, { undo });
}

/** The item as it will be, then as the server tells it, or as it was. */
async function write(before, meanwhile, work) {
  state.items.set(before.key, meanwhile);
  state.busy.add(before.key);
  fillAll();
  try {
    state.items.set(before.key, await work());
  } catch (refused) {
    state.items.set(before.key, before);
    throw refused;
  } finally {
    state.busy.delete(before.key);
    fillAll();
  }
}

async function takeBack(key, before) {
  offer(null);
  const now = state.items.get(key) ?? before;
  const fresh = before.kind === "plan" && before.row.selection === null;
  const work = () => (fresh ? api.reset(now) : api.save(now, changes(now, previous(before)), apart));
  try {
    await write(now, before, work);
    tell(`“${before.title}” is back: ${view.describe(before)}.`);
  } catch (refused) {
    failed(`“${before.title}” could not be moved back`, refused);
  }
}

function offer(undo) {
  state.undo = undo;
  button("undo").disabled = !undo;
}

function failed(said, refused) {
  if (!(refused instanceof api.Refused)) throw refused;
  tell(`${said}. ${refused.message}`, { failed: true });
}

carrying({
  item: (key) => state.items.get(key),
  view: () => state.view,
  days: () => state.days,
  show,
  preview(key, place) {
    state.preview = place && { key, place };
    fillAll(key);
    say(place ? view.describe(place) : "Put back.");
  },
  settle(key, place) {
    state.preview = null;
    move(key, place);
    say(`Put down: ${view.describe(place)}`);
  },
  say,
});

function say(text) {
  button("live").textContent = text;
}

// -- details -------------------------------------------------------------------------------------

page.addEventListener("click", (event) => {
  const key = event.target.closest(".workout")?.dataset.key;
  if (key && !dragged && !state.preview && !state.busy.has(key)) openDetails(state.items.get(key));
});

function openDetails(item) {
  const takeOff = item.kind === "own" ? () => erase(item) : () => put(item, { scheduled: false });
  details.open(item, { save: (wanted) => put(item, wanted), off: item.scheduled ? takeOff : undefined });
}

async function put(item, wanted) {
  const fields = changes(item, wanted);
  if (Object.keys(fields).length === 0) return;
  await write(item, item, () => api.save(item, fields, apart));
  offer(null);
  tell(`“${item.title}” is saved.`);
}

async function erase(item) {
  await api.remove(item);
  state.items.delete(item.key);
  offer(null);
  fillAll();
  tell(`“${item.title}” is deleted.`);
}

button("add").addEventListener("click", () => {
  const day = state.days.includes(dates.today()) ? dates.today() : state.day;
  const blank = { kind: "own", title: "", type: "", hours: "", day, slot: null, place: "", notes: "", scheduled: true };
  details.open(blank, { title: "A workout of my own", save: async (wanted) => {
    const made = await api.create({
      title: wanted.title, workoutType: wanted.type || null, description: wanted.notes || null,
      plannedDate: wanted.day, plannedDuration: wanted.hours === "" ? null : wanted.hours,
      timeOfDay: wanted.slot, workoutLocation: wanted.place || null,
    });
    state.items.set(made.key, made);
    fillAll();
    tell(`“${made.title}”: ${view.describe(made)}.`);
  } });
});

// -- tools ---------------------------------------------------------------------------------------

button("back").addEventListener("click", () => show(dates.step(state.view, state.day, -1)));
button("on").addEventListener("click", () => show(dates.step(state.view, state.day, 1)));
button("today").addEventListener("click", () => show(dates.today()));
button("view-month").addEventListener("click", () => show(state.day, "month"));
button("view-week").addEventListener("click", () => show(state.day, "week"));
button("undo").addEventListener("click", () => state.undo?.());
button("import").addEventListener("click", () => button("file").click());
button("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  try {
    const { imported, skipped, errors } = await api.importPlan(file);
    await show();
    const bad = errors.map(({ line, message }) => `Line ${line}: ${message}.`);
    const said = `${imported} imported, ${skipped} there already, ${errors.length} left out.`;
    tell([said, ...bad.slice(0, 5)].join("\n"), { failed: bad.length > 0 });
  } catch (refused) {
    failed("The plan was not imported", refused);
  }
});

show();
