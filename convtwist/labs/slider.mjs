// A number that can be dragged or typed: a slider with a text field beside it.
// Book: chapter 8.
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
