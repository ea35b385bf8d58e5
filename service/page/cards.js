// What is known of the models on screen, and whether their weights may be believed.

import { ask } from "./api.js";
import { track } from "./scale.js";
import { describe, evidence, figure, percent, verdictOnWeights } from "./words.js";

const asked = new Map(); // version -> promise of the card

/** Draw a card for each different one of `models`, entries of GET /models. */
export function drawCards(root, models) {
  const known = [...new Set(models.filter(Boolean))];
  const versions = known.map(({ version }) => version).join();
  if (root.dataset.versions === versions) return;
  root.dataset.versions = versions;
  root.replaceChildren(...known.map(drawCard));
}

function drawCard(model) {
  const card = document.getElementById("card-template").content.firstElementChild.cloneNode(true);
  const part = (name) => card.querySelector(`[data-part=${name}]`);
  const verdict = verdictOnWeights(model);
  part("name").textContent = model.name;
  part("what").textContent = describe(model);
  part("verdict").textContent = verdict.text;
  part("verdict").dataset.good = verdict.good;
  if (!asked.has(model.version)) asked.set(model.version, ask(`models/${encodeURIComponent(model.name)}`));
  asked.get(model.version).then(
    (found) => addFigures(part, found),
    () => asked.delete(model.version), // the verdict stands without its figures
  );
  return card;
}

function addFigures(part, { faithfulness, metrics }) {
  const falls = evidence(faithfulness) ?? [];
  const most = Math.max(...falls.map(([, fall]) => fall));
  part("evidence").hidden = falls.length === 0;
  part("evidence").querySelector("ul").replaceChildren(...falls.map(([name, fall]) => {
    const row = document.createElement("li");
    row.appendChild(document.createElement("span")).textContent = name;
    row.append(track(Math.max(0, fall / most)));
    const value = row.appendChild(document.createElement("span"));
    value.className = "number";
    value.textContent = figure(fall);
    return row;
  }));
  const measured = metrics.test ?? metrics.validation;
  const where = metrics.test ? "test" : "validation";
  const texts = `${measured?.texts?.toLocaleString("en")} ${where} texts`;
  if (measured?.accuracy) part("accuracy").textContent = `Right on ${percent(measured.accuracy)} of ${texts}.`;
}
