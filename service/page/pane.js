// One text read by one model: asks while one types, shows the answer, and what changes without a word.

import { ask } from "./api.js";
import { Reading } from "./reading.js";
import { topOf, track } from "./scale.js";
import { current, isEdited, original, pieces, remove, replace, restore, whole } from "./segments.js";
import { drawTable } from "./table.js";
import { figure, percent, points, signed } from "./words.js";

const TYPING_PAUSE = 60; // milliseconds
const MOST_LABELS = 6;

export class Pane {
  /**
   * @param number of the pane on the page.
   * @param asking the element with the text field and the model's name; @param answering the one with the answer.
   * @param page {typed(pane), answered(pane)}: told when the text is typed, and after each answer.
   */
  constructor(number, asking, answering, page) {
    const part = (name) => {
      const selector = `[data-part=${name}]`;
      return asking.querySelector(selector) ?? answering.querySelector(selector);
    };
    Object.assign(this, { asking, answering, part, page });
    this.segments = whole("");
    this.past = []; // segments, for undo
    this.shown = null; // {segments, prediction, original, model} on screen
    part("facts").id = `facts-${number}`;
    const on = {
      select: (item) => this.#drawToken(item),
      remove: ({ token }) => this.#edit(remove(this.shown.segments, token)),
      restore: ({ index }) => this.#edit(restore(this.shown.segments, index)),
      edit: () => part("replacement").select(),
      undo: () => this.undo(),
    };
    this.reading = new Reading(part("reading"), on, part("facts").id);
    part("text").addEventListener("input", () => page.typed(this));
    part("model").addEventListener("change", () => this.ask({ afresh: true }));
    part("retry").addEventListener("click", () => this.again());
    part("undo").addEventListener("click", () => this.undo());
    part("reset").addEventListener("click", () => this.#edit(whole(original(this.segments))));
    part("act").addEventListener("click", () => this.#act());
    part("replace").addEventListener("submit", (event) => this.#replace(event));
    part("details").addEventListener("toggle", () => this.#drawTable());
  }

  get text() {
    return current(this.segments);
  }

  get model() {
    return this.part("model").value;
  }

  get question() {
    return { text: this.text, model: this.model };
  }

  /** Take a new text, and forget the edits of the one before. */
  setText(text, { pause = 0 } = {}) {
    const field = this.part("text");
    if (field.value !== text) field.value = text;
    this.segments = whole(text.toWellFormed());
    this.past = [];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask({ afresh: true }), pause);
  }

  typed() {
    this.setText(this.part("text").value, { pause: TYPING_PAUSE });
  }

  undo() {
    if (this.past.length === 0) return;
    this.segments = this.past.pop();
    this.ask();
  }

  /** Ask for the current text, and for the original where it is not known yet; the question before is dropped. */
  async ask({ afresh = false } = {}) {
    this.stop();
    if (afresh) this.original = null;
    const { segments, model } = this;
    if (!model) return; // the models are not known yet
    if (!original(segments).trim()) return this.#show(null);
    const edited = isEdited(segments);
    const texts = edited && !this.original ? [original(segments), current(segments)] : [current(segments)];
    const { signal } = (this.asked = new AbortController());
    this.answering.ariaBusy = "true";
    try {
      const answer = await ask("predict", { texts, model, offset_encoding: "utf16" }, signal);
      if (!edited || texts.length === 2) this.original = answer.predictions[0];
      this.#show({ segments, answer, prediction: answer.predictions.at(-1), original: this.original, afresh });
    } catch (problem) {
      if (problem.name !== "AbortError") this.fail(problem);
    }
  }

  /** Drop the question that is being asked. */
  stop() {
    this.asked?.abort();
    clearTimeout(this.timer);
  }

  /** The largest value on screen in this view, of the text as it is and as it was. */
  top(view) {
    const { prediction, original } = this.shown ?? { prediction: { tokens: [] }, original: { tokens: [] } };
    return Math.max(topOf(prediction.tokens, view), topOf(original.tokens, view));
  }

  #edit(segments) {
    this.past.push(this.segments);
    this.segments = segments;
    this.ask();
  }

  #act() {
    const item = this.reading.items[this.reading.at];
    if (item.kind === "removed") this.#edit(restore(this.shown.segments, item.index));
    else this.#edit(remove(this.shown.segments, item.token));
  }

  #replace(event) {
    event.preventDefault();
    const { token } = this.reading.items[this.reading.at];
    const text = this.part("replacement").value.toWellFormed();
    if (token) this.#edit(replace(this.shown.segments, token.start, token.end, text));
    this.part("replacement").value = "";
    this.reading.select(this.reading.at, true);
  }

