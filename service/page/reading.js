// The text, token by token: drawn at once, listened to at one place, walked by arrow keys.

import { shade, valueOf } from "./scale.js";

// Characters that draw nothing or would turn their neighbours round: each is shown by its code, and kept to itself.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/gu;

export class Reading {
  /**
   * @param on {select(piece), remove(piece), restore(piece), edit(), undo()}: what a reader does with a word.
   * @param figures id of the element that `select` fills; screen readers read it with the word.
   */
  constructor(root, on, figures) {
    Object.assign(this, { root, on, figures });
    this.items = []; // the pieces one can go to, each with its element
    this.at = 0;
    root.addEventListener("pointerover", (event) => event.pointerType !== "touch" && this.#point(event));
    root.addEventListener("focusin", (event) => this.#point(event));
    root.addEventListener("pointerdown", (event) => this.#press(event));
    root.addEventListener("click", (event) => this.#click(event));
    root.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Draw the pieces, and select the item at this place among those one can go to. */
  draw(pieces, at = this.at) {
    const focused = this.root.contains(document.activeElement);
    const fragment = document.createDocumentFragment();
    this.items = [];
    for (const piece of pieces) fragment.append(this.#element(piece));
    this.root.replaceChildren(fragment);
    this.at = Math.max(0, Math.min(at, this.items.length - 1));
    if (this.items.length) this.select(this.at, focused);
  }

  shade(view, top) {
    for (const { token, element } of this.items) if (token) shade(element, valueOf(token, view), top, view);
  }

  select(at, focus = false) {
    this.items[this.at]?.element.setAttribute("tabindex", "-1");
    this.items[this.at]?.element.removeAttribute("aria-describedby");
    this.items[this.at]?.element.classList.remove("current");
    this.at = at;
    const item = this.items[at];
    item.element.setAttribute("tabindex", "0");
    item.element.setAttribute("aria-describedby", this.figures);
    item.element.classList.add("current");
    this.on.select(item);
    if (focus) item.element.focus();
  }

  #element(piece) {
    if (piece.kind === "gap") return write(document.createDocumentFragment(), piece.text);
    const element = document.createElement({ token: "span", removed: "del", unread: "span" }[piece.kind]);
    element.className = piece.kind;
    write(element, piece.text);
    if (piece.kind === "unread") return element;
    element.setAttribute("role", "button");
    element.setAttribute("tabindex", "-1");
    if (piece.kind === "removed") element.setAttribute("aria-label", `${piece.text}, removed; press to restore`);
    if (piece.token && !piece.token.known) element.classList.add("unknown");
    element.dataset.item = this.items.length;
    this.items.push({ ...piece, element });
    return element;
  }

  #itemOf(event) {
    const element = event.target.closest?.("[data-item]");
    return element ? Number(element.dataset.item) : null;
  }

  #point(event) {
    const at = this.#itemOf(event);
    if (at !== null && at !== this.at) this.select(at);
  }

  #press(event) {
    this.wasCurrent = this.#itemOf(event) === this.at;
  }

  /** A click acts; a tap acts on the word that was tapped before, as a finger cannot hover. */
  #click(event) {
    const at = this.#itemOf(event);
    if (at === null || !getSelection().isCollapsed) return;
    this.select(at);
    if (event.pointerType !== "touch" || this.wasCurrent) this.#act();
  }

  #act() {
    const item = this.items[this.at];
    if (item.kind === "removed") this.on.restore(item);
    else this.on.remove(item);
  }

  #key(event) {
    const rightToLeft = getComputedStyle(this.root).direction === "rtl";
    const last = this.items.length - 1;
    const steps = {
      ArrowRight: () => this.at + (rightToLeft ? -1 : 1),
      ArrowLeft: () => this.at + (rightToLeft ? 1 : -1),
      ArrowDown: () => this.#onNextLine(1),
      ArrowUp: () => this.#onNextLine(-1),
      Home: () => 0,
      End: () => last,
    };
    const acts = {
      Enter: () => this.#act(),
      " ": () => this.#act(),
      Delete: () => this.#act(),
      Backspace: () => this.#act(),
      F2: () => this.on.edit(),
    };
    if ((event.ctrlKey || event.metaKey) && event.key === "z") this.on.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key in steps) this.select(Math.max(0, Math.min(last, steps[event.key]())), true);
    else if (event.key in acts) acts[event.key]();
    else return;
    event.preventDefault();
  }

  /** Return the item nearest to the current one on the line below (1) or above (-1). */
  #onNextLine(direction) {
    const boxOf = (at) => this.items[at].element.getBoundingClientRect();
    const here = boxOf(this.at);
    let best = this.at, line = null, distance = Infinity;
    for (let at = this.at + direction; at >= 0 && at < this.items.length; at += direction) {
      const box = boxOf(at);
      if (Math.abs(box.top - here.top) < here.height / 2) continue;
      line ??= box.top;
      if (Math.abs(box.top - line) > here.height / 2) break;
      const off = Math.abs(box.left + box.width / 2 - here.left - here.width / 2);
      if (off < distance) [best, distance] = [at, off];
    }
    return best;
  }
}

/** Append `text` to `parent`, and return it. */
function write(parent, text) {
  let place = 0;
  for (const { 0: character, index } of text.matchAll(CONTROL)) {
    parent.append(text.slice(place, index));
    const element = document.createElement("span");
    element.className = "control";
    element.dataset.code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    element.textContent = character;
    parent.append(element);
    place = index + character.length;
  }
  parent.append(text.slice(place));
  return parent;
}
