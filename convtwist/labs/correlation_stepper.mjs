// Correlation stepper: one output number at a time, on a grid of numbers and on the reader's photograph.
// Book: chapter 1.
import { correlate, magnitude, plane, planeFromRows } from "./core.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import {
  arrowTarget, choice, choiceGrid, freshId, make, mountAll, numberGrid, oncePerFrame, player, pretty,
} from "./widgets.mjs";

const repeated = (row, times) => Array.from({ length: times }, () => row);

const KERNELS = {
  hand: ["0 1, 2 3", [[0, 1], [2, 3]]],
  columns: ["2 0 \u22122 in every row", repeated([2, 0, -2], 3)],
  pair: ["1 \u22121", [[1, -1]]],
  pairDown: ["1 over \u22121", [[1], [-1]]],
  mean: ["average of 3 \u00d7 3", repeated([1 / 9, 1 / 9, 1 / 9], 3)],
  corner: ["copies its top left cell", [[1, 0, 0], [0, 0, 0], [0, 0, 0]]],
};

const COUNTING = [[0, 1, 2], [3, 4, 5], [6, 7, 8]];
const TWO_EDGES = repeated([1, 1, 0, 0, 0, 0, 1, 1], 6);
const SIX = [
  [3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3],
  [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9],
];

const EXAMPLES = {
  counting: ["Count to eight", COUNTING, "hand"],
  six: ["6 \u00d7 6 numbers, left minus right", SIX, "columns"],
  edge: ["One edge, from 30 to 0", repeated([30, 30, 30, 0, 0, 0], 6), "columns"],
  edges: ["Two edges, 1 \u22121", TWO_EDGES, "pair"],
  edgesDown: ["Two edges, 1 over \u22121", TWO_EDGES, "pairDown"],
};

const applied = ({ height, width, data }, flip) => plane(height, width, flip ? data.slice().reverse() : data);

/** The terms of one output number: [input value, weight] pairs in reading order. */
function terms(input, weights, row, column) {
  return Array.from(weights.data, (weight, tap) => {
    const y = row + Math.floor(tap / weights.width);
    return [input.data[y * input.width + column + (tap % weights.width)], weight];
  });
}

const signed = (value) => (value < 0 ? `(${pretty(value)})` : pretty(value));
const product = ([value, weight]) => `${signed(value)}\u00a0\u00d7\u00a0${signed(weight)}`;

/** Write "where: a x b + c x d = sum" into a paragraph. */
function writeSum(paragraph, where, pairs, sum) {
  paragraph.replaceChildren(
    make("span", { class: "ct-where" }, `${where}: `),
    pairs.map(product).join(" + "),
    " = ",
    make("strong", {}, pretty(sum)),
  );
}

/** Tint a cell blue or red by its share of the largest magnitude, faintly enough to keep its text legible. */
function tintSigned(element, value, largest) {
  const share = largest > 0 ? (Math.abs(value) / largest) * 0.3 : 0;
  element.style.backgroundColor = share ? `rgba(${value < 0 ? "33, 102, 172" : "178, 24, 43"}, ${share.toFixed(3)})` : "";
}

function tintLevels(cells, { data }) {
  const low = Math.min(...data);
  const range = Math.max(...data) - low || 1;
  cells.forEach((cell, i) => cell.element.style.setProperty("--ct-level", ((data[i] - low) / range).toFixed(3)));
}

const figure = (caption, content, extra = null) =>
  make("div", { class: "ct-figure" }, make("div", { class: "ct-caption" }, caption), make("div", { class: "ct-scroll" }, content), extra);

/** A sign and the figure after it, which wrap to the next line together. */
const paired = (sign, content) =>
  make("div", { class: "ct-pair" }, make("div", { class: "ct-sign", "aria-hidden": "true" }, sign), content);

