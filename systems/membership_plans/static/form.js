// The dialog in which a plan is made or changed; answers stand at the fields that they are about.

import * as api from "/static/api.js";

const dialog = document.querySelector("#dialog");
const form = document.querySelector("#form");
const FIXED = ["branchId", "durationType", "durationValue"];
let plan = null;
let done = () => {};

/** Ask for a new plan, or for changes of one; `then` gets what was saved. */
export function ask(given, then) {
  plan = given;
  done = then;
  form.reset();
  clear();
  document.querySelector("#title").textContent = plan ? "Change plan" : "New plan";
  document.querySelector("#fixed").hidden = !plan;
  for (const name of FIXED) form.elements[name].disabled = Boolean(plan);
  if (plan) fill();
  dialog.showModal();
  form.elements.name.focus();
}

function fill() {
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") field.checked = plan[field.name];
    else field.value = plan[field.name] ?? "";
  }
  form.elements.price.value = plan.price.toFixed(2);
}

const text = (name) => form.elements[name].value.trim();
const whole = (name) => (text(name) === "" ? null : Number(text(name)));

/** What is sent. The price goes as a text: it is what was typed, to the last digit. */
function body() {
  const found = {
    name: form.elements.name.value,
    description: text("description") || null,
    price: text("price").replace(",", "."),
    maxFreezeDays: whole("maxFreezeDays"),
    sortOrder: whole("sortOrder"),
    autoRenew: form.elements.autoRenew.checked,
  };
  const currency = text("currency").toUpperCase();
  if (currency) found.currency = currency;
  if (plan) return found;
  const branchId = form.elements.branchId.value || null;
  const runs = { durationType: text("durationType"), durationValue: whole("durationValue") };
  return { ...found, ...runs, scope: branchId ? "BRANCH" : "TENANT", branchId };
}

async function save(event) {
  event.preventDefault();
  clear();
  const button = document.querySelector("#save");
  button.disabled = true;
  const answer = await (plan ? api.change(plan.id, body()) : api.create(body()));
  button.disabled = false;
  if (answer.status === 200 || answer.status === 201) {
    dialog.close();
    done(answer.body, !plan);
  } else {
    tell(answer.body);
  }
}

function tell(error) {
  const lost = (error.errors ?? []).filter((wrong) => !mark(wrong));
  const first = form.querySelector('[aria-invalid="true"]');
  if (!first || lost.length) {
    const refused = document.querySelector("#refused");
    refused.textContent = lost.map((e) => `${e.field}: ${e.message}`).join("; ") || error.message;
    refused.hidden = false;
  }
  first?.focus();
}

/** Put a message under its field; false when there is no such field. */
function mark({ field, message }) {
  const place = form.querySelector(`[data-field="${CSS.escape(field)}"]`);
  if (!place) return false;
  const input = place.querySelector("input, select, textarea");
  const said = document.createElement("p");
  said.className = "wrong";
  said.id = `wrong-${field}`;
  said.textContent = message;
  place.append(said);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", said.id);
  return true;
}

function clear() {
  document.querySelector("#refused").hidden = true;
  for (const said of form.querySelectorAll(".wrong")) said.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

form?.addEventListener("submit", save);
document.querySelector("#cancel")?.addEventListener("click", () => dialog.close());
