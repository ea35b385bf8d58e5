// Take what is on screen elsewhere: a link, a command, a program.

import { hasKey } from "./api.js";

const NAMES = ["text", "model", "by", "text2", "model2"];

/** Return the state that a URL's fragment holds; nothing of it is ever sent in a request line. */
export function stateOf(hash) {
  const found = new URLSearchParams(hash.slice(1));
  return Object.fromEntries(NAMES.filter((name) => found.has(name)).map((name) => [name, found.get(name)]));
}

export function linkTo(state) {
  const given = Object.entries(state).filter(([, value]) => value !== undefined);
  return `${location.href.split("#")[0]}#${new URLSearchParams(given)}`;
}

const address = () => new URL("predict", document.baseURI).href;

export function asCurl(question) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const key = hasKey() ? ' \\\n  --header "X-API-Key: $HEED_KEY"' : "";
  const body = quoted(JSON.stringify(question));
  const header = " \\\n  --header 'Content-Type: application/json'";
  return `curl --silent ${quoted(address())}${header}${key} \\\n  --data-binary ${body}`;
}

/** A program for Python's standard library. JSON's strings are also Python's. */
export function asPython(question) {
  const fields = Object.entries(question).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  const key = hasKey() ? ', "X-API-Key": os.environ["HEED_KEY"]' : "";
  return `import json
${hasKey() ? "import os\n" : ""}from urllib.request import Request, urlopen

question = {${fields.join(", ")}}
headers = {"Content-Type": "application/json"${key}}
with urlopen(Request(${JSON.stringify(address())}, json.dumps(question).encode(), headers)) as answer:
    print(json.load(answer)["predictions"][0])
`;
}

/** Copy `text`; without a secure origin browsers offer only the old way. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.body.appendChild(document.createElement("textarea"));
  field.value = text;
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("This browser does not let the page copy.");
}
