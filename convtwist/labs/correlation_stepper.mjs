// Correlation stepper: one output number at a time, on a grid of numbers and on the reader's photograph.
// Book: chapter 1.
import { correlate, magnitude, plane, planeFromRows } from "./core.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { patchGrid, pixelPicker, terms, widen, writeSum } from "./products.mjs";
import {
  button, captioned, choice, choiceGrid, faultBox, freshId, labelled, make, mountAll, numberGrid, oncePerFrame, opening,
  player, pretty, signedScale, tick, tint, wholeField,
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
  edge: ["One edge, from 30 to 0", repeated([30, 30, 30, 0, 0, 0], 6), "columns"],
  counting: ["Count to eight", COUNTING, "hand"],
  six: ["6 \u00d7 6 numbers, left minus right", SIX, "columns"],
  edges: ["Two edges, 1 \u22121", TWO_EDGES, "pair"],
  edgesDown: ["Two edges, 1 over \u22121", TWO_EDGES, "pairDown"],
};
const OWN = "own";
const MOST = { input: 12, kernel: 7 };

const applied = ({ height, width, data }, flip) => plane(height, width, flip ? data.slice().reverse() : data);

function tintLevels(cells, { data }) {
  const low = Math.min(...data);
  const range = Math.max(...data) - low || 1;
  cells.forEach((cell, i) => cell.element.style.setProperty("--ct-level", ((data[i] - low) / range).toFixed(3)));
}

/** A plane of another size: what there is stays, the rest is 0. */
function resized({ height, width, data }, newHeight, newWidth) {
  const result = plane(newHeight, newWidth);
  for (let row = 0; row < Math.min(height, newHeight); row++) {
    for (let column = 0; column < Math.min(width, newWidth); column++) result.data[row * newWidth + column] = data[row * width + column];
  }
  return result;
}

const figure = (caption, content, extra = null) =>
  make("div", { class: "ct-figure" }, make("div", { class: "ct-caption" }, caption), make("div", { class: "ct-scroll" }, content), extra);

/** A sign and the figure after it, which wrap to the next line together. */
const paired = (sign, content) =>
  make("div", { class: "ct-pair" }, make("div", { class: "ct-sign", "aria-hidden": "true" }, sign), content);

/** The kernel as it is applied, turned by 180 degrees: {element, show(weights, largest)}. */
function turnedKernel({ height, width }) {
  const cells = Array.from({ length: height * width }, () => make("div", { class: "ct-cell" }));
  const rows = Array.from({ length: height }, (_, row) => make("div", { class: "ct-row" }, ...cells.slice(row * width, (row + 1) * width)));
  const copy = make("div", { class: "ct-grid", "aria-hidden": "true" }, ...rows);
  copy.style.setProperty("--ct-columns", width);
  return {
    element: make("div", { class: "ct-turned" }, make("div", { class: "ct-caption" }, "as applied: turned by 180\u00b0"), copy),
    show(weights, largest) {
      widen(copy, Array.from(weights.data, pretty));
      cells.forEach((cell, i) => {
        cell.textContent = pretty(weights.data[i]);
        tint(cell, weights.data[i], largest);
      });
    },
  };
}

