/** What the client does when a call fails; the server answers what a test tells it to. */

import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import {
  AnswerTimeoutError,
  ApiError,
  Client,
  type ClientOptions,
  LongtailError,
  UnreachableError,
  UnreadableAnswerError,
} from "../src/index.js";
import { readRetryAfter, RETRIES, waitMs } from "../src/retries.js";

interface Answer {
  status?: number;
  body?: string;
  headers?: Record<string, string>;
}

const EVENTS = { body: '{"accepted": 1, "unknown_items": 0, "degraded": []}' };
const SIMILAR = { body: '{"item_id": "1", "model_version": "v", "degraded": [], "items": []}' };
const NOT_READY = {
  status: 503,
  body: '{"detail": "no model is loaded", "request_id": "r-1"}',
  headers: { "retry-after": "0" },
};
const NAMED = { user_id: "1", item_id: "2", event_id: "e-1" };
const NAMELESS = { user_id: "1", item_id: "2" };
const QUICK: ClientOptions = { retries: { backoffMs: 1 } };

/** Call `use` with a client of a server that answers by a script, its last line for ever. */
async function scripted(
  script: (Answer | "break" | "hang")[],
  use: (client: Client) => Promise<unknown>,
  options = QUICK,
): Promise<IncomingHttpHeaders[]> {
  const requests: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    const answer = script[Math.min(requests.length, script.length - 1)];
    requests.push(request.headers);
    if (answer === "hang") return;
    if (answer === undefined || answer === "break") {
      request.socket.destroy();
      return;
    }
    request.resume().on("end", () => {
      response.writeHead(answer.status ?? 200, answer.headers).end(answer.body ?? "");
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    await use(new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, options));
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return requests;
}

test("a call is repeated while the service is not ready", async () => {
  const busy = { status: 429, headers: { "retry-after": "0" } };
  const requests = await scripted([NOT_READY, busy, SIMILAR], (client) =>
    client.similarItems("1"),
  );
  assert.equal(requests.length, 3);
  assert.equal(new Set(requests.map((one) => one["x-request-id"])).size, 1);
});

test("the last failure is what the call is rejected with", async () => {
  const requests = await scripted([NOT_READY], (client) =>
    assert.rejects(client.similarItems("1"), (error: unknown) => {
      assert.ok(error instanceof ApiError);
      assert.deepEqual([error.status, error.requestId], [503, "r-1"]);
      return true;
    }),
  );
  assert.equal(requests.length, 3);
});

for (const failure of [NOT_READY, { status: 502, body: "<html>" }, "break"] as const) {
  test(`events are repeated by their event_id (${JSON.stringify(failure)})`, async () => {
    const named = await scripted([failure, EVENTS], (client) => client.sendEvents([NAMED]));
    assert.equal(named.length, 2);
    const nameless = await scripted([failure, EVENTS], (client) =>
      assert.rejects(client.sendEvents([NAMED, NAMELESS]), (error: unknown) => {
        assert.ok(error instanceof LongtailError && error.mayHaveActed);
        return true;
      }),
    );
    assert.equal(nameless.length, 1);
  });
}

for (const status of [408, 429]) {
  test(`what was not looked at is always repeated (${status})`, async () => {
    const requests = await scripted([{ status }, EVENTS], (client) =>
      client.sendEvents([NAMELESS]),
    );
    assert.equal(requests.length, 2);
  });
}

test("a feed is not repeated where its answer may have been kept", async () => {
  const feed = { user_id: "1", exclude_served: { answers: 5 } };
  const requests = await scripted(["break"], (client) =>
    assert.rejects(client.recommend(feed), UnreachableError),
  );
  assert.equal(requests.length, 1);
});

for (const status of [400, 401, 403, 404, 409, 422, 500]) {
  test(`what a repetition does not mend is final (${status})`, async () => {
    const requests = await scripted([{ status }], (client) =>
      assert.rejects(client.similarItems("1"), ApiError),
    );
    assert.equal(requests.length, 1);
  });
}

test("probes are not repeated", async () => {
  const requests = await scripted([NOT_READY], (client) =>
    assert.rejects(client.ready(), ApiError),
  );
  assert.equal(requests.length, 1);
});

test("an answer that does not come in time", async () => {
  const options = { timeoutMs: 100, retries: { attempts: 2, backoffMs: 1 } };
  const requests = await scripted(
    ["hang"],
    (client) => assert.rejects(client.similarItems("1"), AnswerTimeoutError),
    options,
  );
  assert.equal(requests.length, 2);
});

test("a call that its caller ends", async () => {
  const requests = await scripted(["hang"], async (client) => {
    const signal = AbortSignal.timeout(100);
    await assert.rejects(client.similarItems("1", {}, { signal }), { name: "TimeoutError" });
  });
  assert.equal(requests.length, 1);
  const waiting = { status: 429, headers: { "retry-after": "4" } };
  await scripted([waiting], async (client) => {
    const signal = AbortSignal.timeout(100);
    await assert.rejects(client.similarItems("1", {}, { signal }), { name: "TimeoutError" });
  });
});

test("numbers that are undefined are the usual ones, and wrong ones are named", async () => {
  const unset = { retries: { attempts: undefined, backoffMs: 1 }, timeoutMs: undefined };
  const requests = await scripted(
    [NOT_READY],
    (client) => assert.rejects(client.similarItems("1"), ApiError),
    unset as unknown as ClientOptions,
  );
  assert.equal(requests.length, RETRIES.attempts);
  const wrong: [ClientOptions, RegExp][] = [
    [{ retries: { attempts: NaN } }, /attempts=NaN is below 1/],
    [{ retries: { backoffMs: -1 } }, /backoffMs=-1 is below 0/],
    [{ timeoutMs: 0 }, /timeoutMs=0 is below 1/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => new Client("http://127.0.0.1:8000", options), message);
  }
});

test("a service that is not there", async () => {
  let url = "";
  await scripted(["break"], async (client) => {
    url = client.url;
  });
  await assert.rejects(new Client(url, QUICK).sendEvents([NAMELESS]), (error: unknown) => {
    assert.ok(error instanceof UnreachableError && !error.mayHaveActed);
    return true;
  });
});

test("an answer of something else", async () => {
  for (const answer of [{ body: "<html>" }, { body: "7" }, { status: 302 }]) {
    const requests = await scripted([answer], (client) =>
      assert.rejects(client.similarItems("1"), UnreadableAnswerError),
    );
    assert.equal(requests.length, 1);
  }
});

test("waits: as long as the service asks, and a random part of a limit", () => {
  const error = (retryAfterMs?: number) => new ApiError(503, { detail: "", retryAfterMs }, "r");
  const retries = { ...RETRIES, attempts: 20 };
  for (let nFailed = 1; nFailed < 20; nFailed += 1) {
    const limit = Math.min(5_000, 100 * 2 ** (nFailed - 1));
    const asked = waitMs(retries, "harmless", nFailed, error(2_000)) ?? 0;
    assert.ok(asked >= 2_000 && asked <= 2_000 + limit);
  }
  assert.equal(waitMs(retries, "harmless", 20, error()), undefined);
  assert.equal(waitMs(retries, "harmless", 1, error(5_001)), undefined);
  assert.equal(readRetryAfter("7"), 7_000);
  assert.equal(readRetryAfter("Wed, 21 Oct 2015 07:28:00 GMT"), 0);
  assert.equal(readRetryAfter("soon"), undefined);
  assert.equal(readRetryAfter(null), undefined);
});
