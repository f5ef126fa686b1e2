// Requests to the service, with the admin token as bearer.

// A proxy may add a path: "/shop/console" asks "/shop/admin/…".
const BASE = location.pathname.replace(/\/console\/?$/, "");
// The session's storage ends with the tab and is not shared with others, unlike a cookie, which
// browsers would also send with requests that other sites make.
const KEY = "longtail-admin-token";

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const readToken = () => sessionStorage.getItem(KEY);
export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** The answer of the service, JSON or text; an ApiError with the problem's detail otherwise. */
export async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${readToken() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  let response;
  try {
    response = await fetch(BASE + path, { ...options, cache: "no-store" });
  } catch {
    throw new ApiError(0, "the service can't be reached");
  }
  const isJson = response.headers.get("content-type")?.includes("json");
  const content = isJson ? await response.json() : await response.text();
  if (response.ok) return content;
  if (response.status === 401) {
    forgetToken();
    dispatchEvent(new CustomEvent("signed-out", { detail: content.detail }));
  }
  throw new ApiError(response.status, content.detail ?? `the service answered ${response.status}`);
}

/** What the service answers, or null where it has no such path: a part that isn't there. */
export async function askIfThere(path) {
  try {
    return await ask("GET", path);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export const inPath = encodeURIComponent;
