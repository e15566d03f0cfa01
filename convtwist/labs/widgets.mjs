// Small parts that every page lab is built from: elements, number fields, grids of cells, a player.
// Book: chapters 1 and 3. No framework: a lab is plain elements and the functions that keep them current.

/**
 * Make an element: `on` holds listeners, every other property is an attribute (false and null are left out).
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {{on?: Record<string, (event: any) => void>, [attribute: string]: any}} [options]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, { on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.filter((child) => child !== null));
  return element;
}

let idCounter = 0;

/** An id no other element of the lab has; other labs lie in other shadow roots. */
export const freshId = () => `ct-${idCounter++}`;

/** A button; `kind` adds classes to its own. */
export const button = (text, click, kind = "") =>
  make("button", { type: "button", class: `ct-button ${kind}`.trim(), on: { click } }, text);

/** A checkbox or a radio button with its words: {input, element}. */
export function tick(type, text, onChange, attributes = {}) {
  const input = make("input", { type, ...attributes, on: { change: () => onChange(input.checked) } });
  return { input, element: make("label", { class: "ct-radio" }, input, text) };
}

/** What is wrong at present, a sentence for each place: `set(place, "")` takes it back. `others` come after them. */
export function faultBox() {
  const found = new Map();
  const element = make("p", { class: "ct-note ct-fault", id: freshId(), role: "status" });
  const show = (...others) => (element.textContent = [...found.values(), ...others].filter(Boolean).join(" "));
  return {
    element,
    show,
    has: (place) => found.has(place),
    get size() {
      return found.size;
    },
    set(place, text) {
      if (text) found.set(place, text);
      else found.delete(place);
      show();
    },
    clear() {
      found.clear();
      show();
    },
  };
}

/** Mark a field as wrong, or not. */
export function markInvalid(field, wrong) {
  if (wrong) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** A field for a whole number: what fits goes to `onValue(value)`, and `onFault(text)` gets what does not, or "". */
export function wholeField({ name, least, most, describedBy, onValue, onFault }) {
  const field = make("input", { type: "number", inputmode: "numeric", min: least, max: most, step: 1, "aria-describedby": describedBy });
  field.addEventListener("input", () => {
    const value = Number(field.value);
    if (field.value.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) {
      onFault("");
      onValue(value);
    } else onFault(`${name} needs a whole number from ${least} to ${most.toLocaleString("en")}`);
  });
  return field;
}

/** A control with its label above it. */
export const labelled = (text, control) => make("label", { class: "ct-field" }, make("span", {}, text), control);

/** What every lab begins with: its name, one line on what to do, and a question to answer before playing. */
export const opening = ({ title, task, ask, answer }) => [
  make("h3", { class: "ct-title" }, title),
  make("p", { class: "ct-lead" }, task),
  make("details", { class: "ct-predict" }, make("summary", {}, make("strong", {}, "Predict first: "), ask), make("p", {}, answer)),
];

/** Lines of PyTorch to copy, under a caption. */
export const codeBox = (caption, code) =>
  make("div", { class: "ct-torch" }, make("div", { class: "ct-caption" }, caption),
    make("pre", { class: "ct-code", tabindex: "0", "aria-label": caption }, code));

/** A picture or a table with a caption above and, if need be, something below. */
export const captioned = (caption, content, ...below) =>
  make("div", { class: "ct-half" }, make("div", { class: "ct-caption" }, caption), content, ...below);

/** The colour bar of signed numbers: {element, set(scale)}. */
export function signedScale() {
  const [low, high] = [make("span"), make("span")];
  const bar = make("span", { class: "ct-bar", role: "img", "aria-label": "Colours from blue through white to red" }, make("span", {}, "0"));
  return {
    element: make("div", { class: "ct-scale" }, low, bar, high),
    set(scale) {
      low.textContent = pretty(-scale);
      high.textContent = pretty(scale);
    },
  };
}

/** Tint a cell blue or red by its share of the largest magnitude, faintly enough to keep its text legible. */
export function tint(element, value, largest) {
  const share = largest > 0 ? (Math.abs(value) / largest) * 0.3 : 0;
  element.style.backgroundColor = share > 1e-9 ? `rgba(${value < 0 ? "33, 102, 172" : "178, 24, 43"}, ${share.toFixed(3)})` : "";
}

export const wantsStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Run `draw` at most once per frame, however often the returned function is called. */
export function oncePerFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** A number as people write it: at most three decimals and a real minus sign. */
export function pretty(value) {
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 5e-4) ? value.toExponential(2) : String(Number(value.toFixed(3)));
  return (text === "-0" ? "0" : text).replace(/-/g, "\u2212");
}

