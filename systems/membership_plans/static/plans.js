// The list: filter, pages, and what can be done with a plan, with the answer at its row.

import * as api from "/static/api.js";
import { ask } from "/static/form.js";

const LIMIT = 20;
const table = document.querySelector("#plans");
const rows = table.tBodies[0];
const filter = document.querySelector("#filter");
const status = document.querySelector("#status");
const problem = document.querySelector("#problem");
const template = document.querySelector("#row");
const names = new Map();
let page = 1;
let asked = 0;

// -- reading --------------------------------------------------------------------------------------

function query() {
  const where = filter.where.value;
  const found = { page, limit: LIMIT, includeMemberCount: true };
  if (filter.q.value.trim()) found.q = filter.q.value.trim();
  if (where === "TENANT") found.scope = "TENANT";
  else if (where) found.branchId = where;
  if (filter.archived.checked) found.includeArchived = true;
  return found;
}

async function load() {
  const turn = ++asked;
  const answer = await api.list(query());
  if (turn !== asked) return; // a later question is on its way
  problem.hidden = answer.status === 200;
  if (answer.status !== 200) {
    problem.textContent = answer.body.message;
    return;
  }
  const { data, pagination } = answer.body;
  if (!data.length && page > 1) {
    page = Math.max(1, pagination.totalPages);
    return load();
  }
  rows.replaceChildren(...data.map(row));
  tellPosition(data.length, pagination);
}

function tellPosition(shown, { total, totalPages }) {
  const first = (page - 1) * LIMIT + 1;
  status.textContent = total === 1 ? "1 plan" : `${total} plans`;
  document.querySelector("#position").textContent =
    shown && totalPages > 1 ? `${first}–${first + shown - 1} of ${total}` : "";
  document.querySelector("#previous").disabled = page <= 1;
  document.querySelector("#next").disabled = page >= totalPages;
  document.querySelector(".pages").hidden = totalPages <= 1;
}

// -- a row ----------------------------------------------------------------------------------------

function row(plan) {
  const made = template.content.firstElementChild.cloneNode(true);
  made.dataset.id = plan.id;
  made.plan = plan;
  const gone = plan.status === "ARCHIVED";
  made.classList.toggle("archived", gone);
  const put = (name, text) => (made.querySelector(`[data-${name}]`).textContent = text);
  put("name", plan.name);
  put("description", plan.description ?? "");
  put("where", plan.branchId ? (names.get(plan.branchId) ?? plan.branchId) : "all branches");
  put("duration", runs(plan));
  put("price", money(plan));
  put("members", plan.activeMemberCount ?? "");
  made.querySelector("[data-tag]").hidden = !gone;
  for (const button of made.querySelectorAll("[data-do]")) {
    const what = button.dataset.do;
    button.hidden = (what === "archive" && gone) || (what === "restore" && !gone);
    button.setAttribute("aria-label", `${button.textContent} ${plan.name}`);
  }
  return made;
}

function runs({ durationType, durationValue: n }) {
  const unit = durationType === "MONTHS" ? "month" : "day";
  return `${n} ${unit}${n === 1 ? "" : "s"}`;
}

function money({ price, currency }) {
  const shown = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `${price.toLocaleString(undefined, shown)} ${currency}`;
}

/** Put an answer under its row. */
function answer(below, text, good) {
  if (below.nextElementSibling?.matches(".answer")) below.nextElementSibling.remove();
  if (!text) return;
  const made = document.querySelector("#answer").content.firstElementChild.cloneNode(true);
  made.querySelector("p").textContent = text;
  made.querySelector("p").classList.toggle("good", good);
  below.after(made);
}

/** Show a plan as it is now, in its place, with the focus where it was. */
function replace(old, plan, text, good) {
  const fresh = row({ activeMemberCount: old.plan.activeMemberCount, ...plan });
  answer(old, "");
  old.replaceWith(fresh);
  fresh.classList.add("changed");
  answer(fresh, text, good);
  fresh.querySelector("[data-do]:not([hidden])")?.focus();
}

// -- doing ----------------------------------------------------------------------------------------

const DOING = {
  edit: (on) => ask(on.plan, (plan) => replace(on, plan, "Saved.", true)),
  async archive(on) {
    const { status: code, body } = await api.archive(on.plan.id);
    if (code !== 200) return answer(on, body.message, false);
    const n = body.activeMemberCount;
    const kept = n === 1 ? "1 active member keeps it" : `${n} active members keep it`;
    replace(on, body, `Archived: it is sold no more; ${n ? kept : "no active member has it"}.`, true);
  },
  async restore(on) {
    const { status: code, body } = await api.restore(on.plan.id);
    if (code !== 200) return answer(on, body.message, false);
    replace(on, body, "Restored: it is sold again.", true);
  },
  async delete(on) {
    if (!confirm(`Delete “${on.plan.name}” for good?`)) return;
    const { status: code, body } = await api.remove(on.plan.id);
    if (code !== 204) return answer(on, body.message, false);
    status.textContent = `${on.plan.name} is deleted.`;
    answer(on, "");
    on.remove();
  },
};

rows.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-do]");
  if (!button) return;
  button.disabled = true;
  await DOING[button.dataset.do](button.closest("tr"));
  button.disabled = false;
});

document.querySelector("#new")?.addEventListener("click", () =>
  ask(null, async (plan) => {
    await load();
    const there = rows.querySelector(`[data-id="${CSS.escape(plan.id)}"]`);
    if (there) replace(there, { ...plan, activeMemberCount: 0 }, "Made.", true);
    else status.textContent = `${plan.name} is made; the list shows another part.`;
  }),
);

// -- asking ---------------------------------------------------------------------------------------

function again(to = 1) {
  page = to;
  return load();
}

let waiting;
filter.q.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(again, 200);
});
filter.addEventListener("submit", (event) => {
  event.preventDefault();
  again();
});
for (const field of [filter.where, filter.archived]) field.addEventListener("change", () => again());
document.querySelector("#previous").addEventListener("click", () => again(page - 1));
document.querySelector("#next").addEventListener("click", () => again(page + 1));

async function start() {
  const { status: code, body } = await api.branches();
  for (const branch of code === 200 ? body : []) {
    names.set(branch.id, branch.name);
    for (const select of document.querySelectorAll("#where, #branch")) {
      select.add(new Option(branch.name, branch.id));
    }
  }
  await load();
}

start();
