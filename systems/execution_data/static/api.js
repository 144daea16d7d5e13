// Calls of the API, with what proves that they come from this page.

const csrf = document.querySelector('meta[name="csrf-token"]').content;
const ROOT = "/api/execution-data";

/** {status, body}; status 0 when the server cannot be reached. */
async function call(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  try {
    const answer = await fetch(ROOT + path, { method, headers, body: JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  } catch {
    return { status: 0, body: { message: "The server cannot be reached." } };
  }
}

export const create = (body) => call("POST", "", body);
export const change = (id, body) => call("PATCH", `/${id}`, body);