/** Read what someone typed: 1.5, 1,5, -2e3 or 1/9. Anything else, or anything infinite, is null. */
export function parseNumber(text) {
  const parts = text.trim().replace(/[\u2010-\u2015\u2212]/g, "-").replace(",", ".").split("/");
  const decimal = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  if (parts.length > 2 || !parts.every((part) => decimal.test(part.trim()))) return null;
  const value = parts.length === 2 ? Number(parts[0]) / Number(parts[1]) : Number(parts[0]);
  return Number.isFinite(value) ? value : null;
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** The row and column an arrow key asks for, or null. Home and End go to the ends of the row. */
export function arrowTarget(event, row, column, height, width, leap = 1) {
  if (event.altKey || event.metaKey) return null;
  if (event.key === "Home") return [event.ctrlKey ? 0 : row, 0];
  if (event.key === "End") return [event.ctrlKey ? height - 1 : row, width - 1];
  const step = STEPS[event.key];
  if (!step || event.ctrlKey) return null;
  const clamp = (value, end) => Math.min(end - 1, Math.max(0, value));
  return [clamp(row + step[0] * leap, height), clamp(column + step[1] * leap, width)];
}

/**
 * A grid of cells with one tab stop; arrow keys walk it.
 * `fill(row, column)` returns {element, focus}: the gridcell and what takes focus inside it (often itself).
 */
export function cellGrid({ label, height, width, fill, onFocus = (_row, _column) => {} }) {
  const cells = [];
  const element = make("div", { role: "grid", "aria-label": label, class: "ct-grid" });
  element.style.setProperty("--ct-columns", width);
  let stop = null;
  const setStop = (target) => {
    if (stop) stop.tabIndex = -1;
    stop = target;
    stop.tabIndex = 0;
  };
  for (let row = 0; row < height; row++) {
    const line = make("div", { role: "row", class: "ct-row" });
    for (let column = 0; column < width; column++) {
      const cell = fill(row, column);
      cell.focus.tabIndex = -1;
      cell.focus.addEventListener("focus", () => {
        setStop(cell.focus);
        onFocus(row, column);
      });
      cell.focus.addEventListener("keydown", (event) => {
        if (cell.holdsKey?.(event)) return;
        const target = arrowTarget(event, row, column, height, width);
        if (!target) return;
        event.preventDefault();
        cells[target[0] * width + target[1]].focus.focus();
      });
      cells.push(cell);
      line.append(cell.element);
    }
    element.append(line);
  }
  setStop(cells[0].focus);
  const at = (row, column) => cells[row * width + column];
  return { element, cells, at, height, width, setStop: (row, column) => setStop(at(row, column).focus) };
}

const LARGEST = 1e9; // sums of products stay far from overflow
const SMALLEST = 1e-9; // and squares far from vanishing

/** A grid of editable numbers that writes valid entries into `plane` and reports the others; `reset()` shows the plane. */
export function numberGrid({ label, name, plane, onChange, onMessage }) {
  const faults = new Map();
  const report = () => onMessage([...faults.values()]);
  const restores = [];
  const grid = cellGrid({
    label,
    height: plane.height,
    width: plane.width,
    fill(row, column) {
      const index = row * plane.width + column;
      const field = make("input", {
        type: "text",
        inputmode: "text",
        autocomplete: "off",
        spellcheck: "false",
        "aria-label": `${name} row ${row}, column ${column}`,
      });
      const restore = () => {
        field.value = pretty(plane.data[index]);
        field.removeAttribute("aria-invalid");
        faults.delete(index);
        report();
      };
      restores.push(restore);
      field.value = pretty(plane.data[index]);
      field.addEventListener("input", () => {
        const value = parseNumber(field.value);
        const size = Math.abs(value);
        if (value === null || size > LARGEST || (size > 0 && size < SMALLEST)) {
          const typed = field.value.trim() ? `\u201c${field.value.trim().slice(0, 12)}\u201d` : "an empty field";
          const wanted = value === null ? "a finite number" : size > 1 ? "between minus and plus a thousand million" : "0 or as large as 1e-9";
          field.setAttribute("aria-invalid", "true");
          faults.set(
            index,
            `${name} row ${row}, column ${column}: ${typed} is not ${wanted}; ` +
              `${pretty(plane.data[index])} stays in use.`,
          );
        } else {
          field.removeAttribute("aria-invalid");
          faults.delete(index);
          plane.data[index] = value;
          onChange();
        }
        report();
      });
      field.addEventListener("focus", () => field.select());
      field.addEventListener("keydown", (event) => {
        if (event.key === "Escape") restore();
        if (event.key === "Enter") field.select();
      });
      // Left and right belong to the caret until it stands at that end of the text.
      const holdsKey = (event) => {
        const { selectionStart: start, selectionEnd: end, value } = field;
        const all = start === 0 && end === value.length;
        if (event.shiftKey) return true;
        if (event.key === "ArrowLeft" || event.key === "Home") return !all && (start > 0 || start !== end);
        if (event.key === "ArrowRight" || event.key === "End") return !all && end < value.length;
        return false;
      };
      const corner = make("span", { class: "ct-corner", "aria-hidden": "true" });
      const element = make("div", { role: "gridcell", class: "ct-cell" }, field, corner);
      return { element, focus: field, corner, holdsKey };
    },
  });
  return { ...grid, reset: () => restores.forEach((restore) => restore()) };
}

/** A grid of cells to look at and choose from. `onPick(row, column)` follows focus, hover and tap. */
export function choiceGrid({ label, height, width, onPick }) {
  return cellGrid({
    label,
    height,
    width,
    onFocus: onPick,
    fill(row, column) {
      const corner = make("span", { class: "ct-corner", "aria-hidden": "true" });
      const text = make("span", { class: "ct-value" });
      const element = make(
        "div",
        {
          role: "gridcell",
          class: "ct-cell ct-choice",
          on: {
            pointerenter: (event) => event.pointerType === "mouse" && onPick(row, column),
            click: () => element.focus({ preventScroll: true }),
          },
        },
        text,
        corner,
      );
      return { element, focus: element, text, corner };
    },
  });
}

/** Previous, play and next. Play goes away for readers who ask for less motion. */
export function player({ onStep, what, milliseconds = 800 }) {
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    element.dispatchEvent(new CustomEvent("playing", { detail: false }));
  };
  const start = () => {
    play.textContent = "Pause";
    element.dispatchEvent(new CustomEvent("playing", { detail: true }));
    timer = setInterval(() => (element.isConnected ? onStep(1) : stop()), milliseconds);
  };
  const step = (by) => () => {
    if (timer) stop();
    onStep(by);
  };
  const play = button("Play", () => (timer ? stop() : start()), "ct-play");
  const element = make(
    "div",
    { class: "ct-player", role: "group", "aria-label": what },
    button("Previous", step(-1)),
    play,
    button("Next", step(1)),
  );
  return { element, stop };
}

