// What a move or an edit changes. Pure.

export const SLOTS = [null, "morning", "afternoon", "evening"];
export const SLOT_NAMES = { null: "Any time", morning: "Morning", afternoon: "Afternoon", evening: "Evening" };
const FIELDS = {
  plan: { day: "currentPlanDay", slot: "timeOfDay", place: "workoutLocation", notes: "userNotes" },
  own: { day: "plannedDate", slot: "timeOfDay", place: "workoutLocation", notes: "description",
    title: "title", type: "workoutType", hours: "plannedDuration" },
};

/** The fields to send so that an item is as wanted. */
export function changes(item, wanted) {
  if (wanted.scheduled === false) return item.scheduled ? { isSelected: false } : {};
  const fields = FIELDS[item.kind];
  const arrives = wanted.scheduled && !item.scheduled;
  const named = arrives ? { isSelected: true } : {};
  for (const [name, field] of Object.entries(fields)) {
    if (!(name in wanted)) continue;
    const differs = (wanted[name] ?? "") !== (item[name] ?? "");
    if (differs || (arrives && name === "day")) named[field] = wanted[name] === "" ? null : wanted[name];
  }
  return named;
}

/** The item as it will be when that is saved. */
export const changed = (item, wanted) =>
  ({ ...item, ...wanted, slot: wanted.scheduled === false ? null : "slot" in wanted ? wanted.slot : item.slot });

/** What brings an item back to how it was. */
export const previous = (item) =>
  item.scheduled ? { scheduled: true, day: item.day, slot: item.slot } : { scheduled: false };

export const clock = (hours) => {
  if (!hours) return "";
  const minutes = Math.round(hours * 60);
  const [whole, rest] = [Math.floor(minutes / 60), minutes % 60];
  // No-break spaces: a number stays beside its unit.
  return [whole && `${whole}\u00a0h`, rest && `${rest}\u00a0min`].filter(Boolean).join("\u00a0");
};
