// The panel with everything about a workout, where all of it can be changed without dragging.

import { Refused } from "./api.js";
import { clock } from "./model.js";

const dialog = document.getElementById("details");
const form = document.getElementById("details-form");
const error = document.getElementById("details-error");
const off = document.getElementById("details-off");
const fields = form.elements;
let shown;

const value = (text) => (text === "" ? null : text);

function facts(item) {
  if (item.kind === "own") return "";
  const { plannedDistanceMeters: meters, tss, intensityFactor: factor } = item.row;
  const told = [item.type, clock(item.hours), meters && `${(meters / 1000).toLocaleString("en-GB")} km`,
    tss && `TSS ${tss}`, factor && `IF ${factor}`];
  return told.filter(Boolean).join(" · ");
}

function planTexts(item) {
  const box = document.getElementById("plan-texts");
  box.replaceChildren();
  if (item.kind === "own") return;
  const { workoutDescription, coachComments } = item.row;
  for (const [name, text] of [["", workoutDescription], ["Coach: ", coachComments]]) {
    if (!text) continue;
    const line = document.createElement("p");
    line.textContent = name + text;
    box.append(line);
  }
}

function read() {
  const wanted = {
    scheduled: true, day: fields.day.value, slot: value(fields.slot.value),
    place: fields.place.value.trim(), notes: fields.notes.value.trim(),
  };
  if (shown.item.kind === "plan") return wanted;
  const hours = fields.plannedDuration.value;
  return {
    ...wanted, title: fields.title.value.trim(), type: fields.workoutType.value.trim(),
    hours: hours === "" ? "" : Number(hours),
  };
}

/** Open it for an item; `save(wanted)` and `off()` reject when they are refused. */
export function open(item, { title, save, off: takeOff }) {
  shown = { item, save, takeOff };
  const own = item.kind === "own";
  document.getElementById("details-title").textContent = title ?? item.title;
  document.getElementById("details-facts").textContent = facts(item);
  document.getElementById("own-fields").hidden = !own;
  document.getElementById("l-notes").textContent = own ? "Description" : "My notes";
  planTexts(item);
  for (const [name, text] of Object.entries({
    title: item.title, workoutType: item.type ?? "", plannedDuration: item.hours ?? "", day: item.day,
    slot: item.slot ?? "", place: item.place, notes: item.notes,
  })) fields[name].value = text;
  off.hidden = !takeOff;
  off.textContent = own ? "Delete" : "Take off the calendar";
  document.getElementById("details-save").textContent = item.scheduled ? "Save" : "Put on the calendar";
  error.hidden = true;
  dialog.showModal();
}

async function attempt(work) {
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  try {
    await work();
    dialog.close();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    error.textContent = `Not saved: ${refused.message}`;
    error.hidden = false;
  } finally {
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const missing = fields.day.value === "" ? "a day" : shown.item.kind === "own" && !fields.title.value.trim() && "a title";
  if (missing) {
    error.textContent = `It needs ${missing}.`;
    error.hidden = false;
    return;
  }
  attempt(() => shown.save(read()));
});
off.addEventListener("click", () => attempt(() => shown.takeOff()));
for (const button of form.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => dialog.close());
}
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
