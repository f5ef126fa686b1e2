// A slider over the shares that make sense, and the button that asks for one.

import { html, useState } from "./vendor/htm-preact.js";

const STEPS = [0, 1, 5, 10, 25, 50, 100];

const nearest = (steps, percent) =>
  steps.reduce((best, step, place) =>
    Math.abs(step - percent) < Math.abs(steps[best] - percent) ? place : best, 0);

/**
 * Args: `id`; `label`; `percent`, as it is now, 0 to 100; `of`, what it is a share of;
 * `button(percent)`, the button's text; `onChoose(percent)`. What runs isn't ended by a slider.
 */
export function ShareSlider({ id, label, percent, of, button, onChoose, disabled = false }) {
  const steps = percent ? STEPS.slice(1) : STEPS;
  const [place, setPlace] = useState(nearest(steps, percent));
  const chosen = steps[place];
  return html`<div class="share">
    <label for=${id}>${label}: <output for=${id}>${chosen} %</output></label>
    <input type="range" id=${id} min="0" max=${steps.length - 1} step="1" value=${place}
      aria-valuetext=${`${chosen} percent of the ${of}`} disabled=${disabled}
      onInput=${(event) => setPlace(Number(event.target.value))} />
    <div class="steps" aria-hidden="true">${steps.map((step) => html`<span>${step}</span>`)}</div>
    <button type="button" disabled=${disabled || chosen === percent} onClick=${() => onChoose(chosen)}>
      ${button(chosen)}</button>
  </div>`;
}