  #state(name) {
    this.answering.ariaBusy = "false";
    for (const each of ["empty", "problem", "result"]) this.part(each).hidden = each !== name;
    this.part("undo").disabled = this.past.length === 0;
    this.part("reset").disabled = !isEdited(this.segments);
    this.part("changes").hidden = !isEdited(this.segments) && this.past.length === 0;
  }

  /** Show a failure; `again` is what its button does. */
  fail(problem, again = () => this.ask()) {
    this.again = again;
    this.part("problem-title").textContent = problem.title ?? "The page failed";
    const offences = (problem.errors ?? []).map(({ detail }) => detail);
    this.part("problem-detail").textContent = offences.length ? "" : problem.message;
    list(this.part("problem-errors"), offences);
    this.#state("problem");
    if (problem.retryAfter) this.timer = setTimeout(again, 1000 * problem.retryAfter);
  }

  #show(shown) {
    this.shown = shown;
    this.#state(shown ? "result" : "empty");
    if (shown) {
      this.#drawHeadline();
      const { tokens } = shown.prediction;
      const heaviest = tokens.reduce((best, { weight }, at) => (weight > tokens[best].weight ? at : best), 0);
      this.reading.draw(pieces(shown.segments, shown.prediction), shown.afresh ? heaviest : undefined);
      this.#drawSum();
      this.#drawTable();
    }
    this.page.answered(this);
  }

  #drawHeadline() {
    const { prediction, original: before, segments } = this.shown;
    this.part("label").textContent = prediction.label;
    this.part("probability").textContent = percent(prediction.probability);
    const scores = Object.entries(prediction.scores);
    if (scores.length > MOST_LABELS) scores.sort(([, a], [, b]) => b - a).splice(MOST_LABELS);
    const bars = scores.map(([label, score]) => bar(label, score, before.scores[label], label === prediction.label));
    this.part("scores").replaceChildren(...bars);
    const [was, now] = [before.scores[before.label], prediction.scores[before.label]];
    const flip = before.label === prediction.label ? "" : ` The answer turns ${prediction.label}.`;
    this.part("change").textContent = isEdited(segments)
      ? `${before.label}: ${percent(was)} → ${percent(now)}, ${points(now - was)}.${flip}`
      : "";
    const { tokens_read: read, tokens_total: total } = prediction.truncation;
    list(this.part("warnings"), prediction.warnings.map(({ message }) => message));
    this.part("count").textContent = `${read.toLocaleString("en")} of ${total.toLocaleString("en")} tokens read`;
  }

  /** Show the figures of a token. */
  #drawToken({ kind, text, token }) {
    const facts = this.part("facts");
    const add = (name, value) => {
      const row = facts.appendChild(document.createElement("div"));
      row.appendChild(document.createElement("dt")).textContent = name;
      row.appendChild(document.createElement("dd")).textContent = value;
    };
    this.part("word").textContent = text;
    this.part("act").textContent = kind === "removed" ? "Restore" : "Remove";
    this.part("replace").hidden = kind === "removed";
    facts.replaceChildren();
    if (!token) return add("Removed", "not read");
    const { prediction } = this.shown;
    add("Weight", `${figure(token.weight)}, ${figure(token.weight * prediction.tokens.length)} × an even share`);
    if (token.contribution !== null)
      add("Contribution", `${signed(token.contribution, 3)} ${direction(token.contribution, prediction)}`);
    if (!token.known) add("Vocabulary", "unknown word");
  }

  /** Show that contributions add up to the log-odds of the answer. */
  #drawSum() {
    const { base_log_odds: base, tokens, target } = this.shown.prediction;
    const words = tokens.reduce((sum, { contribution }) => sum + contribution, 0);
    const shares = `${signed(base ?? 0, 3)} before any word, ${signed(words, 3)} from the words`;
    this.part("sum").textContent =
      base === null
        ? "This mechanism has no exact contributions."
        : `${shares}; together ${signed(base + words, 3)}, the log-odds of ${target}.`;
  }

  #drawTable() {
    if (this.part("details").open && this.shown) drawTable(this.part("table"), this.shown.prediction.tokens);
  }
}

/** Say which label a contribution pushes towards. */
function direction(contribution, { target, scores }) {
  const others = Object.keys(scores).filter((label) => label !== target);
  if (contribution >= 0) return `towards ${target}`;
  return others.length === 1 ? `towards ${others[0]}` : `away from ${target}`;
}

function list(root, texts) {
  root.replaceChildren(...texts.map((textContent) => Object.assign(document.createElement("li"), { textContent })));
}

function bar(label, score, before, winner) {
  const row = document.createElement("li");
  row.className = winner ? "score winner" : "score";
  const name = row.appendChild(document.createElement("span"));
  name.textContent = label;
  row.append(track(score, before));
  const value = row.appendChild(document.createElement("span"));
  value.className = "number";
  value.textContent = percent(score);
  return row;
}
