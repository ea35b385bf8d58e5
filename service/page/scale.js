// How strongly a token is shaded, on one scale for everything that is on screen.

import { figure, signed } from "./words.js";

export const LEVELS = 8;

/** Return a token's value in this view: its weight, or its signed contribution (0 where there is none). */
export const valueOf = (token, view) => (view === "weight" ? token.weight : (token.contribution ?? 0));

export function topOf(tokens, view) {
  let top = 0;
  for (const token of tokens) top = Math.max(top, Math.abs(valueOf(token, view)));
  return top;
}

/** Shade an element; the level decides colour and the underline's thickness, the sign its colour and style. */
export function shade(element, value, top, view) {
  const level = top > 0 ? Math.min(LEVELS, Math.round((LEVELS * Math.abs(value)) / top)) : 0;
  element.dataset.level = level;
  element.dataset.sign = view === "weight" ? "none" : value < 0 ? "minus" : "plus";
}

/** Fill the legend: a swatch for each level with the value it stands for. */
export function drawLegend(root, { view, top, towards, away }) {
  const levels = [];
  for (let level = view === "weight" ? 0 : -LEVELS; level <= LEVELS; level += 2) levels.push(level);
  const swatches = document.createElement("span");
  swatches.className = "swatches";
  for (const level of levels) {
    const swatch = swatches.appendChild(document.createElement("span"));
    swatch.className = "token swatch";
    shade(swatch, level, LEVELS, view);
    const value = (top * level) / LEVELS;
    swatch.textContent = view === "weight" ? figure(value) : value === 0 ? "0" : signed(value);
  }
  const [left, right] = view === "weight" ? ["no weight", "most weight"] : [`towards ${away}`, `towards ${towards}`];
  root.replaceChildren(caption(left), swatches, caption(right));
}

/** Return a bar that is filled up to `share`, with a mark at the share before if that was another. */
export function track(share, before = share) {
  const element = document.createElement("span");
  element.className = "track";
  const filled = element.appendChild(document.createElement("span"));
  filled.className = "filled";
  filled.style.setProperty("--share", share);
  if (before !== share) {
    const mark = element.appendChild(document.createElement("span"));
    mark.className = "mark";
    mark.style.setProperty("--share", before);
  }
  return element;
}

function caption(text) {
  const element = document.createElement("span");
  element.className = "caption";
  element.textContent = text;
  return element;
}
