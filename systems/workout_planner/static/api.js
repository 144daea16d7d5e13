// What the page asks the server. A write sends the fields that change, and no others.

const TIMEOUT = 15_000;

export class Refused extends Error {}

export async function call(method, path, body, headers = {}) {
  const json = body !== undefined && !(body instanceof Blob || body instanceof FormData);
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: json ? { "Content-Type": "application/json", ...headers } : headers,
      body: json ? JSON.stringify(body) : body,
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Refused("The server cannot be reached.");
  }
  const isJson = answer.status !== 204 && answer.headers.get("Content-Type")?.startsWith("application/json");
  const told = isJson ? await answer.json() : null;
  if (!answer.ok) throw new Refused(told?.message ?? `The server answered ${answer.status}.`);
  return told;
}

const query = (parts) => new URLSearchParams(parts).toString();

/** Everything from `start` to `end`; what is not scheduled from `trayStart` to `trayEnd`. */
export async function load(start, end, trayStart, trayEnd) {
  const limit = 5000;
  const [on, off, own] = await Promise.all([
    call("GET", `/api/workouts?${query({ start, end, scheduled: true, limit })}`),
    call("GET", `/api/workouts?${query({ start: trayStart, end: trayEnd, scheduled: false, limit })}`),
    call("GET", `/api/custom-workouts?${query({ start, end })}`),
  ]);
  return [...on, ...off].map(planned).concat(own.map(owned));
}

export function planned(row) {
  const said = row.selection;
  const scheduled = said?.isSelected ?? false;
  return {
    key: `plan-${row.id}`, kind: "plan", id: row.id, row,
    title: row.title, type: row.workoutType, hours: row.plannedDuration,
    scheduled, day: (scheduled && said.currentPlanDay) || row.originallyPlannedDay,
    slot: said?.timeOfDay ?? null, place: said?.workoutLocation ?? "", notes: said?.userNotes ?? "",
  };
}

export function owned(row) {
  return {
    key: `own-${row.id}`, kind: "own", id: row.id, row,
    title: row.title, type: row.workoutType, hours: row.plannedDuration, scheduled: true,
    day: row.plannedDate, slot: row.timeOfDay, place: row.workoutLocation ?? "",
    notes: row.description ?? "",
  };
}

/** Save what changes; the item as it then is. `apart`: each field in a request of its own. */
export async function save(item, changes, apart) {
  const path = item.kind === "plan" ? `/api/selections/${item.id}` : `/api/custom-workouts/${item.id}`;
  const parts = apart ? Object.entries(changes).map(([name, value]) => ({ [name]: value })) : [changes];
  const answers = await Promise.all(parts.map((part) => call("PUT", path, part)));
  const row = answers.at(-1);
  return item.kind === "plan" ? planned({ ...item.row, selection: row }) : owned(row);
}

export async function reset(item) {
  await call("DELETE", `/api/selections/${item.id}`);
  return planned({ ...item.row, selection: null });
}

export const create = async (values) => owned(await call("POST", "/api/custom-workouts", values));
export const remove = (item) => call("DELETE", `/api/custom-workouts/${item.id}`);

export function importPlan(file) {
  const form = new FormData();
  form.append("file", file);
  return call("POST", "/api/workouts/import", form);
}
