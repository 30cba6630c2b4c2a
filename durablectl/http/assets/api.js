// The API, with its errors as sentences.

export class ApiError extends Error {
  constructor(status, { code, message, hint }) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

let skew = 0; // Milliseconds that the server's clock is ahead of this one.

export const serverNow = () => Date.now() + skew;

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "The server of this page does not answer.", hint: "It is asked again." });
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (date) skew = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  let body;
  try {
    body = await response.json();
  } catch {
    throw new ApiError(response.status, { code: "unreadable", message: `The answer ${response.status} cannot be read.` });
  }
  if (!response.ok) {
    const known = body.error ?? { code: "error", message: `The server answered ${response.status}.` };
    throw new ApiError(response.status, known);
  }
  return body;
}

export const workflowPath = (id) => `api/workflows/${encodeURIComponent(id)}`;

export function withQuery(path, query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return text ? `${path}?${text}` : path;
}
