// Receptive field: which pixels of the photograph one cell of a deep map depends on, layer by layer.
// Book: chapter 3.
import { fieldFormula, fieldStages, seenBy } from "./field_rules.mjs";
import { overlay } from "./field.mjs";
import { greyPlane, paintGrey, picturePicker, readStill } from "./picture.mjs";
import {
  arrowTarget, button, choice, codeBox, faultBox, freshId, labelled, make, mountAll, oncePerFrame, opening, wholeField,
} from "./widgets.mjs";

const KINDS = [["conv", "convolution"], ["pool", "max pooling"]];
const NUMBERS = { kernel: ["Kernel", 1, 11], stride: ["Stride", 1, 4], dilation: ["Dilation", 1, 8], padding: ["Padding", 0, 40] };
const MOST_LAYERS = 10;
const FRESH = { kind: "conv", kernel: 3, stride: 1, dilation: 1, padding: 1 };

const STYLE = `
.ct-layers { display: grid; gap: 0.5rem; margin: 0.5rem 0; }
.ct-layer { display: flex; flex-wrap: wrap; align-items: end; gap: 0.4rem 0.6rem; padding: 0.5rem 0.6rem; border: 1px solid var(--ct-line); border-radius: 0.4rem; }
.ct-layer input[type=number] { width: 4.4rem; }
.ct-layer .ct-after { order: 1; flex: 1 1 100%; color: var(--ct-muted); font-size: 0.87rem; }
.ct-seen { max-width: 32rem; }
.ct-seen rect { fill: none; vector-effect: non-scaling-stroke; }
.ct-seen .ct-dark { stroke: #000; stroke-width: 4; }
.ct-seen .ct-light { stroke: #ffd24a; stroke-width: 2; }
.ct-seen .ct-inner { stroke-width: 1; stroke-dasharray: 3 2; }
`;

/** The stack as PyTorch lines. */
function torchLines(layers) {
  const line = ({ kind, kernel, stride, dilation, padding }) => {
    const usual = kind === "pool" ? kernel : 1; // a pooling window's stride is its own size unless it is given
    const options = [stride !== usual && `stride=${stride}`, padding && `padding=${padding}`, dilation > 1 && `dilation=${dilation}`];
    return `    nn.${kind === "pool" ? "MaxPool2d(" : "Conv2d(1, 1, "}${[`kernel_size=${kernel}`, ...options].filter(Boolean).join(", ")}),`;
  };
  return [
    "from torch import nn",
    "from convtwist.arithmetic import receptive_field",
    "",
    `receptive_field([${layers.map(({ kernel, stride, dilation }) => `(${kernel}, ${stride}${dilation > 1 ? `, ${dilation}` : ""})`).join(", ")}])`,
    "net = nn.Sequential(",
    ...layers.map(line),
    ")",
  ].join("\n");
}

/** One layer's row of controls: {element, after}; `onChange()` follows each change, `onRemove` is null for the only one. */
function layerRow(layer, number, faults, onChange, onRemove) {
  const after = make("span", { class: "ct-after" });
  const kind = choice("Layer", KINDS, (value) => {
    layer.kind = value;
    onChange();
  });
  kind.select.value = layer.kind;
  const fields = Object.entries(NUMBERS).map(([key, [name, least, most]]) => {
    const field = wholeField({
      name: `Layer ${number}: ${String(name).toLowerCase()}`, least, most, describedBy: faults.element.id,
      onValue(value) {
        layer[key] = value;
        onChange();
      },
      onFault(text) {
        faults.set(`${number}${key}`, text && `${text}; ${layer[key]} stays in use.`);
        if (text) field.setAttribute("aria-invalid", "true");
        else field.removeAttribute("aria-invalid");
      },
    });
    field.value = layer[key];
    return labelled(name, field);
  });
  return {
    after,
    element: make("div", { class: "ct-layer", role: "group", "aria-label": `Layer ${number}` }, kind.element, ...fields, after,
      onRemove && button("Remove", onRemove)),
  };
}

