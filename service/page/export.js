// Downloads: the answers as a page of its own, as a drawing, as JSON.

const CSS = new URL("reading.css", import.meta.url);
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 24;
const BASELINE = 0.78; // of a line's height, from its top
const SHARPNESS = 2; // pixels of the PNG for each one on screen

/** Save what the panes show as `form`: html, svg, png or json. */
export async function save(form, panes, legend) {
  if (panes.length === 0) throw new Error("There is no answer to keep yet.");
  const make = { html: asHtml, svg: asSvg, png: asPng, json: asJson }[form];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await make(panes, legend));
  link.download = `heed.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function asJson(panes) {
  const answers = panes.map(({ shown }) => ({ text: shown.segments.map(({ now }) => now).join(""), ...shown.answer }));
  return new Blob([JSON.stringify(answers, null, 2)], { type: "application/json" });
}

/** Make a page of copies of the live elements; the browser's own serialiser escapes what they hold. */
async function asHtml(panes, legend) {
  const css = await (await fetch(CSS)).text();
  const pictures = panes.map((pane) => {
    const picture = pane.part("picture").cloneNode(true);
    for (const each of picture.querySelectorAll("[data-item]")) {
      for (const name of ["role", "tabindex", "data-item", "aria-label", "aria-describedby"]) each.removeAttribute(name);
      each.classList.remove("current");
    }
    picture.querySelector(".reading").removeAttribute("aria-label");
    const name = picture.querySelector("h2").appendChild(document.createElement("small"));
    name.textContent = pane.shown.answer.model.name;
    return picture.outerHTML;
  });
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Heed</title>
<style>${css}</style>
<body class="saved">
${pictures.join("\n")}
${legend.outerHTML}
</body>
</html>
`;
  return new Blob([page], { type: "text/html" });
}

/** Draw what stands on screen, box by box and word by word, where the browser has put it. */
function asSvg(panes) {
  const pictures = panes.map((pane) => pane.part("picture"));
  const boxes = pictures.map((picture) => picture.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left)) - MARGIN;
  const top = Math.min(...boxes.map((box) => box.top)) - MARGIN;
  const width = Math.ceil(Math.max(...boxes.map((box) => box.right)) + MARGIN - left);
  const height = Math.ceil(Math.max(...boxes.map((box) => box.bottom)) + MARGIN - top);
  const svg = document.createElementNS(SVG, "svg");
  const set = (element, attributes) => {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const draw = (name, attributes) => set(svg.appendChild(document.createElementNS(SVG, name)), attributes);
  set(svg, { width, height, viewBox: `0 0 ${width} ${height}` });
  draw("rect", { width, height, fill: plain(getComputedStyle(document.body).backgroundColor) });
  for (const picture of pictures) {
    for (const element of picture.querySelectorAll("*")) drawBox(draw, element, left, top);
    const texts = document.createTreeWalker(picture, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) drawText(draw, texts.currentNode, left, top);
  }
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
}

function drawBox(draw, element, left, top) {
  const style = getComputedStyle(element);
  const fill = plain(style.backgroundColor);
  const line = parseFloat(style.borderBottomWidth);
  if (fill === "none" && !line) return;
  for (const box of element.getClientRects()) {
    const [x, y] = [box.left - left, box.top - top];
    if (fill !== "none") draw("rect", { x, y, width: box.width, height: box.height, rx: 2, fill });
    if (!line || style.borderBottomStyle === "none") continue;
    const dashes = style.borderBottomStyle === "solid" ? {} : { "stroke-dasharray": 3 };
    const across = { x1: x, x2: x + box.width, y1: y + box.height - line / 2, y2: y + box.height - line / 2 };
    draw("line", { ...across, stroke: plain(style.borderBottomColor), "stroke-width": line, ...dashes });
  }
}

function drawText(draw, node, left, top) {
  const style = getComputedStyle(node.parentElement);
  const range = document.createRange();
  const font = { "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight };
  const struck = style.textDecorationLine === "line-through" ? { "text-decoration": "line-through" } : {};
  /** Write what stands between the first and the last of these places; in halves while it is broken over lines. */
  const write = (places) => {
    const [from, to] = [places[0], places.at(-1)];
    range.setStart(node, from);
    range.setEnd(node, to);
    const [box, ...more] = range.getClientRects();
    if (more.length && places.length > 2) {
      const half = places.length >> 1;
      write(places.slice(0, half + 1));
      write(places.slice(half));
    } else if (box?.width) {
      const place = { x: box.left - left, y: box.top - top + BASELINE * box.height };
      const fit = { textLength: box.width, lengthAdjust: "spacingAndGlyphs" };
      const element = draw("text", { ...place, ...fit, fill: plain(style.color), ...font, ...struck });
      const written = printable(node.data.slice(from, to));
      const capital = style.textTransform === "capitalize" && from === 0;
      element.textContent = capital ? written.charAt(0).toUpperCase() + written.slice(1) : written;
    }
  };
  for (const { 0: word, index } of node.data.matchAll(/\S+/gu)) {
    const starts = Array.from(new Intl.Segmenter().segment(word), (grapheme) => index + grapheme.index);
    write([...starts, index + word.length]);
  }
}

/** XML holds no control characters, and a drawing needs no marks of direction. */
const printable = (text) => text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069\ufffe\uffff]/gu, "\ufffd");

const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

/** Return a colour in the form that every program reads; `none` if it is transparent. */
function plain(colour) {
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
  return alpha === 0 ? "none" : `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`;
}

async function asPng(panes) {
  const image = new Image();
  image.src = URL.createObjectURL(asSvg(panes));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [SHARPNESS * image.width, SHARPNESS * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
