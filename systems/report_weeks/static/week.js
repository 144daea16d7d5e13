// "Try again" on the page of a week.

import { attempt, call } from "./call.js";

const retry = document.getElementById("retry");
retry?.addEventListener("click", () =>
  attempt(document.getElementById("trouble"), async () => {
    await call("POST", `/weeks/${retry.dataset.week}/retry`);
    location.reload();
  }));
