// The controller's API: JSON in and out; a refusal is a Problem with its message and remedy.

export class Problem extends Error {
  constructor(status, body) {
    super(body.message || body.detail || body.title || `The controller answered ${status}.`);
    this.status = status;
    this.code = body.code || "error";
    this.remedy = body.remedy || "";
    this.details = body.details || {};
    this.position = body.position ?? this.details.position;
  }
}

/** One request. `body` becomes JSON unless it is a Blob, FormData or ArrayBuffer. Gives the parsed JSON, a text, or null. */
export async function api(method, path, body, options = {}) {
  const answer = await send(method, path, body, options);
  if (answer.status === 204) return null;
  const kind = answer.headers.get("content-type") || "";
  return kind.includes("json") ? answer.json() : answer.text();
}

/** The same, as the Response; for streams and downloads. */
export async function send(method, path, body, { headers = {}, signal } = {}) {
  const raw = body instanceof Blob || body instanceof FormData || body instanceof ArrayBuffer;
  const asked = { Accept: "application/json", ...headers };
  if (body !== undefined && !raw) asked["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, headers: asked, credentials: "same-origin", redirect: "error",
      body: body === undefined || raw ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { message: "The controller does not answer.", remedy: "Look whether it runs (labdock up), then try again." });
  }
  if (answer.status === 401) signIn();
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

/** The session has ended: sign in and come back here. */
export function signIn() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}