/** The upper half: numbers. Returns {element, reset, kernel, flip}; `onKernel` runs whenever the kernel changes. */
function numbersView(config, onKernel) {
  const state = { input: null, kernel: null, flip: false, row: 0, column: 0, output: null };
  const faults = { input: [], kernel: [] };
  const stage = make("div", { class: "ct-stage" });
  const sum = make("p", { class: "ct-sum", "aria-live": "polite" });
  const messages = make("p", { class: "ct-note ct-fault", role: "status" });
  let inputGrid, kernelGrid, outputGrid, turned;

  const note = (which) => (list) => {
    faults[which] = list;
    messages.textContent = [...faults.input, ...faults.kernel].join(" ");
  };

  const point = (row, column) => {
    const { input, output } = state;
    Object.assign(state, { row, column });
    const weights = applied(state.kernel, state.flip);
    inputGrid.cells.forEach((cell, i) => {
      const y = Math.floor(i / input.width) - row;
      const x = (i % input.width) - column;
      const inside = y >= 0 && y < weights.height && x >= 0 && x < weights.width;
      cell.element.classList.toggle("ct-patch", inside);
      cell.corner.textContent = inside ? `\u00d7${pretty(weights.data[y * weights.width + x])}` : "";
    });
    outputGrid.cells.forEach((cell, i) => {
      const chosen = i === row * output.width + column;
      cell.element.classList.toggle("ct-chosen", chosen);
      cell.element.setAttribute("aria-selected", chosen);
    });
    outputGrid.setStop(row, column);
    writeSum(sum, `Output row ${row}, column ${column}`, terms(input, weights, row, column), output.data[row * output.width + column]);
  };

  const recompute = () => {
    const { input, kernel, flip } = state;
    const output = correlate(input, kernel, { flip });
    state.output = output;
    const largest = magnitude(output);
    outputGrid.cells.forEach((cell, i) => {
      cell.text.textContent = pretty(output.data[i]);
      tintSigned(cell.element, output.data[i], largest);
    });
    tintLevels(inputGrid.cells, input);
    const most = magnitude(kernel);
    kernelGrid.cells.forEach((cell, i) => tintSigned(cell.element, kernel.data[i], most));
    turned.hidden = !flip;
    const weights = applied(kernel, flip);
    [...turned.querySelectorAll(".ct-cell")].forEach((cell, i) => {
      cell.textContent = pretty(weights.data[i]);
      tintSigned(cell, weights.data[i], most);
    });
    point(Math.min(state.row, output.height - 1), Math.min(state.column, output.width - 1));
    onKernel(kernel, flip);
  };

  const rebuild = () => {
    const { input, kernel } = state;
    const height = input.height - kernel.height + 1;
    const width = input.width - kernel.width + 1;
    const grids = { plane: input, label: `Input, ${input.height} by ${input.width}`, name: "Input" };
    inputGrid = numberGrid({ ...grids, onChange: recompute, onMessage: note("input") });
    kernelGrid = numberGrid({
      plane: kernel, label: `Kernel, ${kernel.height} by ${kernel.width}`, name: "Kernel",
      onChange: recompute, onMessage: note("kernel"),
    });
    outputGrid = choiceGrid({ label: `Output, ${height} by ${width}`, height, width, onPick: (row, column) => state.output && point(row, column) });
    inputGrid.element.classList.add("ct-levels");
    const copy = make("div", { class: "ct-grid", "aria-hidden": "true" });
    copy.style.setProperty("--ct-columns", kernel.width);
    for (let row = 0; row < kernel.height; row++) {
      copy.append(make("div", { class: "ct-row" }, ...Array.from({ length: kernel.width }, () => make("div", { class: "ct-cell" }))));
    }
    turned = make("div", { class: "ct-turned" }, make("div", { class: "ct-caption" }, "as applied: turned by 180\u00b0"), copy);
    note("input")([]);
    note("kernel")([]);
    stage.replaceChildren(
      figure(`input ${input.height} \u00d7 ${input.width}`, inputGrid.element),
      paired("\u2217", figure(`kernel ${kernel.height} \u00d7 ${kernel.width}`, kernelGrid.element, turned)),
      paired("=", figure(`output ${height} \u00d7 ${width}`, outputGrid.element)),
    );
    state.output = null;
    recompute();
  };

  const use = (input, kernel) => {
    walk.stop();
    Object.assign(state, { input: planeFromRows(input), kernel: planeFromRows(kernel), row: 0, column: 0 });
    rebuild();
  };

  const walk = player({
    what: "Walk over the output",
    onStep(by) {
      const { width, data } = state.output;
      const next = (state.row * width + state.column + by + data.length) % data.length;
      point(Math.floor(next / width), next % width);
    },
  });
  // While it plays, a screen reader would be interrupted at every cell.
  walk.element.addEventListener("playing", ({ detail }) => sum.setAttribute("aria-live", detail ? "off" : "polite"));

  const start = () => {
    const [, input, kernel] = EXAMPLES.counting;
    example.select.value = config.input ? "" : "counting";
    kernels.select.value = config.kernel ? "" : kernel;
    state.flip = false;
    element.querySelector("input[type=radio]").checked = true;
    use(config.input ?? input, config.kernel ?? KERNELS[kernel][1]);
  };
  const names = (table) => Object.entries(table).map(([key, [text]]) => [key, text]);
  const example = choice("Example", names(EXAMPLES), (key) => {
    const [, input, kernel] = EXAMPLES[key];
    kernels.select.value = kernel;
    use(input, KERNELS[kernel][1]);
  });
  const kernels = choice("Kernel", names(KERNELS), (key) => {
    const kernel = planeFromRows(KERNELS[key][1]);
    if (kernel.height > state.input.height || kernel.width > state.input.width) {
      messages.textContent = `A kernel of ${kernel.height} \u00d7 ${kernel.width} does not fit into this input; the one before stays in use.`;
      return;
    }
    walk.stop();
    state.kernel = kernel;
    rebuild();
  });
  const group = freshId();
  const operation = (text, flip) => {
    const radio = make("input", { type: "radio", name: group, on: { change: () => ((state.flip = flip), recompute()) } });
    radio.checked = state.flip === flip;
    return make("label", { class: "ct-radio" }, radio, text);
  };
  const tools = make(
    "div",
    { class: "ct-tools" },
    example.element,
    kernels.element,
    make("fieldset", { class: "ct-set" }, make("legend", {}, "Operation"), operation("cross-correlation", false), operation("true convolution", true)),
  );
  const reset = make("button", { type: "button", class: "ct-button", on: { click: start } }, "Start again");
  const element = make("div", {}, tools, stage, messages, sum, make("div", { class: "ct-line" }, walk.element, reset));
  return { element, start };
}