/** The photograph with the fields drawn on it: {element, canvas, show(stages, sizes, cell)}. */
function fieldView(now, move) {
  const canvas = make("canvas", { role: "img", "aria-label": "The photograph in grey, with the receptive field framed" });
  const over = make("div");
  const help = make("p", { class: "ct-note", id: freshId() },
    "Point at a place, tap it, or use the arrow keys: an arrow moves by one cell of the last map, which is as many pixels as the strides multiply to. Solid: the field of that cell. Dashed: the fields of the cells in the earlier maps on the way to its middle.");
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const stage = now().stages?.at(-1);
    if (!stage) return;
    const cell = (share, size) => Math.round((share * size - stage.first - (stage.field - 1) / 2) / stage.step);
    move(cell((event.clientY - box.top) / box.height, canvas.height), cell((event.clientX - box.left) / box.width, canvas.width));
  };
  const photo = make(
    "div",
    {
      class: "ct-photo ct-over", tabindex: "0", role: "application", "aria-label": "Photograph, choose a cell of the last map", "aria-describedby": help.id,
      on: {
        click: point,
        pointermove: (event) => event.pointerType === "mouse" && point(event),
        keydown(event) {
          const { row, column, sizes } = now();
          const target = sizes && arrowTarget(event, row, column, ...sizes, event.shiftKey ? 5 : 1);
          if (!target) return;
          event.preventDefault();
          move(...target);
        },
      },
    },
    canvas, over,
  );
  const frame = ([top, bottom], [left, right], inner) => {
    const box = `x="${left - canvas.width / 2}" y="${top - canvas.height / 2}" width="${right - left + 1}" height="${bottom - top + 1}"`;
    return `${inner ? "" : `<rect class="ct-dark" ${box}/>`}<rect class="ct-light ${inner ? "ct-inner" : ""}" ${box}/>`;
  };
  return {
    canvas,
    element: make("div", { class: "ct-seen" }, photo, help),
    /** `perAxis` holds the stages of the height and of the width. */
    show(perAxis, cell) {
      // Of an earlier map, the cell whose field lies nearest to the middle of the last one's.
      const middle = perAxis.map((stages, axis) => seenBy(stages.at(-1), cell[axis]).reduce((a, b) => a + b) / 2);
      const boxes = perAxis[0].map((_, i) => perAxis.map((stages, axis) => {
        const stage = stages[i];
        const nearest = i === stages.length - 1 ? cell[axis] : Math.round((middle[axis] - stage.first - (stage.field - 1) / 2) / stage.step);
        return seenBy(stage, nearest);
      }));
      over.innerHTML = overlay(canvas, boxes.map((box, i) => frame(box[0], box[1], i < boxes.length - 1)).join(""));
    },
  };
}

