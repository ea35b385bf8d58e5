// The page: one pane or two side by side, one scale for both, and what surrounds them.

import { ask } from "./api.js";
import { drawCards } from "./cards.js";
import { save } from "./export.js";
import { forget, remember, remembered } from "./history.js";
import { Pane } from "./pane.js";
import { drawLegend } from "./scale.js";
import { asCurl, asPython, copy, linkTo, stateOf } from "./share.js";
import { percent } from "./words.js";

const SETTLED = 1500; // milliseconds after which a text belongs to the history
const TOAST = 4000; // milliseconds
const $ = (selector) => document.querySelector(selector);
const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

const panes = [];
let models = { default: "", models: [] };
let settling;

const view = () => $("input[name=view]:checked").value;
const say = (text) => ($("#said").textContent = text);

/** Say something for a few seconds, to everybody. */
function toast(text) {
  $("#toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => ($("#toast").textContent = ""), TOAST);
}

function addPane(model) {
  const asking = $("#asking").appendChild(clone("asking-template"));
  const answering = $("#answers").appendChild(clone("answer-template"));
  const number = panes.length + 1;
  const pane = new Pane(number, asking, answering, { typed, answered });
  panes.push(pane);
  fillModels(pane, model);
  asking.setAttribute("aria-label", number === 1 ? "Text" : "Text to compare with");
  answering.setAttribute("aria-label", number === 1 ? "Answer" : "Answer to compare with");
  return pane;
}

/** Open the second pane: the same text read by the next model, until one of both is changed. */
function compare({ model, text } = {}) {
  const names = models.models.map(({ name }) => name);
  const next = names[(names.indexOf(panes[0].model) + 1) % names.length];
  const pane = addPane(names.includes(model) ? model : next);
  for (const name of ["same-label", "close"]) pane.part(name).hidden = false;
  pane.part("same").checked = text === undefined;
  pane.part("same").addEventListener("change", () => follow(pane));
  pane.part("close").addEventListener("click", closeComparison);
  pane.setText(text ?? panes[0].text);
  follow(pane);
  layOut();
}

/** Let the second pane show its own text field, or follow the first. */
function follow(pane) {
  const same = pane.part("same").checked;
  pane.part("text").hidden = same;
  if (same && pane.text !== panes[0].text) pane.setText(panes[0].text);
}

function closeComparison() {
  const pane = panes.pop();
  pane.stop();
  pane.asking.remove();
  pane.answering.remove();
  layOut();
  refresh();
  $("#compare").focus();
}

function layOut() {
  document.body.classList.toggle("comparing", panes.length > 1);
  $("#compare").setAttribute("aria-expanded", panes.length > 1);
  $("#compare").textContent = panes.length > 1 ? "Stop comparing" : "Compare";
}

function typed(pane) {
  pane.typed();
  if (pane === panes[0] && panes[1]?.part("same").checked) panes[1].setText(pane.part("text").value);
}

function setText(text) {
  panes[0].part("text").value = text;
  typed(panes[0]);
}

function answered(pane) {
  refresh();
  clearTimeout(settling);
  if (!pane.shown) return;
  const { label, probability } = pane.shown.prediction;
  say(`${label} ${percent(probability)}. ${pane.part("change").textContent}`);
  const entry = { text: pane.text, label, probability };
  settling = setTimeout(() => (remember(entry), drawHistory()), SETTLED);
}

/** Shade all panes on one scale, and draw what depends on all answers. */
function refresh() {
  const shown = panes.filter((pane) => pane.shown);
  const signed = shown.every(({ shown }) => shown.prediction.base_log_odds !== null);
  const contribution = $("input[value=contribution]");
  contribution.disabled = !signed;
  contribution.closest("label").title = signed ? "" : "A mechanism on screen has no exact contributions.";
  if (!signed) $("input[value=weight]").checked = true;
  const top = Math.max(0, ...shown.map((pane) => pane.top(view())));
  for (const pane of shown) pane.reading.shade(view(), top);
  $("#legend").hidden = shown.length === 0;
  document.body.classList.toggle("blank", shown.length === 0);
  if (shown.length) {
    const { target, scores } = shown[0].shown.prediction;
    const others = Object.keys(scores).filter((label) => label !== target);
    const away = others.length === 1 ? others[0] : "the others";
    drawLegend($("#legend"), { view: view(), top, towards: target, away });
  }
  drawCards($("#cards"), panes.map(({ model }) => models.models.find(({ name }) => name === model)));
}

function drawHistory() {
  const entries = remembered().map(({ text, label, probability }) => {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.appendChild(document.createElement("span")).textContent = text.slice(0, 200);
    button.appendChild(document.createElement("small")).textContent = `${label} ${percent(probability)}`;
    button.addEventListener("click", () => setText(text));
    return item;
  });
  $("#history ul").replaceChildren(...entries);
  $("#history button:last-child").disabled = entries.length === 0;
  $("#history").hidden = entries.length === 0;
}

function state() {
  const second = panes[1];
  const other = second && !second.part("same").checked ? second.text : undefined;
  return { text: panes[0].text, model: panes[0].model, by: view(), text2: other, model2: second?.model };
}

/** Show what the URL's fragment says. */
function openState() {
  const { text, model, by, text2, model2 } = stateOf(location.hash);
  const names = models.models.map(({ name }) => name);
  if (names.includes(model)) panes[0].part("model").value = model;
  if (by) for (const each of document.getElementsByName("view")) each.checked = each.value === by;
  if (text !== undefined) setText(text);
  if (panes.length > 1) closeComparison();
  if (model2 !== undefined || text2 !== undefined) compare({ model: model2, text: text2 });
}

function closeKeep() {
  $("#keep").open = false;
  $("#keep summary").focus();
}

async function onKeep(event) {
  const { copy: kind, save: form } = event.target.dataset;
  const questions = panes.map((pane) => pane.question);
  const made = {
    link: () => linkTo(state()),
    curl: () => questions.map(asCurl).join("\n"),
    python: () => questions.map(asPython).join("\n"),
  };
  try {
    if (kind) {
      await copy(made[kind]());
      toast("Copied.");
    } else if (form) await save(form, panes.filter((pane) => pane.shown), $("#legend"));
    else return;
    closeKeep();
  } catch (error) {
    toast(error.message);
  }
}

/** Learn which models there are; until then nothing can be asked. */
async function loadModels() {
  try {
    models = await ask("models");
  } catch (problem) {
    panes[0].fail(problem, loadModels);
    return;
  }
  const { text } = panes[0];
  fillModels(panes[0], models.default);
  openState();
  if (text) setText(text);
  refresh();
}

function fillModels(pane, model) {
  pane.part("model").replaceChildren(...models.models.map(({ name }) => new Option(name)));
  pane.part("model").value = model;
}

$(".examples").addEventListener("click", ({ target }) => target.dataset.text && setText(target.dataset.text));
$(".switch").addEventListener("change", refresh);
$("#compare").addEventListener("click", () => (panes.length > 1 ? closeComparison() : compare()));
$("#keep").addEventListener("click", onKeep);
$("#keep").addEventListener("keydown", ({ key }) => key === "Escape" && closeKeep());
addEventListener("click", ({ target }) => $("#keep").contains(target) || ($("#keep").open = false));
$("#history button:last-child").addEventListener("click", () => (forget(), drawHistory()));
addEventListener("hashchange", openState);
addPane("");
drawHistory();
refresh();
loadModels();
