// Size calculator and arithmetic animator: the size of the output, and which cells feed which.
// Book: chapter 3, and chapters 4 and 5 for pooling and transposed convolution.
import { axisSize, connections, formulaLines, idleCells } from "./size_rules.mjs";
import {
  button, choice, choiceGrid, codeBox, faultBox, labelled, make, markInvalid, mountAll, oncePerFrame, opening, player, tick,
  wholeField,
} from "./widgets.mjs";

const MOST_CELLS = 24; // per side of a drawn grid; the sizes hold for any
const MOST_INPUT = 99999;

const OPERATIONS = [
  ["convolution", "convolution"],
  ["transposed", "transposed convolution"],
  ["pooling", "max pooling"],
  ["average", "average pooling"],
];

const FIELDS = [
  { key: "input", label: "Input", least: 1 },
  { key: "kernel", label: "Kernel", least: 1 },
  { key: "stride", label: "Stride", least: 1 },
  { key: "padding", label: "Padding", least: 0 },
  { key: "dilation", label: "Dilation", least: 1, never: "average" },
  { key: "outputPadding", label: "Output padding", least: 0, only: "transposed" },
];

/** @param {any} field */
const hasField = ({ only, never }, operation) => (!only || only === operation) && never !== operation;
const isPooling = (operation) => operation === "pooling" || operation === "average";
const LAYERS = { convolution: "Conv2d", transposed: "ConvTranspose2d", pooling: "MaxPool2d", average: "AvgPool2d" };

/** The question to answer before playing: the same sizes in, and what this operation makes of them. */
function question(operation) {
  const [size, answer] = operation === "transposed"
    ? [15, "17: (8 \u2212 1) \u00d7 2 + 3 = 17. One more input cell moves the kernel one stride, 2 cells, further on. An output of 16 needs output padding."]
    : [3, "3 again: \u230a(8 \u2212 3) / 2\u230b + 1 = \u230a2.5\u230b + 1 = 3. The floor drops the half step, so the last row and the last column of the input are never read." +
      (isPooling(operation) ? " Rounded up (ceil_mode), it is 4." : "")];
  return { ask: `With ${OPERATIONS.find(([key]) => key === operation)[1]}, an input of 7, a kernel of 3, stride 2 and no padding give an output of ${size}. What does an input of 8 give?`, answer };
}

const AXES = ["height", "width"];
const DEFAULTS = { stride: 1, padding: 0, dilation: 1, output_padding: 0 };

/** The settings of one axis, 0 for height and 1 for width. */
function axisOf(state, side) {
  const axis = { operation: isPooling(state.operation) ? "pooling" : state.operation, ceilMode: state.ceilMode };
  for (const { key } of FIELDS) axis[key] = state[key][side];
  if (state.operation === "average") axis.dilation = 1; // PyTorch's has none
  return axis;
}

/** One line that runs as it stands and shows the size. */
export function torchLine(state, size) {
  const show = ([y, x]) => (y === x ? `${y}` : `(${y}, ${x})`);
  const given = { kernel_size: state.kernel, stride: state.stride, padding: state.padding, dilation: state.dilation };
  if (state.operation === "average") delete given.dilation;
  if (state.operation === "transposed") given.output_padding = state.outputPadding;
  // A pooling window's stride is its own size unless it is given.
  const usual = (name) => (name === "stride" && isPooling(state.operation) ? show(state.kernel) : `${DEFAULTS[name]}`);
  const options = Object.entries(given).filter(([name, value]) => show(value) !== usual(name)).map(([name, value]) => `${name}=${show(value)}`);
  if (isPooling(state.operation) && state.ceilMode) options.push("ceil_mode=True");
  const channels = isPooling(state.operation) ? "" : "1, 1, ";
  const comment = size ? `  # torch.Size([1, 1, ${size.join(", ")}])` : "";
  return `torch.nn.${LAYERS[state.operation]}(${channels}${options.join(", ")})(torch.zeros(1, 1, ${state.input.join(", ")})).shape${comment}`;
}

/** Numbers as people say them: 2 to 4, or 1, 3 and 5. */
function spoken(numbers) {
  if (numbers.length === 0) return "none";
  const even = numbers.every((value, i) => i === 0 || value === numbers[i - 1] + 1);
  const show = (value) => String(value).replace("-", "\u2212");
  if (numbers.length === 1) return show(numbers[0]);
  if (even && numbers.length > 2) return `${show(numbers[0])} to ${show(numbers.at(-1))}`;
  return `${numbers.slice(0, -1).map(show).join(", ")} and ${show(numbers.at(-1))}`;
}

