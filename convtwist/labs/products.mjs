// One output number on the page: its patch, the weights, the products, the sum, and how a reader picks it.
// Book: chapters 1 and 2.
import { arrowTarget, make, pretty } from "./widgets.mjs";

/** The terms of one output number: [input value, weight] pairs in reading order. */
export function terms(input, weights, row, column) {
  return Array.from(weights.data, (weight, tap) => {
    const y = row + Math.floor(tap / weights.width);
    return [input.data[y * input.width + column + (tap % weights.width)], weight];
  });
}

const signed = (value) => (value < 0 ? `(${pretty(value)})` : pretty(value));
const product = ([value, weight]) => `${signed(value)}\u00a0\u00d7\u00a0${signed(weight)}`;

/** Write "where: a x b + c x d = sum" into a paragraph. */
export function writeSum(paragraph, where, pairs, sum) {
  paragraph.replaceChildren(
    make("span", { class: "ct-where" }, `${where}: `),
    pairs.map(product).join(" + "),
    " = ",
    make("strong", {}, pretty(sum)),
  );
}

/** Make the columns of a grid wide enough for its longest text, so that no number is cut and none runs into the next. */
export const widen = (element, texts, least = 0) =>
  element.style.setProperty("--ct-wide", `max(var(--ct-cell), ${(0.56 * Math.max(least, ...texts.map((text) => text.length)) + 0.7).toFixed(2)}rem)`);

/** The patch under the chosen pixel, as grey cells with their weights: {element, show(weights, pairs)}; `white` is the value of white. */
export function patchGrid(white = 1) {
  const element = make("div", { class: "ct-grid ct-levels", "aria-hidden": "true" });
  const cell = ([value, weight]) => {
    const corner = make("span", { class: "ct-corner" }, `\u00d7${pretty(weight)}`);
    const one = make("div", { class: "ct-cell ct-pixel" }, make("span", {}, pretty(value)), corner);
    const grey = Math.round((255 * value) / white);
    one.style.backgroundColor = `rgb(${grey}, ${grey}, ${grey})`;
    one.style.color = grey > 117 ? "#000" : "#fff";
    return one;
  };
  return {
    element,
    show({ height, width }, pairs) {
      element.style.setProperty("--ct-columns", width);
      widen(element, ["0.123"], 0.8 * (1 + Math.max(...pairs.map(([, weight]) => pretty(weight).length))));
      element.replaceChildren(...Array.from({ length: height }, (_, y) =>
        make("div", { class: "ct-row" }, ...pairs.slice(y * width, (y + 1) * width).map(cell))));
    },
  };
}

/**
 * A picture on which a pixel can be chosen by mouse, finger and keys: {element, mark(row, column, height, width)}.
 * With `hover` the mouse chooses without being pressed.
 */
export function pixelPicker({ canvas, label, help, now, pick, hover = false }) {
  const mark = make("span", { class: "ct-mark" });
  const toPixel = (event) => {
    const box = canvas.getBoundingClientRect();
    const { height, width } = now().kernel;
    const row = ((event.clientY - box.top) / box.height) * canvas.height - (height - 1) / 2;
    const column = ((event.clientX - box.left) / box.width) * canvas.width - (width - 1) / 2;
    pick(Math.floor(row), Math.floor(column));
  };
  const element = make(
    "div",
    {
      class: "ct-photo", tabindex: "0", role: "application", "aria-label": label, "aria-describedby": help.id,
      on: {
        click: toPixel,
        pointermove: (event) => event.pointerType === "mouse" && (hover || event.buttons === 1) && toPixel(event),
        keydown: (event) => {
          const { response, row, column } = now();
          const target = response && arrowTarget(event, row, column, response.height, response.width, event.shiftKey ? 10 : 1);
          if (!target) return;
          event.preventDefault();
          pick(...target);
        },
      },
    },
    canvas, mark,
  );
  return {
    element,
    mark(row, column, height, width) {
      mark.style.left = `${(100 * (column + width / 2)) / canvas.width}%`;
      mark.style.top = `${(100 * (row + height / 2)) / canvas.height}%`;
      mark.style.width = `max(12px, ${(100 * width) / canvas.width}%)`;
    },
  };
}
