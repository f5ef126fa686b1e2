/**
 * Everything that a call can be rejected with:
 *
 *     LongtailError
 *     ├── UnreachableError        no answer came: no connection, or it broke
 *     │   └── AnswerTimeoutError      no answer came in time
 *     ├── UnreadableAnswerError   an answer that Longtail doesn't give
 *     └── ApiError                the service's own word, with its status
 */

import type { WrongField } from "./types.js";

export interface Circumstances {
  /** Of all attempts of the call; the service logs it and answers with it. */
  requestId: string;
  /** Whether the service may have done what was asked for all the same. */
  mayHaveActed: boolean;
  cause?: unknown;
}

export class LongtailError extends Error {
  readonly requestId: string;
  readonly mayHaveActed: boolean;

  constructor(message: string, { requestId, mayHaveActed, cause }: Circumstances) {
    super(`${message} (request ${requestId})`, { cause });
    this.name = new.target.name;
    this.requestId = requestId;
    this.mayHaveActed = mayHaveActed;
  }
}

export class UnreachableError extends LongtailError {}

export class AnswerTimeoutError extends UnreachableError {}

export class UnreadableAnswerError extends LongtailError {}

export interface Problem {
  /** The service's message, which names the field and the value that are wrong. */
  detail: string;
  /** Each wrong field, with its value. */
  errors?: WrongField[];
  /** Milliseconds after which the service asks to be called again. */
  retryAfterMs?: number | undefined;
}

export class ApiError extends LongtailError {
  readonly status: number;
  readonly detail: string;
  readonly errors: readonly WrongField[];
  readonly retryAfterMs: number | undefined;

  constructor(status: number, problem: Problem, requestId: string) {
    super(`${status}: ${problem.detail}`, { requestId, mayHaveActed: status >= 500 });
    this.status = status;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.retryAfterMs = problem.retryAfterMs;
  }
}
