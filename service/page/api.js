// Talk to the service: JSON out, JSON in, problem documents as exceptions, an API key where one is asked for.

const KEY = "heed.key"; // in sessionStorage: for this tab alone
let askingForKey = null;

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** A failure, with what the service's problem document says of it. */
export class Problem extends Error {
  constructor(status, { title, detail, errors = [] }, retryAfter = null) {
    super(detail);
    Object.assign(this, { status, title, errors, retryAfter });
  }
}

/** POST `body` to `path`, or GET it without a body; return the answer's JSON. Throws a Problem or an AbortError. */
export async function ask(path, body, signal) {
  for (;;) {
    const response = await send(path, body, signal);
    if (response.ok) return response.json();
    const problem = await problemOf(response);
    if (problem.status !== 401) throw problem;
    await (askingForKey ??= askForKey(problem).finally(() => (askingForKey = null)));
  }
}

async function send(path, body, signal) {
  const headers = { Accept: "application/json" };
  if (hasKey()) headers["X-API-Key"] = sessionStorage.getItem(KEY);
  if (body) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "The service cannot be reached", detail: "Is it running, and is the network up?" });
  }
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const unknown = { title: `Status ${response.status}`, detail: "The service answered with no explanation." };
  return new Problem(response.status, { ...unknown, ...(await response.json().catch(() => ({}))) }, retryAfter);
}

/** Show the dialog for a key, and keep what is entered. Throws `problem` if the user closes it. */
async function askForKey(problem) {
  const dialog = document.getElementById("key");
  const field = dialog.querySelector("input");
  dialog.querySelector(".detail").textContent = hasKey() ? problem.message : "";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const key = field.value.trim();
  field.value = "";
  if (dialog.returnValue !== "use" || !key) throw problem;
  // Headers hold bytes; a key of other characters is sent as UTF-8.
  sessionStorage.setItem(KEY, String.fromCharCode(...new TextEncoder().encode(key)));
}
