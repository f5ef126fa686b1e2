// A line chart over time, drawn by uPlot (vendor/uPlot.js).

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";

// Lines differ by dashes too, not by colour alone.
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 6], [4, 4]];
const HEIGHT = 150;
const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * Args: `title`; `unit`, after each value; `times`, in seconds; `lines`, values by name, null where
 * there is none. What it shows stands in the page as text as well.
 */
export function Chart({ title, unit, times, lines }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [isDark, setDark] = useState(dark.matches);
  const names = Object.keys(lines);
  const data = [times, ...Object.values(lines)];

  useEffect(() => {
    const onChange = () => setDark(dark.matches);
    dark.addEventListener("change", onChange);
    return () => dark.removeEventListener("change", onChange);
  }, []);

  useEffect(() => {
    const width = place.current.clientWidth;
    plot.current = new uPlot({ ...optionsFor(names, unit), width, height: HEIGHT }, data, place.current);
    const resizing = new ResizeObserver(([{ contentRect }]) =>
      plot.current.setSize({ width: contentRect.width, height: HEIGHT }));
    resizing.observe(place.current);
    return () => {
      resizing.disconnect();
      plot.current.destroy();
    };
  }, [names.join("\n"), isDark]);

  useEffect(() => {
    plot.current.setData(data);
    // Unless the pointer names a moment, the legend tells the newest values.
    if (plot.current.cursor.idx == null) plot.current.setLegend({ idx: times.length - 1 });
  }, [times]);

  const now = names.map((name) => `${name} ${withUnit(lines[name].at(-1), unit)}`).join(", ");
  return html`<figure class="chart">
    <figcaption>${title}${unit ? html` <small>${unit}</small>` : ""}</figcaption>
    <div ref=${place} role="img" aria-label=${`${title}, now: ${now || "nothing yet"}`}></div>
  </figure>`;
}

export const withUnit = (value, unit) =>
  value === null || value === undefined ? "–" : `${format(value)} ${unit}`.trim();

const format = (value) =>
  value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

const dashOf = (place) => DASHES[place % DASHES.length];
const clock = (atS) => (atS ? new Date(1e3 * atS).toLocaleTimeString("en-GB") : "–");

function optionsFor(names, unit) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  return {
    cursor: { y: false, points: { size: 6 } },
    legend: { markers: { width: 2, dash: (_, place) => (dashOf(place - 1).length ? "dashed" : "solid") } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } },
    axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 52, values: (_, ticks) => ticks.map(format) }],
    series: [
      { label: "at", value: (_, atS) => clock(atS) },
      ...names.map((label, place) => ({
        label,
        stroke: colour(`--line-${(place % DASHES.length) + 1}`),
        dash: dashOf(place),
        width: 2,
        points: { show: false },
        value: (_, value) => withUnit(value, unit),
      })),
    ],
  };
}
