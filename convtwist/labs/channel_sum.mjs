// Channel sum: one filter of three kernels on the three channels of a photograph, and the sum of their responses.
// Book: chapter 2.
import { correlate, magnitude, plane } from "./core.mjs";
import { paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { patchGrid, pixelPicker, terms } from "./products.mjs";
import {
  button, captioned, choice, codeBox, faultBox, freshId, make, mountAll, numberGrid, oncePerFrame, opening, pretty, signedScale, tint,
} from "./widgets.mjs";

const CHANNELS = ["red", "green", "blue"];
const OWN = "own";
const EDGE = [1, 0, -1, 2, 0, -2, 1, 0, -1];
const at = (weight) => [0, 0, 0, 0, weight, 0, 0, 0, 0];

const FILTERS = {
  edges: ["an edge in every channel", [EDGE, EDGE, EDGE]],
  one: ["an edge in red alone", [EDGE, at(0), at(0)]],
  grey: ["brightness: 0.299 red + 0.587 green + 0.114 blue", [at(0.299), at(0.587), at(0.114)]],
  difference: ["red minus green", [at(1), at(-1), at(0)]],
  cancel: ["an edge in red minus the same in green", [EDGE, EDGE.map((weight) => -weight), at(0)]],
};

const STYLE = `
.ct-lanes { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr); gap: 0.5rem 0.75rem; align-items: center; margin: 0.75rem 0; }
.ct-lanes .ct-grid { --ct-cell: 2.6rem; }
.ct-lanes .ct-cell { height: 2.2rem; }
.ct-total { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 0.75rem; align-items: start; padding-top: 0.75rem; border-top: 2px solid var(--ct-edge); }
.ct-shares { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0.4rem 0; }
.ct-shares strong { display: block; margin-top: 0.2rem; }
@media (max-width: 30rem) { .ct-lanes { gap: 0.4rem; } .ct-lanes .ct-grid { --ct-cell: 2.05rem; } .ct-lanes .ct-cell { font-size: 0.78rem; } }
`;

/** The three channels of a picture as planes from 0 to 1. */
export const channelPlanes = ({ data, width, height }) =>
  CHANNELS.map((_, channel) => plane(height, width, Float64Array.from({ length: width * height }, (_, i) => data[4 * i + channel] / 255)));

/** What each kernel answers to its channel, and the sum of the three: one output channel of a convolution. */
export function filterResponses(planes, kernels) {
  const responses = planes.map((input, channel) => correlate(input, kernels[channel]));
  const sum = plane(responses[0].height, responses[0].width);
  for (const { data } of responses) data.forEach((value, i) => (sum.data[i] += value));
  return { responses, sum };
}

/** The filter as PyTorch lines. */
function torchLines(kernels) {
  const literal = ({ data }) => `[${[0, 3, 6].map((i) => `[${Array.from(data.slice(i, i + 3), (value) => String(Number(value.toPrecision(7)))).join(", ")}]`).join(", ")}]`;
  return [
    "import torch",
    "from convtwist import images",
    "",
    'u = images.to_tensor(images.sample("chelsea"))  # (1, 3, height, width), from 0 to 1',
    "layer = torch.nn.Conv2d(3, 1, kernel_size=3, bias=False)",
    "with torch.no_grad():",
    `    layer.weight.copy_(torch.tensor([[${kernels.map(literal).join(",\n        ")}]]))`,
    "    response = layer(u)  # (1, 1, height - 2, width - 2)",
  ].join("\n");
}

function mountChannelSum({ root, config, still, ...lab }) {
  const kernels = CHANNELS.map(() => plane(3, 3));
  const state = { planes: null, responses: null, sum: null, row: 0, column: 0, picked: false };
  const faults = faultBox();
  const help = make("p", { class: "ct-note", id: freshId() },
    "Click a pixel of any picture, or focus one and press the arrow keys (with Shift, ten pixels at a time). Brightness runs from 0 to 1; all responses share one scale of colours.");

  const canvas = (label) => make("canvas", { role: "img", "aria-label": label });
  const photos = CHANNELS.map((name) => canvas(`The ${name} channel of the photograph`));
  const answers = CHANNELS.map((name) => canvas(`The response of the kernel on ${name}`));
  const total = canvas("The sum of the three responses: blue negative, red positive, white zero");
  const patches = CHANNELS.map(() => patchGrid());
  const shares = CHANNELS.map(() => make("strong"));
  const said = make("p", { class: "ct-sum", "aria-live": "polite" });
  const scale = signedScale();
  const code = make("code");

  const drawPick = oncePerFrame(() => {
    const { planes, responses, sum, row, column } = state;
    if (!sum) return;
    const values = responses.map(({ data, width }) => data[row * width + column]);
    inputs.forEach((one) => one.mark(row, column, 3, 3));
    [...outputs, whole].forEach((one) => one.mark(row, column, 1, 1));
    CHANNELS.forEach((name, channel) => {
      patches[channel].show(kernels[channel], terms(planes[channel], kernels[channel], row, column));
      shares[channel].textContent = `${name}: ${pretty(values[channel])}`;
    });
    const signed = values.map((value) => (value < 0 ? `(${pretty(value)})` : pretty(value)));
    said.replaceChildren(
      make("span", { class: "ct-where" }, `Row ${row}, column ${column}: `),
      `${signed.join(" + ")} = `, make("strong", {}, pretty(sum.data[row * sum.width + column])),
    );
  });
  const stand = (row, column) => {
    state.row = Math.min(state.sum.height - 1, Math.max(0, row));
    state.column = Math.min(state.sum.width - 1, Math.max(0, column));
    drawPick();
  };
  const pick = (row, column) => {
    if (!state.sum) return;
    state.picked = true;
    stand(row, column);
  };
  const picker = (target, label, side) =>
    pixelPicker({ canvas: target, label, help, now: () => ({ response: state.sum, row: state.row, column: state.column, kernel: { height: side, width: side } }), pick });
  const inputs = photos.map((one, i) => picker(one, `${CHANNELS[i]} channel, pixel picker`, 3));
  const outputs = answers.map((one, i) => picker(one, `${CHANNELS[i]} response, pixel picker`, 1));
  const whole = picker(total, "Sum, pixel picker", 1);

  const redraw = oncePerFrame(() => {
    const largestWeight = Math.max(...kernels.map(magnitude));
    grids.forEach((grid, channel) => grid.cells.forEach((cell, i) => tint(cell.element, kernels[channel].data[i], largestWeight)));
    code.textContent = torchLines(kernels);
    if (!state.planes) return;
    const [{ height, width }] = state.planes;
    if (Math.min(height, width) < 3) {
      Object.assign(state, { responses: null, sum: null });
      said.textContent = `The picture, ${height} \u00d7 ${width}, is smaller than the kernels. Choose a larger one.`;
      return;
    }
    Object.assign(state, filterResponses(state.planes, kernels));
    const largest = Math.max(...[...state.responses, state.sum].map(magnitude));
    state.responses.forEach((response, channel) => paintSigned(answers[channel], response, largest));
    paintSigned(total, state.sum, largest);
    scale.set(largest);
    // Until the reader picks a pixel, stand where the sum is strongest.
    const most = magnitude(state.sum);
    const strongest = state.sum.data.findIndex((value) => Math.abs(value) === most);
    if (state.picked) stand(state.row, state.column);
    else stand(Math.floor(strongest / state.sum.width), strongest % state.sum.width);
  });

  const grids = CHANNELS.map((name, channel) => numberGrid({
    plane: kernels[channel], label: `Kernel on ${name}, 3 by 3`, name: `Kernel on ${name},`,
    onChange() {
      menu.select.value = OWN;
      redraw();
    },
    onMessage: (list) => faults.set(name, list.join(" ")),
  }));
  const use = (weights) => {
    weights.forEach((nine, channel) => kernels[channel].data.set(nine));
    grids.forEach((grid) => grid.reset());
    redraw();
  };
  const menu = choice("Filter", [...Object.entries(FILTERS).map(([key, [text]]) => [key, text]), [OWN, "custom"]], (key) => {
    if (key !== OWN) use(FILTERS[key][1]);
  });
  const start = () => {
    menu.select.value = config.kernels ? OWN : "edges";
    use(config.kernels ?? FILTERS.edges[1]);
  };
  const load = (pixels) => {
    state.planes = channelPlanes(pixels);
    state.picked = false;
    state.planes.forEach(({ height, width, data }, i) => paintGrey(photos[i], plane(height, width, data.map((value) => 255 * value))));
    redraw();
  };

  root.replaceChildren(
    ...opening({
      title: "Channel sum",
      task: "Each kernel of the filter works on its own channel. The three responses are added up, pixel by pixel. Change a weight, or choose a pixel, and follow its numbers to the sum.",
      ask: "A convolution takes 3 channels and gives 1. Its kernels are 3 \u00d7 3. How many kernels has it, how many weights, and how many output maps?",
      answer: "Three kernels, one for each input channel, so 27 weights (and one bias, which is left out here). The three responses are added up, so there is one output map.",
    }),
    picturePicker({ root, ...lab }, load),
    make("div", { class: "ct-tools" }, menu.element, button("Start again", start)),
    faults.element,
    make("div", { class: "ct-lanes" }, ...CHANNELS.flatMap((name, i) => [
      captioned(name, inputs[i].element), captioned(`kernel on ${name}`, grids[i].element), captioned(`response to ${name}`, outputs[i].element),
    ])),
    make("div", { class: "ct-total" },
      captioned("sum of the three responses: the output map", whole.element, scale.element),
      make("div", {},
        make("div", { class: "ct-caption" }, "the chosen pixel: brightness and weight in each channel, and the sum of their products"),
        make("div", { class: "ct-shares" }, ...patches.map((patch, i) => make("div", {}, patch.element, shares[i]))),
        said)),
    help,
    codeBox("The same filter in PyTorch", code),
  );
  start();
  if (still) readStill(still).then(load);
}

mountAll("channel-sum", mountChannelSum, STYLE);
