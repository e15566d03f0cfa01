// Small parts that every page lab is built from: elements, number fields, grids of cells, a player.
// Book: chapters 1 and 3. No framework: a lab is plain elements and the functions that keep them current.

/** Make an element: `on` holds listeners, every other property is an attribute (false and null are left out). */
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

/** An id no other lab on the page has, even one whose script was inlined a second time. */
export function freshId() {
  while (document.getElementById(`convtwist-${idCounter}`)) idCounter++;
  return `convtwist-${idCounter++}`;
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
  const parts = text.trim().replace(/\u2212/g, "-").replace(",", ".").split("/");
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
export function cellGrid({ label, height, width, fill, onFocus = () => {} }) {
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

/** A grid of editable numbers that writes valid entries into `plane` and reports the others. */
export function numberGrid({ label, name, plane, onChange, onMessage }) {
  const faults = new Map();
  const report = () => onMessage([...faults.values()]);
  return cellGrid({
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
  const button = (text, click) => make("button", { type: "button", class: "ct-button", on: { click } }, text);
  const play = button("Play", () => (timer ? stop() : start()));
  play.classList.add("ct-play");
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
  return { element: make("label", { class: "ct-field" }, make("span", {}, label), select), select };
}

/** Follow the reader's colour scheme where the host page does not say which one it wears. */
export function followScheme(root) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hostDecides = () =>
    document.documentElement.matches("[data-theme], [theme]") ||
    document.body.matches("[data-jp-theme-light], [data-vscode-theme-kind]");
  const apply = () => root.classList.toggle("ct-dark", dark.matches && !hostDecides());
  dark.addEventListener("change", apply);
  apply();
}

/** Bring every waiting copy of a lab to life; the name carries a version so that old outputs keep their own code. */
export function mountAll(name, mount) {
  for (const root of document.querySelectorAll(`.convtwist-lab[data-lab="${name}"]:not([data-ready])`)) {
    root.dataset.ready = "";
    const still = root.querySelector("img");
    followScheme(root);
    mount(root, JSON.parse(root.dataset.config), still);
  }
}