function mountReceptiveField({ root, config, still, ...lab }) {
  const copy = () => config.layers.map((layer) => ({ ...layer }));
  const state = { layers: copy(), grey: null, stages: null, perAxis: null, sizes: null, row: 0, column: 0 };
  const faults = faultBox();
  const list = make("div", { class: "ct-layers" });
  const formula = make("p", { class: "ct-formula" });
  const finding = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const said = make("p", { class: "ct-sum", "aria-live": "polite" });
  const code = make("code");
  let rows = [];

  const move = (row, column) => {
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    if (!state.sizes) return;
    Object.assign(state, { row: within(row, state.sizes[0]), column: within(column, state.sizes[1]) });
    drawCell();
  };
  const view = fieldView(() => state, move);

  const drawCell = oncePerFrame(() => {
    const { perAxis, row, column, grey } = state;
    if (!perAxis) return;
    view.show(perAxis, [row, column]);
    const spans = perAxis.map((stages, axis) => seenBy(stages.at(-1), [row, column][axis]));
    const sizes = [grey.height, grey.width];
    const minus = (value) => String(value).replace("-", "\u2212");
    const outside = spans.some(([from, to], axis) => from < 0 || to >= sizes[axis]);
    said.textContent = `Row ${row}, column ${column} of the last map sees rows ${spans[0].map(minus).join(" to ")} and columns ${spans[1].map(minus).join(" to ")} of the photograph` +
      (outside ? `; what lies outside 0 to ${sizes[0] - 1} and 0 to ${sizes[1] - 1} is padding.` : ".");
  });

  const update = oncePerFrame(() => {
    const { layers, grey } = state;
    const [height, width] = grey ? [grey.height, grey.width] : [256, 256];
    const perAxis = [height, width].map((size) => fieldStages(size, layers));
    const [tall, wide] = perAxis;
    rows.forEach(({ after }, i) => {
      const size = Math.min(tall[i].size, wide[i].size) < 1 ? "nothing left" : `map ${tall[i].size} \u00d7 ${wide[i].size}`;
      after.textContent = `field ${tall[i].field} (+${tall[i].added}), step ${tall[i].step}, ${size}`;
    });
    formula.textContent = fieldFormula(layers, tall);
    code.textContent = torchLines(layers);
    const { field, step } = tall.at(-1);
    const tooMuch = layers.findIndex(({ kind, kernel, padding }) => kind === "pool" && padding > Math.floor(kernel / 2));
    const empty = tall.findIndex((_, i) => Math.min(tall[i].size, wide[i].size) < 1);
    const fault = tooMuch >= 0 ? `Layer ${tooMuch + 1}: PyTorch pads a pooling window by at most half of its kernel, here ${Math.floor(layers[tooMuch].kernel / 2)}.`
      : empty >= 0 ? `Layer ${empty + 1} finds no place for its kernel: take fewer layers, smaller kernels or strides, or more padding.` : "";
    finding.classList.toggle("ct-fault", fault !== "");
    if (fault) {
      Object.assign(state, { stages: null, perAxis: null, sizes: null });
      finding.textContent = fault;
      said.textContent = "";
      return;
    }
    const share = Math.min(1, field / height) * Math.min(1, field / width);
    finding.textContent = `One cell of the last map sees ${field} \u00d7 ${field} pixels, ` +
      (field >= Math.max(height, width) ? "as much as the whole photograph." : `${(100 * share).toPrecision(2)}\u00a0% of the photograph. Its neighbour sees the same, ${step === 1 ? "1 pixel" : `${step} pixels`} further on.`);
    Object.assign(state, { stages: tall, perAxis, sizes: [tall.at(-1).size, wide.at(-1).size] });
    move(state.row, state.column);
  });

  const middle = () => {
    state.row = state.column = 0;
    if (!state.grey) return;
    [state.row, state.column] = [state.grey.height, state.grey.width].map((size) => fieldStages(size, state.layers).at(-1).size >> 1);
  };
  const build = () => {
    faults.clear();
    rows = state.layers.map((layer, i) => layerRow(layer, i + 1, faults, changed, state.layers.length > 1 ? () => {
      state.layers.splice(i, 1);
      changed();
      build();
      add.focus();
    } : null));
    list.replaceChildren(...rows.map(({ element }) => element));
    add.setAttribute("aria-disabled", String(state.layers.length >= MOST_LAYERS));
  };
  const changed = () => {
    middle();
    update();
  };
  const add = button("Add a layer", () => {
    if (state.layers.length >= MOST_LAYERS) return;
    state.layers.push({ ...FRESH });
    build();
    changed();
  });
  const start = () => {
    state.layers = copy();
    build();
    changed();
  };
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    paintGrey(view.canvas, state.grey);
    changed();
  };

  root.replaceChildren(
    ...opening({
      title: "Receptive field",
      task: "Stack layers and see which pixels of the photograph one cell of the last map depends on. Move the frame, and change kernel, stride, dilation and padding of a layer.",
      ask: "Three 3 \u00d7 3 convolutions follow one another with stride 1. How many pixels does one output cell see? And if the first of them has stride 2?",
      answer: "7 \u00d7 7: each layer adds 2. With stride 2 in the first layer, 11 \u00d7 11: its neighbours lie 2 pixels apart, so the second and the third layer add 4 each.",
    }),
    picturePicker({ root, ...lab }, load),
    list,
    make("div", { class: "ct-line" }, add, button("Start again", start)),
    faults.element,
    finding,
    formula,
    make("p", { class: "ct-note" }, "field = 1 + the sum over all layers of (kernel \u2212 1) \u00d7 dilation \u00d7 step, where step is the product of the strides before that layer. Padding moves the field and does not change its size."),
    view.element,
    said,
    codeBox("The same stack in PyTorch", code),
  );
  start();
  if (still) readStill(still).then(load);
}

mountAll("receptive-field", mountReceptiveField, STYLE);
