// Numbers and verdicts in plain words.

const MINUS = "\u2212";
const fixed = (number, digits) => number.toFixed(digits).replace("-", MINUS);

export function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9%";
  if (share < 0.0005 && share > 0) return "< 0.1%";
  return `${fixed(100 * share, 1)}%`;
}

/** A number with its sign, which a zero has none of. */
export function signed(number, digits = 2) {
  const text = Math.abs(number).toFixed(digits);
  return Number(text) === 0 ? text : (number > 0 ? "+" : MINUS) + text;
}

/** A number of about three significant digits. */
export function figure(number) {
  const size = Math.abs(number);
  if (size === 0) return "0";
  return size < 0.0005 ? "< 0.001" : fixed(number, size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export const points = (difference) => `${signed(100 * difference, 1)} points`;

/** What a model is, in a line. */
export function describe({ mechanism, max_tokens }) {
  return `${mechanism.replaceAll("_", " ")}, reads ${max_tokens.toLocaleString("en")} tokens`;
}

/** Whether the weights of a model may be believed: {good, text}. */
export function verdictOnWeights({ attention_above_chance, attention_is }) {
  const how = attention_is === "exact"
    ? "The model pooled with exactly these weights."
    : "They are reduced from more than one map, so they are approximate.";
  const subject = "The weights explain this model\u2019s answers";
  if (attention_above_chance === true)
    return { good: true, text: `${subject} better than chance. ${how}` };
  if (attention_above_chance === false)
    return { good: false, text: `${subject} no better than chance: do not read them as reasons. ${how}` };
  return { good: null, text: `Nobody measured whether the weights explain this model\u2019s answers. ${how}` };
}

/** The measurement behind the verdict, from a model's card; null if it has none. */
export function evidence({ rankings } = {}) {
  if (!rankings?.attention || !rankings.random) return null;
  const falls = [
    ["most weight", rankings.attention],
    ["most contribution", rankings.contributions],
    ["random tokens", rankings.random],
  ].filter(([, ranking]) => ranking);
  return falls.map(([name, { comprehensiveness }]) => [name, comprehensiveness]);
}
