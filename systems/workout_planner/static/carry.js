// Moving a card with the keyboard: picked up, carried by arrow keys, put down or back.

import * as dates from "./dates.js";
import { SLOTS } from "./model.js";

const DAYS = { ArrowLeft: -1, ArrowRight: 1 };
const ROWS = { ArrowUp: -1, ArrowDown: 1 };

/**
 * @param {object} planner item(key), view(), days(), show(day), preview(key, place), settle(key, place),
 *   say(text); a place of null ends a preview
 */
export function carrying(planner) {
  let held = null;

  function pickUp(key) {
    const item = planner.item(key);
    const days = planner.days();
    const day = item.scheduled || days.includes(item.day) ? item.day : days[0];
    held = { key, own: item.kind === "own", place: { scheduled: item.scheduled, day, slot: item.slot } };
    planner.preview(key, held.place);
    planner.say(`${item.title} picked up. The arrow keys move it.`);
  }

  async function carry(place) {
    held.place = { ...held.place, ...place };
    if (held.place.scheduled && !planner.days().includes(held.place.day)) await planner.show(held.place.day);
    planner.preview(held.key, held.place);
  }

  function putDown(settled) {
    const { key, place } = held;
    held = null;
    if (settled) planner.settle(key, place);
    else planner.preview(key, null);
  }

  function arrow(name) {
    const { scheduled, day, slot } = held.place;
    if (!scheduled) return carry({ scheduled: true });
    if (name in DAYS) return carry({ day: dates.plus(day, DAYS[name]) });
    if (planner.view() === "month") return carry({ day: dates.plus(day, 7 * ROWS[name]) });
    const at = SLOTS.indexOf(slot) + ROWS[name];
    return carry({ slot: SLOTS[Math.min(Math.max(at, 0), SLOTS.length - 1)] });
  }

  function whileHeld(event) {
    if (event.key in DAYS || event.key in ROWS) arrow(event.key);
    else if (event.key === "Enter" || event.key === " ") putDown(true);
    else if (event.key === "Escape" || event.key === "Tab") putDown(false);
    else if (event.key.toLowerCase() === "t" && !held.own) carry({ scheduled: false, slot: null });
    else return false;
    return event.key !== "Tab";
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.target.closest?.(".workout")?.dataset.key;
    if (held) {
      if (whileHeld(event)) event.preventDefault();
    } else if (key && event.key === " ") {
      event.preventDefault();
      if (!event.repeat) pickUp(key);
    }
  });
  // The click that a key makes on a button comes with its release.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest?.(".workout")) event.preventDefault();
  });
  document.addEventListener("pointerdown", () => held && putDown(false));
  return { key: () => held?.key };
}