const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const range = ([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const within = (value, count) => value >= 0 && value < count;

/** The two grids and the sentence that follows the pointer. */
function picture(state, sizes, say) {
  const links = [0, 1].map((side) => connections(axisOf(state, side)));
  const transposed = state.operation === "transposed";
  const corner = state.operation === "pooling" ? "\u2212\u221e" : "0";

  const board = (side, counts, extent, onPick, lonely) => {
    const rows = range(extent[0]);
    const columns = range(extent[1]);
    const grid = choiceGrid({
      label: `${side} cells, ${counts[0]} by ${counts[1]}`, height: rows.length, width: columns.length,
      onPick: (row, column) => onPick(rows[row], columns[column]),
    });
    grid.cells.forEach((cell, i) => {
      const at = [rows[Math.floor(i / columns.length)], columns[i % columns.length]];
      const real = within(at[0], counts[0]) && within(at[1], counts[1]);
      const outside = side === "Input" ? "padding" : "cut off by the padding";
      const bare = real && lonely(at);
      cell.at = at;
      cell.real = real;
      cell.element.classList.toggle("ct-outside", !real);
      cell.element.classList.toggle("ct-idle", bare);
      cell.text.textContent = !real && side === "Input" ? corner : "";
      const state = real ? (bare ? (side === "Input" ? ", never read" : ", fed by nothing") : "") : `, ${outside}`;
      cell.element.setAttribute("aria-label", `${side} row ${at[0]}, column ${at[1]}${state}`);
    });
    grid.locate = (row, column) => grid.at(row - rows[0], column - columns[0]);
    return grid;
  };

  const mark = (grid, chosen, linked) => {
    const [linkedRows, linkedColumns] = (linked ?? [[], []]).map((list) => new Set(list));
    for (const cell of grid.cells) {
      const isLinked = linkedRows.has(cell.at[0]) && linkedColumns.has(cell.at[1]);
      const isChosen = chosen !== null && chosen[0] === cell.at[0] && chosen[1] === cell.at[1];
      cell.element.classList.toggle("ct-patch", isLinked);
      cell.element.classList.toggle("ct-chosen", isChosen);
      cell.element.setAttribute("aria-selected", isChosen);
    }
  };

  const chosen = { side: transposed ? "input" : "output", at: [0, 0] };
  const describe = () => {
    const { side, at } = chosen;
    const fromOutput = side === "output";
    const find = fromOutput ? "reads" : "feeds";
    const [rows, columns] = [0, 1].map((axis) => links[axis][find](at[axis]).sort((a, b) => a - b));
    const counts = fromOutput ? state.input : sizes;
    const real = (list, axis) => list.filter((value) => within(value, counts[axis])).length;
    const all = rows.length * columns.length;
    const inside = real(rows, 0) * real(columns, 1);
    const where = `${fromOutput ? "Output" : "Input"} row ${at[0]}, column ${at[1]}`.replace(/-/g, "\u2212");
    const isReal = within(at[0], fromOutput ? sizes[0] : state.input[0]) && within(at[1], fromOutput ? sizes[1] : state.input[1]);
    const name = isReal ? where : `${where} (${fromOutput ? "cut off" : "padding"})`;
    const other = fromOutput ? "input cell" : "output cell";
    if (all === 0) return `${name} ${fromOutput ? "is fed by no input cell: it holds the bias alone" : "feeds no output cell: it is never read"}.`;
    const verb = fromOutput && !transposed ? "reads" : fromOutput ? "is fed by" : "feeds";
    const lost = all - inside ? `; ${all - inside} of them ${all - inside === 1 ? "is" : "are"} ${fromOutput ? "padding" : "cut off"}` : "";
    return `${name} ${verb} ${plural(all, other)}: row${rows.length > 1 ? "s" : ""} ${spoken(rows)}, column${columns.length > 1 ? "s" : ""} ${spoken(columns)}${lost}.`;
  };

  const refresh = () => {
    const { side, at } = chosen;
    const find = side === "output" ? "reads" : "feeds";
    const linked = [0, 1].map((axis) => links[axis][find](at[axis]));
    mark(side === "output" ? outputGrid : inputGrid, at, null);
    mark(side === "output" ? inputGrid : outputGrid, null, linked);
    say(describe());
  };
  const choose = (side) => (row, column) => {
    Object.assign(chosen, { side, at: [row, column] });
    refresh();
  };

  const inputGrid = board(
    "Input", state.input, links.map((axis) => axis.input), choose("input"),
    ([row, column]) => !transposed && (links[0].feeds(row).length === 0 || links[1].feeds(column).length === 0),
  );
  const outputGrid = board(
    "Output", sizes, links.map((axis) => axis.output), choose("output"),
    ([row, column]) => transposed && (links[0].reads(row).length === 0 || links[1].reads(column).length === 0),
  );
  const stepped = transposed ? [state.input, inputGrid] : [sizes, outputGrid];
  const step = (by) => {
    const [height, width] = stepped[0];
    const side = transposed ? "input" : "output";
    const here = chosen.side === side && within(chosen.at[0], height) && within(chosen.at[1], width) ? chosen.at : [0, -by];
    const next = (here[0] * width + here[1] + by + height * width) % (height * width);
    const at = [Math.floor(next / width), next % width];
    stepped[1].setStop(0, 0);
    choose(side)(...at);
  };
  const framed = (text, grid) =>
    make("div", { class: "ct-figure ct-small" }, make("div", { class: "ct-caption" }, text), make("div", { class: "ct-scroll" }, grid.element));
  const has = (selector) => [inputGrid, outputGrid].some((grid) => grid.element.querySelector(selector));
  const key = (kind, text) => make("span", { class: "ct-key" }, make("span", { class: `ct-cell ${kind}`, "aria-hidden": "true" }), text);
  const legend = make(
    "div", { class: "ct-legend" },
    key("ct-chosen", "chosen"),
    key("ct-patch", "connected with it"),
    has(".ct-outside") ? key("ct-outside", transposed ? "cut off by the padding" : "padding") : null,
    has(".ct-idle") ? key("ct-idle", transposed ? "fed by nothing" : "never read") : null,
  );
  const element = make(
    "div", {},
    make(
      "div", { class: "ct-stage" },
      framed(`input ${state.input.join(" \u00d7 ")}`, inputGrid),
      make(
        "div", { class: "ct-pair" },
        make("div", { class: "ct-sign", "aria-hidden": "true" }, "\u2192"),
        framed(`output ${sizes.join(" \u00d7 ")}`, outputGrid),
      ),
    ),
    legend,
  );
  refresh();
  return { element, step };
}

function copyButton(read) {
  const said = make("span", { class: "ct-note", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(read().textContent);
      said.textContent = "Copied.";
    } catch {
      // No clipboard here (an old browser, or a frame without leave): select it for the reader instead.
      getSelection().selectAllChildren(read());
      said.textContent = "Selected: press Ctrl+C to copy.";
    }
  };
  return make("span", { class: "ct-line" }, button("Copy", copy), said);
}

function mountCalculator({ root, config }) {
  const state = structuredClone(config);
  let differ = FIELDS.some(({ key }) => state[key][0] !== state[key][1]);
  let view = null;
  const faults = faultBox();
  const inputs = {};
  const result = make("div", { class: "ct-result", "aria-live": "polite" });
  const stage = make("div");
  const said = make("p", { class: "ct-sum", "aria-live": "polite" });
  const code = make("code");

  const number = ({ key, label, least }, side) => {
    const field = wholeField({
      name: differ ? `${label} ${AXES[side]}` : label, least, most: MOST_INPUT, describedBy: faults.element.id,
      onValue(value) {
        state[key][side] = value;
        if (!differ) state[key][1] = value;
        update();
      },
      onFault(text) {
        faults.set(`${key}${side}`, text && `${text}; ${state[key][side]} stays in use.`);
        update();
      },
    });
    field.value = state[key][side];
    inputs[key][side] = field;
    return field;
  };

  const form = make("div", { class: "ct-numbers" });
  const buildForm = () => {
    faults.clear();
    form.replaceChildren();
    for (const field of FIELDS) {
      inputs[field.key] = [];
      if (!hasField(field, state.operation)) continue;
      form.append(
        differ
          ? make("fieldset", { class: "ct-set" }, make("legend", {}, field.label), ...AXES.map((name, side) => labelled(name, number(field, side))))
          : labelled(field.label, number(field, 0)),
      );
    }
  };

  const update = oncePerFrame(() => {
    const axes = [0, 1].map((side) => axisOf(state, side));
    const answers = axes.map(axisSize);
    const broken = answers.findIndex((answer) => answer.fault);
    for (const { key } of FIELDS) {
      inputs[key].forEach((field, side) => {
        const typed = faults.has(`${key}${side}`);
        const refused = answers.some(({ fault }, axis) => fault?.fields.includes(key) && (!differ || axis === side));
        markInvalid(field, typed || refused);
      });
    }
    walk.element.hidden = true;
    stage.replaceChildren();
    said.textContent = "";
    view = null;
    if (broken >= 0) {
      walk.stop();
      const { text, rule } = answers[broken].fault;
      const where = differ ? `In the ${AXES[broken]}: ` : "";
      result.replaceChildren(
        make("p", { class: "ct-fault" }, `${where}${text}`),
        make("p", { class: "ct-note" }, `PyTorch\u2019s rule: \u201c${rule}\u201d.`),
      );
      code.textContent = torchLine(state, null);
      return;
    }
    const sizes = answers.map(({ size }) => size);
    const links = axes.map(connections);
    const lines = (side) => formulaLines(axes[side]).map((line, i) => make("div", { class: i === 0 ? "ct-formula ct-general" : "ct-formula" }, `${i ? "= " : ""}${line}`));
    const unread = axes.map(idleCells);
    const transposed = state.operation === "transposed";
    const idleText = unread.some(Boolean)
      ? `${transposed ? "Fed by nothing" : "Never read"}: ${plural(unread[0], "row")} and ${plural(unread[1], "column")}.`
      : `${transposed ? "Every output cell is fed" : "Every input cell is read"}.`;
    result.replaceChildren(
      make("p", { class: "ct-size" }, "Output: ", make("strong", {}, sizes.join(" \u00d7 "))),
      ...(differ ? AXES.flatMap((name, side) => [make("div", { class: "ct-caption" }, name), ...lines(side).slice(side)]) : lines(0)),
      make("p", { class: "ct-note" }, idleText),
    );
    code.textContent = torchLine(state, sizes);
    const extents = links.flatMap(({ input, output }) => [input, output]).map(([from, to]) => to - from + 1);
    if (Math.max(...extents) > MOST_CELLS) {
      walk.stop();
      stage.append(make("p", { class: "ct-note" }, `The cells are drawn up to ${MOST_CELLS} \u00d7 ${MOST_CELLS}, padding included; the size above holds for any.`));
      return;
    }
    view = picture(state, sizes, (text) => (said.textContent = text));
    stage.append(view.element);
    walk.element.hidden = false;
  });

  const walk = player({ what: "Walk the kernel over the picture", milliseconds: 700, onStep: (by) => view?.step(by) });
  walk.element.addEventListener("playing", (/** @type {CustomEvent} */ { detail }) => said.setAttribute("aria-live", detail ? "off" : "polite"));

  const heading = () => opening({
    title: "Size calculator",
    task: "Change a number and watch the size of the output. Point at a cell of either grid, or walk there with the arrow keys, to see which cells it is connected with.",
    ...question(state.operation),
  });
  const operation = choice("Operation", OPERATIONS, (value) => {
    walk.stop();
    state.operation = value;
    root.querySelector(".ct-predict").replaceWith(heading().at(-1));
    ceil.element.hidden = !isPooling(value);
    buildForm();
    update();
  });
  operation.select.value = state.operation;
  const ceil = tick("checkbox", "round up (ceil_mode)", (on) => {
    state.ceilMode = on;
    update();
  });
  ceil.input.checked = state.ceilMode;
  ceil.element.hidden = !isPooling(state.operation);
  const separate = tick("checkbox", "height and width differ", (on) => {
    differ = on;
    if (!on) for (const { key } of FIELDS) state[key] = [state[key][0], state[key][0]];
    buildForm();
    update();
  });
  separate.input.checked = differ;
  buildForm();
  root.replaceChildren(
    ...heading(),
    make("div", { class: "ct-tools" }, operation.element, separate.element, ceil.element),
    form,
    faults.element,
    result,
    stage,
    said,
    walk.element,
    codeBox("The same in PyTorch", code),
    copyButton(() => code),
  );
  update();
}

mountAll("size-calculator", mountCalculator);
