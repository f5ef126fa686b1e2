/** One attempt of a call: a request, and its answer or error. */

import {
  AnswerTimeoutError,
  ApiError,
  type LongtailError,
  UnreachableError,
  UnreadableAnswerError,
} from "./errors.js";
import { readRetryAfter } from "./retries.js";
import type { ProblemDocument } from "./types.js";

export interface Attempt {
  method: "GET" | "POST" | "PUT" | "DELETE";
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
  timeoutMs: number;
  signal: AbortSignal | undefined;
  requestId: string;
}

// Codes of Node's errors where no request was sent.
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/**
 * The answer to a request.
 *
 * @throws LongtailError where there is none; what `signal` was aborted with, if it was.
 */
export async function exchange(fetch: typeof globalThis.fetch, attempt: Attempt): Promise<unknown> {
  const { method, url, headers, body, timeoutMs, signal, requestId } = attempt;
  const inTime = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method,
      headers,
      redirect: "manual", // secrets are for the service that was named
      signal: signal ? AbortSignal.any([signal, inTime]) : inTime,
      ...(body === undefined ? {} : { body }),
    });
    text = await response.text();
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreachable(attempt, cause, inTime.aborted);
  }
  if (response.status >= 400) throw problemOf(response, text, requestId);
  try {
    const answer: unknown = response.status === 200 ? JSON.parse(text) : undefined;
    if (typeof answer === "object" && answer !== null) return answer;
  } catch (cause) {
    throw unreadable(attempt, "no JSON", cause);
  }
  throw unreadable(attempt, `status ${response.status}`, undefined);
}

function unreachable(attempt: Attempt, cause: unknown, tooLate: boolean): LongtailError {
  const { method, url, timeoutMs, requestId } = attempt;
  const call = `${method} ${url.split("?")[0]}`;
  if (tooLate) {
    const message = `${call}: no answer in ${timeoutMs} ms`;
    return new AnswerTimeoutError(message, { requestId, mayHaveActed: true, cause });
  }
  const { code, message } = rootOf(cause);
  return new UnreachableError(`${call}: ${message}`, {
    requestId,
    mayHaveActed: !NEVER_SENT.has(code),
    cause,
  });
}

/** What is at the bottom of fetch's `TypeError: fetch failed`. */
function rootOf(error: unknown): { code: string; message: string } {
  const root = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = root instanceof Error && "code" in root ? String(root.code) : "";
  const message = root instanceof Error ? root.message : String(root);
  return { code, message: message || code || "no answer" };
}

function unreadable(attempt: Attempt, reason: string, cause: unknown): LongtailError {
  const { method, url, requestId } = attempt;
  const message = `${method} ${url.split("?")[0]}: not an answer of Longtail (${reason})`;
  return new UnreadableAnswerError(message, { requestId, mayHaveActed: true, cause });
}

function problemOf(response: Response, text: string, requestId: string): ApiError {
  const retryAfterMs = readRetryAfter(response.headers.get("retry-after"));
  const problem = parseProblem(text);
  const detail =
    problem?.detail ??
    `${response.statusText || "an error"}, without a message of the service`;
  const errors = problem?.errors ?? [];
  const id = problem?.request_id ?? response.headers.get("x-request-id") ?? requestId;
  return new ApiError(response.status, { detail, errors, retryAfterMs }, id);
}

function parseProblem(text: string): ProblemDocument | undefined {
  try {
    const found: unknown = JSON.parse(text);
    const isProblem = typeof found === "object" && found !== null && "detail" in found;
    return isProblem ? (found as ProblemDocument) : undefined;
  } catch {
    return undefined; // of a proxy
  }
}
