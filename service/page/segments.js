// A text with its edits, and the pieces it is drawn from. Pure functions, no DOM.
//
// An edited text is a list of segments {was, now}; in those nobody touched the two are equal. Offsets count UTF-16
// units, as JavaScript's strings and the service's `offset_encoding: "utf16"` do.

export const whole = (text) => [{ was: text, now: text }];
export const original = (segments) => segments.map(({ was }) => was).join("");
export const current = (segments) => segments.map(({ now }) => now).join("");
export const isEdited = (segments) => segments.some(({ was, now }) => was !== now);

/** Return the segments after `current(segments).slice(start, end)` became `text`. */
export function replace(segments, start, end, text) {
  const before = [], after = [];
  let was = "", now = text, place = 0;
  for (const segment of segments) {
    const from = place, to = (place += segment.now.length);
    const touched = from === to ? from > start && from < end : from < end && to > start;
    if (!touched) {
      (to <= start ? before : after).push(segment);
      continue;
    }
    const head = segment.now.slice(0, Math.max(0, start - from));
    const tail = segment.now.slice(segment.now.length - Math.max(0, to - end));
    if (segment.was === segment.now) {
      if (head) before.push({ was: head, now: head });
      was += segment.was.slice(head.length, segment.was.length - tail.length);
      if (tail) after.push({ was: tail, now: tail });
    } else {
      was += segment.was;
      now = head + now + tail;
    }
  }
  return [...before, { was, now }, ...after];
}

/** Return the segments without a token; a space stays where its neighbours would become one word. */
export function remove(segments, token) {
  const text = current(segments);
  const glued = /\S/u.test(text.slice(0, token.start).slice(-1)) && /\S/u.test(text.charAt(token.end));
  return replace(segments, token.start, token.end, glued ? " " : "");
}

/** Return the segments with segment `index` as it was. */
export const restore = (segments, index) =>
  segments.map((segment, i) => (i === index ? { was: segment.was, now: segment.was } : segment));

/**
 * Return the pieces of the current text in order, each {kind, text} with a kind of `token` (which has the token),
 * `gap`, `removed` (a word that stood here; `index` is its segment) or `unread` (beyond what the model reads).
 * All but `removed` joined give the current text.
 */
export function pieces(segments, { tokens, truncation }) {
  const text = current(segments), found = [];
  const removed = [];
  let length = 0;
  segments.forEach(({ was, now }, index) => {
    if (was !== now) removed.push({ kind: "removed", text: was, index, at: length });
    length += now.length;
  });
  let place = 0;
  const advance = (until, kind) => {
    while (removed.length && removed[0].at <= until) {
      const piece = removed.shift();
      if (piece.at > place) found.push({ kind, text: text.slice(place, piece.at) });
      place = Math.max(place, piece.at);
      if (piece.text) found.push(piece);
    }
    if (until > place) found.push({ kind, text: text.slice(place, until) });
    place = Math.max(place, until);
  };
  for (const token of tokens) {
    advance(token.start, "gap");
    found.push({ kind: "token", text: text.slice(token.start, token.end), token });
    place = token.end;
  }
  advance(text.length, truncation.applied ? "unread" : "gap");
  return found;
}