/** Height and width of the input and of the kernel, to choose: {elements, settle()}; `onSize(which)` after a change. */
function sizeFields(state, faults, onSize) {
  const fields = Object.fromEntries(Object.keys(MOST).map((which) => [which, ["height", "width"].map((side) => {
    const field = wholeField({
      name: `The ${which}\u2019s ${side}`, least: 1, most: MOST[which], describedBy: faults.element.id,
      onFault: (text) => mark(text && `${text}; ${state[which][side]} stays in use.`),
      onValue(value) {
        const now = state[which];
        const [input, kernel] = ["input", "kernel"].map((one) => (one === which ? value : state[one][side]));
        if (kernel > input) return mark(`A kernel with a ${side} of ${kernel} does not fit into an input with a ${side} of ${input}; ${now[side]} stays in use.`);
        const size = { height: now.height, width: now.width, [side]: value };
        state[which] = resized(now, size.height, size.width);
        onSize(which);
      },
    });
    const mark = (text) => {
      faults.set(which + side, text);
      if (text) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    };
    return field;
  })]));
  return {
    elements: Object.entries(fields).map(([which, [height, width]]) =>
      make("fieldset", { class: "ct-set ct-sides" }, make("legend", {}, `Size of the ${which}`), labelled("height", height), labelled("width", width))),
    settle() {
      for (const [which, both] of Object.entries(fields)) {
        both.forEach((field, i) => {
          const side = ["height", "width"][i];
          field.value = state[which][side];
          field.removeAttribute("aria-invalid");
          faults.set(which + side, "");
        });
      }
    },
  };
}

/** Input, kernel and output as grids of numbers, and the sum behind one output: {stage, sum, build(), refresh(), point()}. */
function numberGrids(state, faults, onEdit) {
  const stage = make("div", { class: "ct-stage" });
  const sum = make("p", { class: "ct-sum", "aria-live": "polite" });
  let inputGrid, kernelGrid, outputGrid, turned;

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

  const refresh = () => {
    const { input, kernel, flip } = state;
    const output = (state.output = correlate(input, kernel, { flip }));
    const [largest, most] = [magnitude(output), magnitude(kernel)];
    outputGrid.cells.forEach((cell, i) => {
      cell.text.textContent = pretty(output.data[i]);
      tint(cell.element, output.data[i], largest);
    });
    tintLevels(inputGrid.cells, input);
    kernelGrid.cells.forEach((cell, i) => tint(cell.element, kernel.data[i], most));
    const weights = Array.from(kernel.data, pretty);
    widen(outputGrid.element, Array.from(output.data, pretty));
    widen(kernelGrid.element, weights);
    widen(inputGrid.element, Array.from(input.data, pretty), 0.8 * (1 + Math.max(...weights.map((text) => text.length))));
    turned.element.hidden = !flip;
    turned.show(applied(kernel, flip), most);
    point(Math.min(state.row, output.height - 1), Math.min(state.column, output.width - 1));
  };

  const build = () => {
    const { input, kernel } = state;
    const [height, width] = [input.height - kernel.height + 1, input.width - kernel.width + 1];
    const editable = (which, name) => {
      faults.set(which, "");
      const { height, width } = state[which];
      return numberGrid({
        plane: state[which], label: `${name}, ${height} by ${width}`, name,
        onChange: () => onEdit(which), onMessage: (list) => faults.set(which, list.join(" ")),
      });
    };
    inputGrid = editable("input", "Input");
    kernelGrid = editable("kernel", "Kernel");
    state.output = null;
    outputGrid = choiceGrid({ label: `Output, ${height} by ${width}`, height, width, onPick: (row, column) => state.output && point(row, column) });
    inputGrid.element.classList.add("ct-levels");
    turned = turnedKernel(kernel);
    stage.replaceChildren(
      figure(`input ${input.height} \u00d7 ${input.width}`, inputGrid.element),
      paired("\u2217", figure(`kernel ${kernel.height} \u00d7 ${kernel.width}`, kernelGrid.element, turned.element)),
      paired("=", figure(`output ${height} \u00d7 ${width}`, outputGrid.element)),
    );
  };
  return { stage, sum, build, refresh, point };
}

