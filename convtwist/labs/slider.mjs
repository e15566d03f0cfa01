// A number that can be dragged or typed: a slider with a text field beside it.
// Book: chapters 6 to 9.
import { freshId, make, parseNumber, pretty } from "./widgets.mjs";

/**
 * `onChange(value)` follows both; `onFault(text)` gets what is wrong with the typed entry, or "".
 * Returns {element, set(value), configure({label, least, most, step, unit})}.
 */
export function slider({ onChange, onFault }) {
  let value = 0;
  let range = { label: "", least: 0, most: 1, step: 1, unit: "" };
  const name = make("span", { id: freshId() });
  const track = make("input", { type: "range", "aria-labelledby": name.id });
  const field = make("input", { type: "text", inputmode: "text", autocomplete: "off", spellcheck: "false", "aria-labelledby": name.id });
  const element = make("div", { class: "ct-field ct-slider" }, name, make("div", { class: "ct-line" }, track, field));
  const clear = () => {
    field.removeAttribute("aria-invalid");
    onFault("");
  };
  const show = () => {
    track.value = String(value);
    field.value = pretty(value);
    track.setAttribute("aria-valuetext", `${pretty(value)} ${range.unit}`.trim());
    clear();
  };
  track.addEventListener("input", () => {
    value = Number(track.value);
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
    track.value = String(value);
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
      Object.assign(track, { min: range.least, max: range.most, step: range.step });
    },
  };
}

const PIXELS = 4; // of sideways motion for one step

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
    const steps = Math.trunc((event.clientX - held.x) / PIXELS);
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
