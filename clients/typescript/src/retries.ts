/** When a failed call is made again, and after how long. */

import { ApiError, type LongtailError, UnreachableError } from "./errors.js";

export interface Retries {
  /** In all, the first one included; 1 never repeats. */
  attempts: number;
  /** Limit of the random wait after the first attempt; it doubles with every one. */
  backoffMs: number;
  /** The limit doesn't grow past it; a call that is asked to wait for longer fails at once. */
  maxWaitMs: number;
}

export const RETRIES: Retries = { attempts: 3, backoffMs: 100, maxWaitMs: 5_000 };

/**
 * The numbers that are given, and the usual ones in place of those that are not, or are undefined.
 *
 * @throws TypeError where one can't be used.
 */
export function retriesOf(given: Partial<Retries> = {}): Retries {
  return {
    attempts: atLeast("attempts", 1, given.attempts ?? RETRIES.attempts),
    backoffMs: atLeast("backoffMs", 0, given.backoffMs ?? RETRIES.backoffMs),
    maxWaitMs: atLeast("maxWaitMs", 0, given.maxWaitMs ?? RETRIES.maxWaitMs),
  };
}

/** A number that is not below a limit, nor NaN, with which no comparison would end a loop. */
export function atLeast(name: string, limit: number, value: number): number {
  if (!(value >= limit)) throw new TypeError(`${name}=${value} is below ${limit}`);
  return value;
}

/** Of a call: whether to act twice is the same as once, or whether a failure is its answer. */
export type Repetition = "harmless" | "harmful" | "pointless";

// 408 and 429: the service did not look at the request. The others may pass as well.
const PASSING = new Set([408, 429, 502, 503, 504]);

/** Milliseconds to wait before the next attempt; undefined: the error is final. */
export function waitMs(
  retries: Retries,
  repetition: Repetition,
  nFailed: number,
  error: LongtailError,
): number | undefined {
  const mayPass =
    error instanceof UnreachableError || (error instanceof ApiError && PASSING.has(error.status));
  if (nFailed >= retries.attempts || repetition === "pointless" || !mayPass) return undefined;
  if (error.mayHaveActed && repetition === "harmful") return undefined;
  const askedMs = (error instanceof ApiError ? error.retryAfterMs : undefined) ?? 0;
  if (askedMs > retries.maxWaitMs) return undefined;
  const limitMs = Math.min(retries.maxWaitMs, retries.backoffMs * 2 ** (nFailed - 1));
  return askedMs + Math.random() * limitMs;
}

/** Milliseconds from now of a `Retry-After`, which gives seconds or a time. */
export function readRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1_000;
  const time = Date.parse(value);
  return Number.isNaN(time) ? undefined : Math.max(0, time - Date.now());
}