/** A select with its label in front; `options` are [value, text] pairs. */
export function choice(label, options, onChange) {
  const select = make("select", { on: { change: () => onChange(select.value) } });
  for (const [value, text] of options) select.append(make("option", { value }, text));
  return { element: labelled(label, select), select };
}

/** Follow the reader's colour scheme where the host page does not say which one it wears. */
function followScheme(host, signal) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hostDecides = () =>
    document.documentElement.matches("[data-theme], [theme]") ||
    document.body.matches("[data-jp-theme-light], [data-vscode-theme-kind]");
  const apply = () => host.classList.toggle("ct-dark", dark.matches && !hostDecides());
  dark.addEventListener("change", apply, { signal });
  apply();
}

/** An element that tells when it comes onto the page ("enter") and when it goes ("leave"). */
function presence() {
  const name = "convtwist-presence";
  if (!customElements.get(name)) {
    customElements.define(name, class extends HTMLElement {
      connectedCallback() {
        this.dispatchEvent(new Event("enter"));
      }
      disconnectedCallback() {
        this.dispatchEvent(new Event("leave"));
      }
    });
  }
  return document.createElement(name);
}

/**
 * What a lab is given: `root` to fill, inside a shadow root of its own; `host`, the element on the page; `config`;
 * `still`, the picture that came with it; `whileShown(start)`, which calls start(signal) whenever the lab comes onto
 * the page and aborts the signal when it goes. Listeners outside the lab take that signal, so that nothing is left.
 * @typedef {{root: HTMLElement, host: HTMLElement, config: any, still: HTMLImageElement | null,
 *   whileShown: (start: (signal: AbortSignal) => void) => void}} Lab
 */

const LAB_STYLE = "lab.css"; // page.py puts the text of that file here

/** Put a lab into its host; what stood there stays for readers without scripts, and is not shown any more. */
function mountInto(host, mount, style) {
  const starts = [];
  let shown = null;
  const root = make("div", { class: "ct-lab" });
  const marker = presence();
  marker.addEventListener("enter", () => {
    shown = new AbortController();
    for (const start of starts) start(shown.signal);
  });
  marker.addEventListener("leave", () => shown.abort());
  const whileShown = (start) => {
    starts.push(start);
    if (shown && !shown.signal.aborted) start(shown.signal);
  };
  // JupyterLab and Notebook see keys of a shadow root as keys of its host, and leave them alone if it says so.
  host.setAttribute("data-lm-suppress-shortcuts", "true");
  // So does the built page, which would take "/" for its search: keys stay in the lab, but for Escape and key combinations.
  host.addEventListener("keydown", (event) => event.key === "Escape" || event.ctrlKey || event.metaKey || event.stopPropagation());
  host.attachShadow({ mode: "open" }).append(make("style", {}, LAB_STYLE + style), marker, root);
  whileShown((signal) => followScheme(host, signal));
  mount({ root, host, config: JSON.parse(host.dataset.config), still: host.querySelector("img"), whileShown });
}

/**
 * Bring every waiting copy of a lab to life; the name carries a version so that old outputs keep their own code.
 * @param {string} name
 * @param {(lab: Lab) => void} mount
 * @param {string} [style] rules of this lab alone
 */
export function mountAll(name, mount, style = "") {
  for (const host of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`.convtwist-lab[data-lab="${name}"]:not([data-ready])`))) {
    host.dataset.ready = "";
    mountInto(host, mount, style);
  }
}
