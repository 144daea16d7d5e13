// What the pages ask the server.

const TIMEOUT = 15_000;

export class Refused extends Error {}

export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Refused("The server cannot be reached.");
  }
  const json = answer.headers.get("Content-Type")?.startsWith("application/json");
  const told = json ? await answer.json() : null;
  if (!answer.ok) throw new Refused(told?.message ?? `The server answered ${answer.status}.`);
  return told;
}

/** Do something, and show in `box` why it could not be done. */
export async function attempt(box, work) {
  try {
    await work();
    box.hidden = true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    box.textContent = error.message;
    box.hidden = false;
  }
}
