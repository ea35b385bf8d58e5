// The texts that were read, in this browser alone.

const PLACE = "heed.history";
const MOST = 30;

export function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each?.text === "string") : [];
  } catch {
    return []; // storage is off, or holds what we did not write
  }
}

/** Remember {text, label, probability}, in place of the same text and of what was typed on the way to it. */
export function remember(entry) {
  const onTheWay = (text, at) => text === entry.text || (at === 0 && entry.text.startsWith(text));
  const others = remembered().filter(({ text }, at) => !onTheWay(text, at));
  try {
    localStorage.setItem(PLACE, JSON.stringify([entry, ...others].slice(0, MOST)));
  } catch {
    // storage is off or full; nothing is remembered
  }
}

export function forget() {
  try {
    localStorage.removeItem(PLACE);
  } catch {
    // storage is off
  }
}
