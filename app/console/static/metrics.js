// Reads Prometheus' text format, and computes rates and percentiles from two readings.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** Samples by metric name, each { labels, value }. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\[n"\\]/g, (escape) => ESCAPED[escape]);
    }
    const samples = found.get(match[1]) ?? [];
    samples.push({ labels, value: Number(match[3]) });
    found.set(match[1], samples);
  }
  return found;
}

/** The counters that the charts need, at `atS` seconds. */
export function readCounters(text, atS) {
  const metrics = parse(text);
  const counters = { atS };
  for (const group of ["answers", "errors", "buckets", "degraded", "rerank"]) counters[group] = byName();
  const add = (group, key, value) => {
    counters[group][key] = (counters[group][key] ?? 0) + value;
  };
  const requests = (metrics.get("longtail_requests_total") ?? [])
    .filter(({ labels }) => labels.route === "/recommend");
  for (const { labels, value } of [...requests, ...(metrics.get("longtail_batch_entries_total") ?? [])]) {
    // Requests that were wrong, or rejected by overload, were answered by no version.
    const version = labels.version || "none";
    add("answers", version, value);
    if (labels.status >= "500") add("errors", version, value);
  }
  for (const { labels, value } of metrics.get("longtail_request_seconds_bucket") ?? []) {
    if (labels.route !== "/recommend" || !labels.version) continue;
    const of = (counters.buckets[labels.version] ??= byName());
    of[labels.le] = (of[labels.le] ?? 0) + value;
  }
  for (const { labels, value } of metrics.get("longtail_degraded_total") ?? []) {
    add("degraded", named(labels, "what"), value);
  }
  for (const { labels, value } of metrics.get("longtail_rerank_outcomes_total") ?? []) {
    add("rerank", named(labels, "outcome"), value);
  }
  return counters;
}

const named = (labels, name) => [labels[name], labels.version, labels.arm && `arm ${labels.arm}`].filter(Boolean).join(" · ");

/** What happened between two readings, per second. A counter that fell began anew, at zero. */
export function between(before, after) {
  const seconds = after.atS - before.atS;
  const rates = (group) => mapValues(after[group], (value, key) =>
    increase(before[group][key], value) / seconds);
  const answers = rates("answers");
  const errors = rates("errors");
  const latency = mapValues(after.buckets, (buckets, version) => {
    const grown = mapValues(buckets, (value, le) => increase(before.buckets[version]?.[le], value));
    return { p50: quantile(grown, 0.5), p95: quantile(grown, 0.95), p99: quantile(grown, 0.99) };
  });
  return {
    atS: after.atS,
    answers,
    errorShare: mapValues(answers, (rate, version) =>
      rate ? (100 * (errors[version] ?? 0)) / rate : null),
    p50: mapValues(latency, (one) => one.p50),
    p95: mapValues(latency, (one) => one.p95),
    p99: mapValues(latency, (one) => one.p99),
    degraded: rates("degraded"),
    rerank: rates("rerank"),
  };
}

const increase = (before = 0, after) => (after >= before ? after - before : after);

/** An object whose keys are its own alone: a version may be called "constructor". */
const byName = (entries = []) => Object.assign(Object.create(null), Object.fromEntries(entries));

const mapValues = (object, change) =>
  byName(Object.entries(object).map(([key, value]) => [key, change(value, key)]));

/** A quantile in milliseconds from counts by upper bound in seconds; null without any. */
export function quantile(buckets, share) {
  const bounds = Object.entries(buckets)
    .map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count])
    .sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let [lower, below] = [0, 0];
  for (const [upper, count] of bounds) {
    if (count >= share * total) {
      // As Prometheus has it: evenly within a bucket, and the last bound for what is above it.
      if (upper === Infinity) return 1e3 * lower;
      return 1e3 * (lower + ((upper - lower) * (share * total - below)) / (count - below || 1));
    }
    [lower, below] = [upper, count];
  }
  return null;
}
