/** A typed client of Longtail, the recommendation service. */

export { type CallOptions, Client, type ClientOptions } from "./client.js";
export {
  AnswerTimeoutError,
  ApiError,
  LongtailError,
  UnreachableError,
  UnreadableAnswerError,
} from "./errors.js";
export type { Retries } from "./retries.js";
export type * from "./types.js";