/** The lower half: the same kernel on a photograph. */
function photographView(root) {
  const state = { grey: null, response: null, kernel: null, flip: false, row: 0, column: 0, picked: false };
  const before = make("canvas", { role: "img", "aria-label": "The photograph in grey" });
  const after = make("canvas", { role: "img", "aria-label": "The response: blue negative, red positive, white zero" });
  const marks = [make("span", { class: "ct-mark" }), make("span", { class: "ct-mark" })];
  const low = make("span"), high = make("span");
  const oneSided = make("p", { class: "ct-note" });
  const sum = make("p", { class: "ct-sum", "aria-live": "polite" });
  const patch = make("div", { class: "ct-grid ct-levels", "aria-hidden": "true" });
  const help = make(
    "p",
    { class: "ct-note", id: freshId() },
    "Click a pixel, or focus a picture and press the arrow keys (with Shift, ten pixels at a time). Brightness runs from 0, black, to 255, white.",
  );

  const place = (mark, canvas, row, column, height, width) => {
    mark.style.left = `${(100 * (column + width / 2)) / canvas.width}%`;
    mark.style.top = `${(100 * (row + height / 2)) / canvas.height}%`;
    mark.style.width = `max(12px, ${(100 * width) / canvas.width}%)`;
  };

  const drawPick = oncePerFrame(() => {
    const { grey, response, row, column } = state;
    if (!response) return;
    const weights = applied(state.kernel, state.flip);
    const pairs = terms(grey, weights, row, column);
    place(marks[0], before, row, column, weights.height, weights.width);
    place(marks[1], after, row, column, 1, 1);
    writeSum(sum, `Row ${row}, column ${column}`, pairs, response.data[row * response.width + column]);
    patch.style.setProperty("--ct-columns", weights.width);
    patch.replaceChildren(
      ...Array.from({ length: weights.height }, (_, y) =>
        make("div", { class: "ct-row" }, ...pairs.slice(y * weights.width, (y + 1) * weights.width).map(([value, weight]) => {
          const corner = make("span", { class: "ct-corner" }, `\u00d7${pretty(weight)}`);
          const cell = make("div", { class: "ct-cell ct-pixel" }, make("span", {}, pretty(value)), corner);
          cell.style.backgroundColor = `rgb(${value}, ${value}, ${value})`;
          cell.style.color = value > 117 ? "#000" : "#fff";
          return cell;
        })),
      ),
    );
  });

  const pick = (row, column) => {
    if (!state.response) return;
    state.row = Math.min(state.response.height - 1, Math.max(0, row));
    state.column = Math.min(state.response.width - 1, Math.max(0, column));
    state.picked = true;
    drawPick();
  };

  const redraw = oncePerFrame(() => {
    const { grey, kernel, flip } = state;
    if (!grey || !kernel) return;
    if (grey.height < kernel.height || grey.width < kernel.width) {
      state.response = null;
      sum.textContent = `The picture, ${grey.height} \u00d7 ${grey.width}, is smaller than the kernel. Choose a larger one.`;
      return;
    }
    const response = correlate(grey, kernel, { flip });
    const scale = magnitude(response);
    state.response = response;
    paintSigned(after, response, scale);
    oneSided.textContent = Math.min(...kernel.data) < 0 ? ""
      : "No weight is negative, so nothing here is blue. Choose a kernel with weights of both signs, above, to see edges.";
    low.textContent = pretty(-scale);
    high.textContent = pretty(scale);
    // Until the reader picks a pixel, stand where the answer is strongest.
    const strongest = response.data.findIndex((value) => Math.abs(value) === scale);
    const at = state.picked ? [state.row, state.column] : [Math.floor(strongest / response.width), strongest % response.width];
    state.row = Math.min(response.height - 1, at[0]);
    state.column = Math.min(response.width - 1, at[1]);
    drawPick();
  });

  const frame = (canvas, mark, label, shift) => {
    const toPixel = (event) => {
      const box = canvas.getBoundingClientRect();
      const { height, width } = shift ? state.kernel : { height: 1, width: 1 };
      const row = ((event.clientY - box.top) / box.height) * canvas.height - (height - 1) / 2;
      const column = ((event.clientX - box.left) / box.width) * canvas.width - (width - 1) / 2;
      pick(Math.floor(row), Math.floor(column));
    };
    return make(
      "div",
      {
        class: "ct-photo", tabindex: "0", role: "application", "aria-label": label, "aria-describedby": help.id,
        on: {
          click: toPixel,
          pointermove: (event) => event.pointerType === "mouse" && event.buttons === 1 && toPixel(event),
          keydown: (event) => {
            if (!state.response) return;
            const { height, width } = state.response;
            const target = arrowTarget(event, state.row, state.column, height, width, event.shiftKey ? 10 : 1);
            if (!target) return;
            event.preventDefault();
            pick(...target);
          },
        },
      },
      canvas,
      mark,
    );
  };

  const show = (pixels) => {
    state.grey = greyPlane(pixels);
    state.picked = false;
    paintGrey(before, state.grey);
    redraw();
  };
  const captioned = (text, content, below = null) =>
    make("div", { class: "ct-half" }, make("div", { class: "ct-caption" }, text), content, below);
  const scale = make(
    "div",
    { class: "ct-scale" },
    low, make("span", { class: "ct-bar", role: "img", "aria-label": "Colours from blue through white to red" }, make("span", {}, "0")), high,
  );
  const element = make(
    "div",
    { class: "ct-photograph" },
    make("p", { class: "ct-subtitle" }, "The same kernel on a photograph"),
    picturePicker(root, show),
    make(
      "div",
      { class: "ct-halves" },
      captioned("before: brightness", frame(before, marks[0], "Photograph, pixel picker", true)),
      captioned("after: response", frame(after, marks[1], "Response, pixel picker", false), scale),
    ),
    oneSided,
    help,
    make("div", { class: "ct-line ct-patchline" }, patch, sum),
  );
  return {
    element,
    show,
    setKernel(kernel, flip) {
      Object.assign(state, { kernel, flip });
      redraw();
    },
  };
}

function mountStepper(root, config, still) {
  const photograph = photographView(root);
  const numbers = numbersView(config, photograph.setKernel);
  root.replaceChildren(
    make("p", { class: "ct-title" }, "Correlation stepper"),
    make(
      "p",
      { class: "ct-lead" },
      "Point at an output cell, or walk there with the arrow keys: the patch it looks at lights up, each cell with its weight, and the sum is written out. Any number can be changed.",
    ),
    numbers.element,
    photograph.element,
  );
  numbers.start();
  if (still) readStill(still).then(photograph.show);
}

mountAll("correlation-stepper", mountStepper);
