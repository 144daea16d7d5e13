// Calls of the API, with what proves that they come from this page.

const csrf = document.querySelector('meta[name="csrf-token"]').content;
const ROOT = "/api/v1";

/** {status, body}; status 0 when the server cannot be reached. */
export async function call(method, path, body) {
  const headers = { "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(ROOT + path, { method, headers, body: JSON.stringify(body) });
    if (answer.status === 401) location.assign("/login");
    return { status: answer.status, body: answer.status === 204 ? null : await answer.json() };
  } catch {
    return { status: 0, body: { message: "The server cannot be reached." } };
  }
}

const PLANS = "/membership-plans";
export const list = (query) => call("GET", `${PLANS}?${new URLSearchParams(query)}`);
export const branches = () => call("GET", "/branches");
export const create = (body) => call("POST", PLANS, body);
export const change = (id, body) => call("PATCH", `${PLANS}/${id}`, body);
export const archive = (id) => call("POST", `${PLANS}/${id}/archive`);
export const restore = (id) => call("POST", `${PLANS}/${id}/restore`);
export const remove = (id) => call("DELETE", `${PLANS}/${id}`);
