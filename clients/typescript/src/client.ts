/** The client: one method for each call of the API. */

import { LongtailError } from "./errors.js";
import { type Attempt, exchange } from "./exchange.js";
import { atLeast, type Repetition, type Retries, retriesOf, waitMs } from "./retries.js";
import type {
  BatchResponse,
  Event,
  EventsResponse,
  Filter,
  ItemChange,
  ItemsChanged,
  Live,
  PersonForgotten,
  RatingsRequest,
  RatingsResponse,
  Ready,
  RecommendRequest,
  RecommendResponse,
  SimilarResponse,
} from "./types.js";

export interface ClientOptions {
  /** Key of a caller, where the service requires one. */
  apiKey?: string;
  /** For `changeItems` and `forgetUser`. */
  adminToken?: string;
  /** Longest wait for the whole answer to one attempt. */
  timeoutMs?: number;
  retries?: Partial<Retries>;
  /** In place of the global one: for tests, or for a proxy. */
  fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  /** Ends the call, with what it was aborted with. */
  signal?: AbortSignal;
}

interface Call {
  method: Attempt["method"];
  path: string;
  body?: unknown;
  by: "anybody" | "caller" | "operator";
  repetition: Repetition;
}

export class Client {
  readonly url: string;
  readonly #secrets: Record<Call["by"], string | undefined>;
  readonly #timeoutMs: number;
  readonly #retries: Retries;
  readonly #fetch: typeof globalThis.fetch;

  /** @param url of the service, such as `http://127.0.0.1:8000`. */
  constructor(url: string, options: ClientOptions = {}) {
    this.url = checkUrl(url);
    this.#secrets = {
      anybody: undefined,
      caller: clean("apiKey", options.apiKey),
      operator: clean("adminToken", options.adminToken),
    };
    this.#timeoutMs = atLeast("timeoutMs", 1, options.timeoutMs ?? 5_000);
    this.#retries = retriesOf(options.retries);
    this.#fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
  }

  /** What should this user see next? */
  recommend(request: RecommendRequest, options?: CallOptions): Promise<RecommendResponse> {
    const repetition = leavesNothing(request) ? "harmless" : "harmful";
    return this.#post("/recommend", request, repetition, options);
  }

  /** Several requests at once; a wrong one has its problem in the place of its answer. */
  recommendBatch(requests: RecommendRequest[], options?: CallOptions): Promise<BatchResponse> {
    const repetition = requests.every(leavesNothing) ? "harmless" : "harmful";
    return this.#post("/recommend/batch", { requests }, repetition, options);
  }

  /** The ratings that a user would give items, by a version of kind `rating`. */
  predictRatings(request: RatingsRequest, options?: CallOptions): Promise<RatingsResponse> {
    return this.#post("/ratings", request, "harmless", options);
  }

  /**
   * Report interactions; they are durable when this resolves. Where an answer is lost, events that
   * all have an `event_id` are sent again, others are not: they might count twice.
   */
  sendEvents(events: Event[], options?: CallOptions): Promise<EventsResponse> {
    const repetition = events.every((event) => event.event_id) ? "harmless" : "harmful";
    return this.#post("/events", { events }, repetition, options);
  }

  /** The items nearest to another. */
  async similarItems(
    itemId: string,
    asked: { k?: number; fields?: string[]; filters?: Record<string, Filter> } = {},
    options?: CallOptions,
  ): Promise<SimilarResponse> {
    const parameters = new URLSearchParams();
    if (asked.k !== undefined) parameters.set("k", String(asked.k));
    for (const field of asked.fields ?? []) parameters.append("fields", field);
    if (asked.filters) parameters.set("filters", JSON.stringify(asked.filters));
    const query = parameters.size ? `?${parameters}` : "";
    const path = `/items/${segment(itemId)}/similar${query}`;
    return this.#send({ method: "GET", path, by: "caller", repetition: "harmless" }, options);
  }

  /** Withdraw items, let them come back, change attributes; needs the admin token. */
  changeItems(items: ItemChange[], options?: CallOptions): Promise<ItemsChanged> {
    const path = "/admin/items";
    return this.#send(
      { method: "PUT", path, body: { items }, by: "operator", repetition: "harmless" },
      options,
    );
  }

  /** Remove all that is kept of a person; needs the admin token. */
  async forgetUser(userId: string, options?: CallOptions): Promise<PersonForgotten> {
    const path = `/users/${segment(userId)}`;
    return this.#send({ method: "DELETE", path, by: "operator", repetition: "harmless" }, options);
  }

  /** Whether the process answers; never repeated. */
  live(options?: CallOptions): Promise<Live> {
    return this.#probe("/health/live", options);
  }

  /** Whether a model answers, and which; never repeated. */
  ready(options?: CallOptions): Promise<Ready> {
    return this.#probe("/health/ready", options);
  }

  #post<Answer>(
    path: string,
    body: unknown,
    repetition: Repetition,
    options: CallOptions | undefined,
  ): Promise<Answer> {
    return this.#send({ method: "POST", path, body, by: "caller", repetition }, options);
  }

  #probe<Answer>(path: string, options: CallOptions | undefined): Promise<Answer> {
    return this.#send({ method: "GET", path, by: "anybody", repetition: "pointless" }, options);
  }

  async #send<Answer>(call: Call, { signal }: CallOptions = {}): Promise<Answer> {
    const requestId = crypto.randomUUID();
    const attempt: Attempt = {
      method: call.method,
      url: `${this.url}${call.path}`,
      headers: this.#headers(call, requestId),
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      timeoutMs: this.#timeoutMs,
      signal,
      requestId,
    };
    for (let nFailed = 1; ; nFailed += 1) {
      try {
        return (await exchange(this.#fetch, attempt)) as Answer;
      } catch (error) {
        if (!(error instanceof LongtailError)) throw error;
        const delayMs = waitMs(this.#retries, call.repetition, nFailed, error);
        if (delayMs === undefined) throw error;
        await sleep(delayMs, signal);
      }
    }
  }

  #headers(call: Call, requestId: string): Record<string, string> {
    const secret = this.#secrets[call.by];
    return {
      accept: "application/json",
      "x-request-id": requestId,
      ...(call.body === undefined ? {} : { "content-type": "application/json" }),
      ...(secret ? { authorization: `Bearer ${secret}` } : {}),
    };
  }
}

/** Whether the service keeps nothing of an answer, so that a lost one can be asked for anew. */
function leavesNothing(request: RecommendRequest): boolean {
  return request.exclude_served == null;
}

/** A text as one segment of a path; in any spelling, fetch takes one or two dots for a way up. */
function segment(text: string): string {
  if (text === "." || text === "..") throw new TypeError(`the id "${text}" can't stand in a URL`);
  return encodeURIComponent(text);
}

function checkUrl(url: string): string {
  const shown = url.includes("@") ? "the service's URL" : `the service's URL ${url}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !["http:", "https:"].includes(parsed.protocol)) {
    throw new TypeError(`${shown} is not one like http://127.0.0.1:8000`);
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new TypeError("the service's URL has more than scheme, host, port and path");
  }
  return url.replace(/\/+$/, "");
}

function clean(name: string, secret: string | undefined): string | undefined {
  const cleaned = secret?.trim();
  if (cleaned && !/^[\x20-\x7e]*$/.test(cleaned)) {
    throw new TypeError(`${name} has characters other than printable ASCII`);
  }
  return cleaned || undefined;
}

async function sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", end, { once: true });
  });
}
