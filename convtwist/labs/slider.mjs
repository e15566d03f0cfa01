// A number that can be dragged or typed: a slider with a text field beside it.
// Book: chapters 6 to 9.
import { freshId, make, parseNumber, pretty } from "./widgets.mjs";

/**
 * `onChange(value)` follows both; `onFault(text)` gets what is wrong with the typed entry, or "".
 * Returns {element, set(value), configure({label, least, most, step, unit, stops})}; with `stops`, a list of numbers, the
 * track goes from one to the next, and what is between can be typed.
 */
export function slider({ onChange, onFault }) {
  let value = 0;
  let range = { label: "", least: 0, most: 1, step: 1, unit: "", stops: null };
  const name = make("span", { id: freshId() });
  const track = make("input", { type: "range", "aria-labelledby": name.id });
  const field = make("input", { type: "text", inputmode: "text", autocomplete: "off", spellcheck: "false", "aria-labelledby": name.id });
  const element = make("div", { class: "ct-field ct-slider" }, name, make("div", { class: "ct-line" }, track, field));
  const clear = () => {
    field.removeAttribute("aria-invalid");
    onFault("");
  };
  const place = () => {
    const { stops } = range;
    track.value = String(stops ? stops.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(stops[best] - value) ? i : best), 0) : value);
  };
  const tell = () => track.setAttribute("aria-valuetext", `${pretty(value)} ${range.unit}`.trim());
  const show = () => {
    place();
    field.value = pretty(value);
    tell();
    clear();
  };
  track.addEventListener("input", () => {
    value = range.stops ? range.stops[Number(track.value)] : Number(track.value);
    show();
    onChange(value);
  });
  field.addEventListener("input", () => {
    const typed = parseNumber(field.value);
    const { label, least, most, step } = range;
    const whole = step === 1 && least >= 1;
    if (typed === null || typed < least || typed > most || (whole && !Number.isInteger(typed))) {
      field.setAttribute("aria-invalid", "true");
      onFault(`${label}: a ${whole ? "whole " : ""}number from ${pretty(least)} to ${pretty(most)} is needed; ${pretty(value)} stays in use.`);
      return;
    }
    clear();
    value = typed;
    place();
    tell();
    onChange(value);
  });
  field.addEventListener("focus", () => field.select());
  field.addEventListener("keydown", (event) => event.key === "Escape" && show());
  return {
    element,
    set(next) {
      value = next;
      show();
    },
    configure(options) {
      range = { ...range, ...options };
      name.textContent = range.unit ? `${range.label}, ${range.unit}` : range.label;
      const [min, max, step] = range.stops ? [0, range.stops.length - 1, 1] : [range.least, range.most, range.step];
      Object.assign(track, { min, max, step });
    },
  };
}

const DRAG = 4; // pixels of sideways motion for one step

/**
 * Let a field's number be dragged sideways too, and stepped by Page Up and Page Down; a click still edits its text.
 * `value()` and `step()` are read when it begins, and `set(value)` gets multiples of the step.
 */
export function draggable(field, { value, step, set }) {
  let held = null;
  const move = (from, steps, size) => set(Number((Math.round((from + steps * size) / size) * size).toPrecision(9)));
  const release = () => (held = null);
  field.classList.add("ct-drag");
  field.addEventListener("pointerdown", (event) => {
    if (event.button === 0) held = { x: event.clientX, from: value(), size: step(), steps: 0 };
  });
  field.addEventListener("pointermove", (event) => {
    if (!held) return;
    const steps = Math.trunc((event.clientX - held.x) / DRAG);
    if (steps === held.steps) return;
    field.setPointerCapture(event.pointerId);
    held.steps = steps;
    move(held.from, steps, held.size);
  });
  for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, release);
  field.addEventListener("dragstart", (event) => event.preventDefault()); // selected text would be carried away
  field.addEventListener("keydown", (event) => {
    const up = { PageUp: 1, PageDown: -1 }[event.key];
    if (!up) return;
    event.preventDefault();
    move(value(), up, step());
  });
}