/** The upper half: numbers. Returns {element, start}; `onKernel(kernel, flip)` runs whenever the kernel changes. */
function numbersView(config, onKernel) {
  const state = { input: null, kernel: null, flip: false, row: 0, column: 0, output: null };
  const faults = faultBox();
  const recompute = () => {
    grids.refresh();
    onKernel(state.kernel, state.flip);
  };
  const menus = { input: null, kernel: null };
  const edited = (which) => {
    menus.input.select.value = OWN;
    if (which === "kernel") menus.kernel.select.value = OWN;
    recompute();
  };
  const grids = numberGrids(state, faults, edited);
  const rebuild = () => {
    walk.stop();
    grids.build();
    sizes.settle();
    recompute();
  };
  const sizes = sizeFields(state, faults, (which) => {
    menus.input.select.value = OWN;
    if (which === "kernel") menus.kernel.select.value = OWN;
    rebuild();
  });
  const use = (input, kernel) => {
    Object.assign(state, { input: planeFromRows(input), kernel: planeFromRows(kernel), row: 0, column: 0 });
    rebuild();
  };

  const walk = player({
    what: "Walk over the output",
    onStep(by) {
      const { width, data } = state.output;
      const next = (state.row * width + state.column + by + data.length) % data.length;
      grids.point(Math.floor(next / width), next % width);
    },
  });
  // While it plays, a screen reader would be interrupted at every cell.
  walk.element.addEventListener("playing", (/** @type {CustomEvent} */ { detail }) => grids.sum.setAttribute("aria-live", detail ? "off" : "polite"));

  const names = (table) => [...Object.entries(table).map(([key, [text]]) => [key, text]), [OWN, "custom"]];
  menus.input = choice("Example", names(EXAMPLES), (key) => {
    if (key === OWN) return;
    const [, input, kernel] = EXAMPLES[key];
    menus.kernel.select.value = kernel;
    use(input, KERNELS[kernel][1]);
  });
  menus.kernel = choice("Kernel", names(KERNELS), (key) => {
    if (key === OWN) return;
    const kernel = planeFromRows(KERNELS[key][1]);
    if (kernel.height > state.input.height || kernel.width > state.input.width) {
      faults.show(`A kernel of ${kernel.height} \u00d7 ${kernel.width} does not fit into this input; the one before stays in use.`);
      menus.kernel.select.value = OWN;
      return;
    }
    state.kernel = kernel;
    rebuild();
  });
  const group = freshId();
  const operation = (text, flip) => tick("radio", text, () => ((state.flip = flip), recompute()), { name: group });
  const [correlation, convolution] = [operation("cross-correlation", false), operation("true convolution", true)];
  const start = () => {
    const [, input, kernel] = EXAMPLES.edge;
    menus.input.select.value = config.input || config.kernel ? OWN : "edge";
    menus.kernel.select.value = config.kernel ? OWN : kernel;
    state.flip = false;
    correlation.input.checked = true;
    use(config.input ?? input, config.kernel ?? KERNELS[kernel][1]);
  };
  const element = make(
    "div", {},
    make("div", { class: "ct-tools" }, menus.input.element, menus.kernel.element, ...sizes.elements,
      make("fieldset", { class: "ct-set" }, make("legend", {}, "Operation"), correlation.element, convolution.element)),
    grids.stage, faults.element, grids.sum,
    make("div", { class: "ct-line" }, walk.element, button("Start again", start)),
  );
  return { element, start };
}

