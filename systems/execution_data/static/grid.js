// The grid: what was typed and not saved, sums, saving, conflicts.

import { change, create } from "./api.js";
import { cents, fromNumber, shown, typed } from "./amounts.js";

const grid = document.querySelector("#grid");
const save = document.querySelector("#save");
const discard = document.querySelector("#discard");
const status = document.querySelector("#status");
const lines = [...grid.querySelectorAll("tr.line")];
const QUARTERS = ["q1Amount", "q2Amount", "q3Amount", "q4Amount"];

const inputs = (line) => [...line.querySelectorAll("input")];
const isDirty = (input) => cents(input.value) !== cents(input.dataset.stored);
const dirty = (line) => inputs(line).filter(isDirty);
const say = (text) => { status.textContent = text; };

// -- sums ---------------------------------------------------------------------------------------

function fill(row, sums) {
  const cells = [...row.querySelectorAll("td.number")];
  [...sums, sums.reduce((a, b) => a + b, 0)].forEach((sum, i) => { cells[i].textContent = shown(sum); });
}

function sumUp() {
  const all = [0, 0, 0, 0];
  let block = [0, 0, 0, 0];
  for (const row of grid.querySelectorAll("tr.line, tr[data-total]")) {
    if (row.matches("[data-total]")) {
      fill(row, block);
      block = [0, 0, 0, 0];
      continue;
    }
    const amounts = inputs(row).map((input) => cents(input.value) ?? 0);
    amounts.forEach((amount, i) => { block[i] += amount; all[i] += amount; });
    row.querySelector("td.number").textContent = shown(amounts.reduce((a, b) => a + b, 0));
  }
  fill(grid.querySelector("tfoot tr"), all);
}

// -- what was typed -----------------------------------------------------------------------------

function mark(line) {
  for (const input of inputs(line)) {
    const valid = cents(input.value) !== null;
    input.classList.toggle("changed", valid && isDirty(input));
    input.setAttribute("aria-invalid", String(!valid));
  }
}

function refresh() {
  sumUp();
  const changed = lines.filter((line) => dirty(line).length);
  const wrong = grid.querySelectorAll('input[aria-invalid="true"]').length;
  save.disabled = !changed.length || wrong > 0;
  discard.disabled = !changed.length;
  if (wrong) say("An amount has digits, and two of them at most after the point.");
  else say(changed.length ? `${count(changed.length, "line")} not saved.` : "Nothing to save.");
}

const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

function state(line, text, kind = "") {
  const cell = line.querySelector(".state");
  cell.textContent = text;
  cell.dataset.kind = kind;
}

/** What the server holds now; what was typed meanwhile stays. */
function stored(line, report, taken) {
  line.dataset.id = report.id;
  inputs(line).forEach((input, i) => {
    const amount = typed(fromNumber(report[QUARTERS[i]]));
    if (taken) input.value = amount;
    input.dataset.stored = amount;
  });
  mark(line);
}

// -- saving -------------------------------------------------------------------------------------

const facility = () => ("sendsFacility" in grid.dataset ? { facilityId: Number(grid.dataset.facility) } : {});
const amounts = (some) => Object.fromEntries(some.map((input) => [input.name, cents(input.value) / 100]));

function send(line) {
  if (line.dataset.id) return change(line.dataset.id, { ...facility(), ...amounts(dirty(line)) });
  return create({
    reportingPeriodId: Number(grid.dataset.period),
    activityId: Number(line.dataset.activity),
    ...facility(),
    ...amounts(inputs(line)),
  });
}

async function saveLine(line) {
  settle(line);
  state(line, "Saving …");
  const answer = await send(line);
  if (answer.status === 200 || answer.status === 201) {
    stored(line, answer.body, false);
    state(line, "Saved", "good");
  } else if (answer.status === 409) {
    state(line, "Conflict", "warn");
    conflict(line, answer.body);
  } else if (answer.status === 401) {
    state(line, "Not saved", "bad");
    say("You are signed out. Sign in in another tab, and save again.");
  } else {
    state(line, "Not saved", "bad");
    line.querySelector(".state").title = answer.body.message;
  }
  return answer;
}

async function saveAll() {
  const waiting = lines.filter((line) => dirty(line).length);
  if (save.disabled || !waiting.length) return;
  save.disabled = true;
  const answers = [];
  for (const line of waiting) answers.push(await saveLine(line));
  refresh();
  const of = (...codes) => answers.filter((a) => codes.includes(a.status)).length;
  const failed = answers.length - of(200, 201, 409);
  const why = answers.find((a) => ![200, 201, 409].includes(a.status))?.body.message;
  say([
    `${count(of(200, 201), "line")} saved`,
    of(409) ? count(of(409), "conflict") : "",
    failed ? `${failed} not saved: ${why}` : "",
  ].filter(Boolean).join(", ") + (failed ? "" : "."));
}

// -- conflicts ----------------------------------------------------------------------------------

/** Take away the conflict that a line shows. */
function settle(line) {
  if (line.nextElementSibling?.matches(".conflict")) line.nextElementSibling.remove();
}

function conflict(line, body) {
  const row = document.querySelector("#conflict").content.cloneNode(true).querySelector("tr");
  const report = body.stored;
  row.querySelector("[data-message]").textContent = `${body.message}.`;
  const told = report && QUARTERS.map((q, i) => `Q${i + 1} ${shown(fromNumber(report[q]))}`).join(", ");
  row.querySelector("[data-stored]").textContent = report
    ? `Stored: ${told}; ${new Date(report.updatedAt).toLocaleString()}.`
    : "It is another facility's, so it cannot be shown.";
  const [take, replace] = row.querySelectorAll("button");
  take.hidden = replace.hidden = !report;
  take.addEventListener("click", () => {
    stored(line, report, true);
    settle(line);
    state(line, "");
    refresh();
    inputs(line)[0].focus();
  });
  replace.addEventListener("click", async () => {
    stored(line, report, false);
    await saveLine(line);
    refresh();
    inputs(line)[0].focus();
  });
  line.after(row);
  row.scrollIntoView({ block: "nearest" });
}

// -- keys and the rest --------------------------------------------------------------------------

function move(input, by) {
  const line = input.closest("tr");
  const next = lines[lines.indexOf(line) + by];
  const to = next && inputs(next)[inputs(line).indexOf(input)];
  if (to) { to.focus(); to.select(); }
}

grid.addEventListener("input", (event) => {
  const line = event.target.closest("tr");
  state(line, "");
  mark(line);
  refresh();
});

grid.addEventListener("keydown", (event) => {
  const by = { Enter: event.shiftKey ? -1 : 1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by && event.target.matches("input")) {
    event.preventDefault();
    move(event.target, by);
  }
});

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    saveAll();
  }
});

save.addEventListener("click", saveAll);
discard.addEventListener("click", () => {
  for (const line of lines) {
    settle(line);
    state(line, "");
    for (const input of inputs(line)) input.value = input.dataset.stored;
    mark(line);
  }
  refresh();
});

window.addEventListener("beforeunload", (event) => {
  if (lines.some((line) => dirty(line).length)) event.preventDefault();
});

for (const select of document.querySelectorAll(".pick select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

refresh();
grid.dataset.ready = "";
