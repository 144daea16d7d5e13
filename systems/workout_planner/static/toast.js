// A line at the bottom that says what has happened.

const box = document.getElementById("toast");
const text = document.getElementById("toast-text");
const act = document.getElementById("toast-act");
const STAYS = 8_000;
let timer;

/** Say it; `undo` is offered when it is given. Failures stay until they are closed. */
export function tell(said, { undo, failed = false } = {}) {
  clearTimeout(timer);
  box.classList.toggle("failed", failed);
  box.setAttribute("role", failed ? "alert" : "status");
  text.textContent = said;
  act.hidden = !undo;
  act.onclick = undo ?? null;
  box.hidden = false;
  if (!failed) timer = setTimeout(close, STAYS);
}

export function close() {
  box.hidden = true;
}

document.getElementById("toast-close").addEventListener("click", close);
