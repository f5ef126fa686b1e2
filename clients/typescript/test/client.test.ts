/** Against a running service: SERVICE_URL, ADMIN_TOKEN and ODD_ID say which. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { ApiError, Client } from "../src/index.js";

const url = process.env["SERVICE_URL"] ?? "";
const adminToken = process.env["ADMIN_TOKEN"] ?? "";
const oddId = process.env["ODD_ID"] ?? "";
const client = new Client(url, { adminToken: ` ${adminToken}\n` });

function isApiError(error: unknown, status: number): error is ApiError {
  assert.ok(error instanceof ApiError, inspect(error));
  assert.equal(error.status, status);
  return true;
}

test("recommendations", async () => {
  const answer = await client.recommend({
    user_id: "196",
    k: 3,
    fields: ["title", "year"],
    filters: { genres: { any: ["comedy", "drama"] }, year: { gte: 1980 } },
    explain: true,
  });
  assert.equal(answer.served_by, "model");
  assert.deepEqual(
    answer.items.map((item) => item.rank),
    [1, 2, 3],
  );
  assert.ok(answer.items[0]?.explanation?.because.length);
});

test("a batch has problems in the place of wrong requests", async () => {
  const { responses } = await client.recommendBatch([{ user_id: "196" }, { user_id: "196", k: 0 }]);
  const [right, wrong] = responses;
  assert.ok(right && "items" in right && right.items.length === 10);
  assert.ok(wrong && "errors" in wrong && wrong.errors?.[0]?.field === "k");
});

test("ratings", async () => {
  const asked = { user_id: "u2", item_ids: ["50", "i2"] };
  const { ratings } = await client.predictRatings({ ...asked, model: "ratings" });
  assert.deepEqual(
    ratings.map((one) => one.item_id),
    ["50", "i2"],
  );
  await assert.rejects(client.predictRatings(asked), (error) => isApiError(error, 409));
});

test("events are seen by the next request", async () => {
  const event = { user_id: "from-typescript", item_id: "50", event_id: "e1" };
  const answer = await client.sendEvents([event]);
  assert.equal(answer.accepted, 1);
  const { items } = await client.recommend({ user_id: "from-typescript", k: 60 });
  assert.ok(!items.some((item) => item.item_id === "50"));
});

test("similar items, and any id in a path", async () => {
  const asked = { k: 4, fields: ["genres"], filters: { genres: { any: ["drama"] } } };
  const { items } = await client.similarItems("50", asked);
  assert.equal(items.length, 4);
  assert.ok(items.every((item) => (item.fields?.["genres"] as string[]).includes("drama")));
  assert.equal((await client.similarItems(oddId)).item_id, oddId);
  await assert.rejects(client.similarItems("..x"), (error) => isApiError(error, 404));
  await assert.rejects(client.similarItems(".."), /can't stand in a URL/);
});

test("operators' calls need the admin token", async () => {
  const changes = [{ item_id: "i1", attributes: { year: 1999 } }];
  assert.equal((await client.changeItems(changes)).items, 1);
  assert.equal((await client.forgetUser("nobody")).events, 0);
  const without = new Client(url);
  await assert.rejects(without.changeItems(changes), (error) => isApiError(error, 401));
});

test("health", async () => {
  assert.equal((await client.live()).status, "live");
  assert.equal((await client.ready()).store, "up");
});

test("an error has the service's message, fields and request id", async () => {
  await assert.rejects(client.recommend({ user_id: "196", k: 2_000 }), (error: unknown) => {
    assert.ok(isApiError(error, 422));
    assert.deepEqual([error.errors[0]?.field, error.errors[0]?.value], ["k", 2_000]);
    assert.match(error.message, /^422: k: .*1000.*\(request [0-9a-f-]{36}\)$/);
    assert.equal(error.mayHaveActed, false);
    return true;
  });
});

test("secrets are not shown", () => {
  assert.ok(!inspect(client, { depth: 5 }).includes(adminToken));
  assert.throws(() => new Client(url, { apiKey: "half\na key" }), /^TypeError: apiKey has/);
  assert.throws(() => new Client("ftp://x"), /is not one like http/);
  assert.throws(() => new Client("http://anna:secret@127.0.0.1"), /more than scheme/);
});