/** The lower half: the same kernel on a photograph, with brightness from 0 to 1. */
function photographView(lab) {
  const state = { grey: null, response: null, kernel: null, flip: false, row: 0, column: 0, picked: false };
  const before = make("canvas", { role: "img", "aria-label": "The photograph in grey" });
  const after = make("canvas", { role: "img", "aria-label": "The response: blue negative, red positive, white zero" });
  const scale = signedScale();
  const oneSided = make("p", { class: "ct-note" });
  const sum = make("p", { class: "ct-sum", "aria-live": "polite" });
  const patch = patchGrid();
  const help = make(
    "p",
    { class: "ct-note", id: freshId() },
    "Click a pixel, or focus a picture and press the arrow keys (with Shift, ten pixels at a time). Brightness runs from 0, black, to 1, white; numbers are rounded to three digits.",
  );

  const drawPick = oncePerFrame(() => {
    const { grey, response, row, column } = state;
    if (!response) return;
    const weights = applied(state.kernel, state.flip);
    const pairs = terms(grey, weights, row, column);
    pickers[0].mark(row, column, weights.height, weights.width);
    pickers[1].mark(row, column, 1, 1);
    writeSum(sum, `Row ${row}, column ${column}`, pairs, response.data[row * response.width + column]);
    patch.show(weights, pairs);
  });
  const stand = (row, column) => {
    state.row = Math.min(state.response.height - 1, Math.max(0, row));
    state.column = Math.min(state.response.width - 1, Math.max(0, column));
    drawPick();
  };
  const pick = (row, column) => {
    if (!state.response) return;
    state.picked = true;
    stand(row, column);
  };
  const one = { height: 1, width: 1 };
  const pickers = [
    pixelPicker({ canvas: before, label: "Photograph, pixel picker", help, now: () => state, pick }),
    pixelPicker({ canvas: after, label: "Response, pixel picker", help, now: () => ({ ...state, kernel: one }), pick }),
  ];

  const redraw = oncePerFrame(() => {
    const { grey, kernel, flip } = state;
    if (!grey || !kernel) return;
    if (grey.height < kernel.height || grey.width < kernel.width) {
      state.response = null;
      sum.textContent = `The picture, ${grey.height} \u00d7 ${grey.width}, is smaller than the kernel. Choose a larger one.`;
      return;
    }
    const response = correlate(grey, kernel, { flip });
    const largest = magnitude(response);
    state.response = response;
    paintSigned(after, response, largest);
    scale.set(largest);
    oneSided.textContent = Math.min(...kernel.data) < 0 ? ""
      : "No weight is negative, so nothing here is blue. Choose a kernel with weights of both signs, above, to see edges.";
    // Until the reader picks a pixel, stand where the answer is strongest.
    const strongest = response.data.findIndex((value) => Math.abs(value) === largest);
    if (state.picked) stand(state.row, state.column);
    else stand(Math.floor(strongest / response.width), strongest % response.width);
  });

  const show = (pixels) => {
    const levels = greyPlane(pixels);
    state.grey = plane(levels.height, levels.width, Float64Array.from(levels.data, (value) => value / 255));
    state.picked = false;
    paintGrey(before, levels);
    redraw();
  };
  const element = make(
    "div",
    { class: "ct-photograph" },
    make("h4", { class: "ct-subtitle" }, "The same kernel on a photograph"),
    picturePicker(lab, show),
    make("div", { class: "ct-halves" },
      captioned("before: brightness", pickers[0].element), captioned("after: response", pickers[1].element, scale.element)),
    oneSided,
    help,
    make("div", { class: "ct-line ct-patchline" }, patch.element, sum),
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

function mountStepper({ root, config, still, ...lab }) {
  const photograph = photographView({ root, ...lab });
  const numbers = numbersView(config, photograph.setKernel);
  root.replaceChildren(
    ...opening({
      title: "Correlation stepper",
      task: "Point at an output cell, or walk there with the arrow keys: its patch is marked in the input, each cell with its weight, and the sum is written out. Any number can be changed.",
      ask: "Take an input of six rows 30, 30, 30, 0, 0, 0, and a kernel of three rows 2, 0, \u22122. In which columns is the output not 0, and what is it there?",
      answer: "In the two middle columns, where the patch has 30 on its left and 0 on its right: 3 \u00d7 30 \u00d7 2 = 180. Elsewhere the left and the right column of the patch are equal and cancel.",
    }),
    numbers.element,
    photograph.element,
  );
  numbers.start();
  if (still) readStill(still).then(photograph.show);
}

mountAll("correlation-stepper", mountStepper, ".ct-sides { gap: 0 0.4rem; flex-wrap: nowrap; } .ct-sides input[type=number] { width: 4.2rem; }");
