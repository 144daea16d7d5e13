// The page: who one is, which channel is shown, what one does there.

import { blocks, element, marked, valueOf } from "./blocks.js";

const HOME = "home";
const EVERY = 700; // milliseconds between two looks
const at = (id) => document.getElementById(id);

let state = null;
let place = HOME;
let shown = ""; // what stands on the page, as text: it is drawn anew only when it changes
let modalShown = "";
let asked = 0; // looks that were begun, and the last of them that is drawn
let drawn = 0;
const seen = {}; // messages of a channel that this person has seen

const user = () => at("user").value;

async function look() {
  const turn = ++asked;
  const who = user() || "UADMIN001";
  const answer = await fetch(`/state?user=${encodeURIComponent(who)}`);
  const found = await answer.json();
  if (turn < drawn) return; // an answer that was overtaken would close what is open by now
  drawn = turn;
  state = found;
  draw();
}

async function play(deed) {
  const answer = await fetch("/play", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user: user(), channel: place === HOME ? "" : place, ...deed }),
  });
  const said = await answer.json();
  at("problem").hidden = !said.error;
  at("problem").textContent = said.error ?? "";
  await look();
  return said.errors ?? {};
}

// -- drawing ----------------------------------------------------------------------------------

function draw() {
  if (!at("user").options.length) drawPeople();
  const now = JSON.stringify([user(), place, state, seen]);
  if (now === shown) return;
  shown = now;
  drawPlaces();
  const home = place === HOME;
  at("title").textContent = home ? "App Home" : nameOf(place);
  at("say").hidden = home || place.startsWith("D");
  at("content").replaceChildren(...(home ? drawHome() : drawMessages()));
  drawModal();
}

function drawPeople() {
  const people = Object.entries(state.people).sort((a, b) => a[1].localeCompare(b[1]));
  for (const [id, name] of people) at("user").add(new Option(name, id));
  at("user").value = "UADMIN001";
}

function nameOf(channel) {
  return channel.startsWith("D") ? "Messages from the bot" : `# ${state.channels[channel]}`;
}

function drawPlaces() {
  const places = [HOME, ...Object.keys(state.channels)];
  at("places").replaceChildren(...places.map(placeButton));
}

function placeButton(id) {
  const made = element("button", "", id === HOME ? "App Home" : nameOf(id));
  if (id === place) made.setAttribute("aria-current", "page");
  const many = (state.messages[id] ?? []).length;
  const key = `${user()} ${id}`;
  if (id === place) seen[key] = many;
  else if (many > (seen[key] ?? 0)) {
    const count = element("span", "count", String(many - (seen[key] ?? 0)));
    count.setAttribute("aria-label", "new messages");
    made.prepend(count);
  }
  made.addEventListener("click", () => go(id));
  return made;
}

async function go(id) {
  place = id;
  if (id === HOME) await play({ kind: "home" });
  else draw();
}

function drawHome() {
  const view = state.home;
  if (!view) return [element("p", "empty", "Nothing is shown here yet.")];
  const card = element("div", "message");
  card.append(...blocks(view.blocks, state.people, (action) => play({ kind: "press", action })));
  return [card];
}

function drawMessages() {
  const asides = state.asides.filter((a) => a.channel === place);
  const all = [
    ...(state.messages[place] ?? []).map((m) => drawMessage(m)),
    ...asides.slice(-3).map((m) => drawMessage(m, "aside")),
  ];
  return all.length ? all : [element("p", "empty", "Nobody has said anything here.")];
}

function drawMessage(message, more = "") {
  const author = message.user && message.user !== "BOT" ? state.people[message.user] : "Triage";
  const made = element("article", `message ${more} ${message.thread_ts ? "reply" : ""}`);
  const note = more ? " only you see this" : "";
  made.append(element("div", "author", author, element("small", "", note)));
  const press = (action) => play({ kind: "press", action, ts: message.ts });
  if (message.blocks?.length) made.append(...blocks(message.blocks, state.people, press));
  else made.append(element("div", "block-section", element("div", "", marked(message.text, names()))));
  return made;
}

const names = () => ({ ...state.people, BOT: "triage" });

function drawModal() {
  const dialog = at("modal");
  const now = JSON.stringify(state.modal);
  if (now === modalShown) return;
  modalShown = now;
  if (!state.modal) {
    dialog.close();
    return;
  }
  const { id, view } = state.modal;
  at("modal-title").textContent = view.title.text;
  at("modal-body").replaceChildren(
    ...blocks(view.blocks, state.people, (action) => play({ kind: "press", action, modal: id })),
  );
  at("modal-submit").hidden = !view.submit;
  at("modal-submit").textContent = view.submit?.text ?? "";
  if (!dialog.open) dialog.showModal();
}

// -- doing ------------------------------------------------------------------------------------

at("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  at("text").value = "";
  await play({ kind: text.startsWith("/") ? "command" : "mention", text });
});

at("modal-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = [...at("modal-body").querySelectorAll(".field")];
  const values = Object.fromEntries(fields.map((f) => [f.dataset.block, valueOf(f)]));
  const errors = await play({ kind: "submit", modal: state.modal.id, values });
  for (const made of fields) {
    made.querySelector(".error").textContent = errors[made.dataset.block] ?? "";
  }
});

const close = () => state.modal && play({ kind: "close", modal: state.modal.id });
at("modal-close").addEventListener("click", close);
at("modal").addEventListener("cancel", (event) => {
  event.preventDefault();
  close();
});

at("user").addEventListener("change", async () => {
  await look();
  if (place === HOME) await play({ kind: "home" });
  else if (place.startsWith("D")) await go(HOME);
});

await look();
await play({ kind: "home" });
setInterval(look, EVERY);
