// The heat map: drawn once, then changed in place, so that focus and scrolling stay.

import { attempt, call } from "./call.js";

const EVERY = 2_000;
const PAGE = 50;
const at = (id) => document.getElementById(id);
const map = at("map");
const marks = JSON.parse(map.dataset.marks);
let offset = Math.max(0, Number(new URLSearchParams(location.search).get("offset")) || 0);
let timer;

// -- drawing ----------------------------------------------------------------------------------

function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  made.className = classes;
  made.textContent = text;
  return made;
}

function address(week) {
  return week.executionId ? `/show/executions/${week.executionId}` : `/show/weeks/${week.id}`;
}

function told(week) {
  const without = week.status === "completed" && !week.executionId ? ", execution not known" : "";
  return `${week.start} to ${week.end}: ${week.status}${without}`;
}

function drawWeek(cell, week) {
  const state = `${week.status} ${week.executionId}`;
  if (cell.dataset.state === state) return;
  cell.dataset.state = state;
  const untold = week.status === "completed" && !week.executionId;
  cell.className = `cell ${week.status}${untold ? " untold" : ""}`;
  cell.textContent = marks[week.status] ?? "?";
  cell.href = address(week);
  cell.setAttribute("aria-label", told(week));
  cell.title = told(week);
}

function drawWeeks(box, weeks) {
  const there = new Map([...box.children].map((cell) => [cell.dataset.id, cell]));
  weeks.forEach((week, place) => {
    const cell = there.get(week.id) ?? element("a");
    there.delete(week.id);
    cell.dataset.id = week.id;
    drawWeek(cell, week);
    if (box.children[place] !== cell) box.insertBefore(cell, box.children[place] ?? null);
  });
  for (const gone of there.values()) gone.remove();
  if (!box.querySelector('[tabindex="0"]')) [...box.children].forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
  for (const cell of box.querySelectorAll(".cell:not([tabindex])")) cell.tabIndex = -1;
}

function newStrip(collection) {
  const strip = element("section", "strip card");
  strip.id = `c-${collection.id}`;
  const head = element("header");
  const title = element("h2", "", collection.name);
  title.id = `t-${collection.id}`;
  strip.setAttribute("aria-labelledby", title.id);
  const act = element("button", "quiet");
  act.type = "button";
  act.addEventListener("click", () => move(collection.id, act.dataset.verb));
  head.append(title, element("span", "told"), act);
  strip.append(head, element("div", "weeks"));
  return strip;
}

function drawStrip(strip, collection) {
  const done = collection.weeks.filter((week) => week.status === "completed").length;
  const wrong = collection.weeks.filter((week) => week.status === "failed").length;
  const failed = wrong ? `, ${wrong} failed` : "";
  strip.querySelector(".told").textContent =
    `${collection.instanceId} · ${collection.status} · ${done} of ${collection.weeks.length} completed${failed}`;
  const act = strip.querySelector("button");
  const paused = collection.status === "paused";
  act.hidden = ["completed", "failed"].includes(collection.status);
  act.dataset.verb = paused ? "resume" : "pause";
  act.textContent = paused ? "Resume" : "Pause";
  act.setAttribute("aria-label", `${act.textContent} ${collection.name}`);
  drawWeeks(strip.querySelector(".weeks"), collection.weeks);
}

function draw({ collections, total }) {
  const there = new Map([...map.children].map((strip) => [strip.id, strip]));
  collections.forEach((collection, place) => {
    const strip = there.get(`c-${collection.id}`) ?? newStrip(collection);
    there.delete(strip.id);
    drawStrip(strip, collection);
    if (map.children[place] !== strip) map.insertBefore(strip, map.children[place] ?? null);
  });
  for (const gone of there.values()) gone.remove();
  at("empty").hidden = total > 0;
  at("newer").disabled = offset === 0;
  at("older").disabled = offset + collections.length >= total;
  at("range").textContent = collections.length ? `${offset + 1}–${offset + collections.length} of ${total}` : "";
}

// -- living -----------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    await attempt(at("trouble"), async () => draw(await call("GET", `/heat-map?limit=${PAGE}&offset=${offset}`)));
  }
  timer = setTimeout(refresh, EVERY);
}

function turn(by) {
  offset = Math.max(0, offset + by);
  history.replaceState(null, "", offset ? `?offset=${offset}` : "/");
  refresh();
}

const move = (collection, verb) => attempt(at("trouble"), async () => {
  const found = await call("POST", `/collections/${collection}/${verb}`);
  at("said").textContent = `${found.name} is ${found.status}`;
  await refresh();
});

// -- keys -------------------------------------------------------------------------------------

const columns = (box) => getComputedStyle(box).gridTemplateColumns.split(" ").length;

map.addEventListener("keydown", (event) => {
  const cell = event.target.closest(".weeks .cell");
  if (!cell) return;
  const cells = [...cell.parentElement.children];
  const here = cells.indexOf(cell);
  const row = columns(cell.parentElement);
  const to = {
    ArrowLeft: here - 1, ArrowRight: here + 1, ArrowUp: here - row, ArrowDown: here + row,
    Home: 0, End: cells.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  cells[to]?.focus();
});

map.addEventListener("focusin", (event) => {
  const cell = event.target.closest(".weeks .cell");
  if (!cell) return;
  for (const other of cell.parentElement.children) other.tabIndex = other === cell ? 0 : -1;
  at("detail").textContent = cell.getAttribute("aria-label");
});

// -- a new collection -------------------------------------------------------------------------

at("add").addEventListener("click", () => {
  const form = at("new");
  form.hidden = !form.hidden;
  at("add").setAttribute("aria-expanded", String(!form.hidden));
  if (!form.hidden) at("f-name").focus();
});

at("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  attempt(at("new-error"), async () => {
    const made = await call("POST", "/collections", Object.fromEntries(new FormData(form)));
    at("said").textContent = `${made.name} has ${made.targetWeeks} weeks`;
    form.reset();
    form.hidden = true;
    at("add").setAttribute("aria-expanded", "false");
    offset = 0;
    await refresh();
  });
});

at("newer").addEventListener("click", () => turn(-PAGE));
at("older").addEventListener("click", () => turn(PAGE));
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
