// Kernel microscope: nine weights, what they do to the photograph, and what they are made of.
// Book: chapters 6 and 7; `view: "operators"` puts the operator coefficients in front for chapter 7.
import { correlate, magnitude, plane } from "./core.mjs";
import { BASIS, compose, decompose, energy, evenPart, frequencies, oddPart, quarterTurn, replicated } from "./operators.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import {
  button, captioned, choice, faultBox, freshId, make, mountAll, numberGrid, oncePerFrame, opening, pretty, signedScale, tick, tint,
} from "./widgets.mjs";

const over = (divisor, ...weights) => weights.map((weight) => weight / divisor);

const PRESETS = {
  identity: ["identity", [0, 0, 0, 0, 1, 0, 0, 0, 0]],
  box: ["box (mean of nine)", over(9, 1, 1, 1, 1, 1, 1, 1, 1, 1)],
  gaussian: ["Gaussian", over(16, 1, 2, 1, 2, 4, 2, 1, 2, 1)],
  sharpen: ["sharpen", [0, -1, 0, -1, 5, -1, 0, -1, 0]],
  sobel_x: ["Sobel x, over 8", over(8, -1, 0, 1, -2, 0, 2, -1, 0, 1)],
  sobel_y: ["Sobel y, over 8", over(8, -1, -2, -1, 0, 0, 0, 1, 2, 1)],
  laplacian: ["Laplacian", [0, 1, 0, 1, -4, 1, 0, 1, 0]],
  isotropic: ["Laplacian, isotropic", over(6, 1, 4, 1, 4, -20, 4, 1, 4, 1)],
  emboss: ["emboss", [-2, -1, 0, -1, 1, 1, 0, 1, 2]],
  shift: ["shift to the right", [0, 0, 0, 1, 0, 0, 0, 0, 0]],
  average: ["halfway to the right", [0, 0, 0, 0.5, 0.5, 0, 0, 0, 0]],
  difference: ["central difference, dx", [0, 0, 0, -0.5, 0, 0.5, 0, 0, 0]],
};
const OWN = "own";
const FREQUENCIES = 65;
const MOST_SCALED = 1e9;

// Operator coefficients are laid out like the weights: order in x across, order in y down.
const LAYOUT = [0, 1, 3, 2, 4, 6, 5, 7, 8];

const STYLE = `
.ct-wide { --ct-cell: 3.5rem; }
.ct-wide .ct-cell { font-size: 0.86rem; }
.ct-wide .ct-cell:has([aria-invalid]) { background-color: var(--ct-field) !important; }
.ct-named .ct-corner { left: 5px; top: 4px; right: auto; bottom: auto; color: var(--ct-ink); font-size: 0.75rem; }
.ct-named .ct-cell input { padding-top: 0.9rem; }
.ct-parts { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem 1rem; margin-top: 0.75rem; }
.ct-parts .ct-grid { --ct-cell: 3.2rem; }
.ct-parts .ct-cell { height: 2.1rem; font-size: 0.82rem; }
.ct-parts .ct-button { margin-top: 0.5rem; }
.ct-compass { display: block; width: 8.2rem; height: 8.2rem; border: 1px solid var(--ct-line); border-radius: 50%; color: var(--ct-accent); background: var(--ct-field); }
.ct-spectrum { display: grid; grid-template-columns: auto minmax(0, 9.5rem); justify-content: start; gap: 0.2rem 0.4rem; font-size: 0.8rem; color: var(--ct-muted); }
.ct-spectrum canvas { aspect-ratio: 1; border: 1px solid var(--ct-edge); }
.ct-axis { display: flex; justify-content: space-between; }
.ct-axis.ct-upright { flex-direction: column; text-align: end; }
.ct-ramp { flex: 1; height: 0.8rem; border: 1px solid var(--ct-edge); background: linear-gradient(to right, #000, #fff); }
.ct-choices { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: end; gap: 0.5rem 1.5rem; }
@media (max-width: 30rem) {
  .ct-sign { display: none; }
  .ct-parts .ct-grid { --ct-cell: 2.75rem; }
  .ct-parts .ct-cell { font-size: 0.72rem; }
}
`;

const tidy = (value) => (Math.abs(value) < 1e-12 ? 0 : value);
const percent = (share) => `${pretty(Math.round(share * 1000) / 10)}\u00a0%`;
const sumOf = (weights) => tidy(weights.reduce((a, b) => a + b, 0));

/** K = dx + 0.25 dxyy, with coefficients of nought left out. */
function asSum(coefficients) {
  const largest = Math.max(...coefficients.map(Math.abs));
  const terms = BASIS.map((name, k) => [name, coefficients[k]]).filter(([, value]) => Math.abs(value) > 1e-9 * largest);
  if (!terms.length) return "K = 0";
  const written = terms.map(([name, value], i) => {
    const size = Math.abs(value);
    const text = name === "1" ? pretty(size) : Math.abs(size - 1) < 1e-9 ? name : `${pretty(size)}\u00a0${name}`;
    return i === 0 ? (value < 0 ? `\u2212${text}` : text) : `${value < 0 ? "\u2212" : "+"} ${text}`;
  });
  return `K = ${written.join(" ")}`;
}

const EIGHTHS = ["right", "right and down", "down", "left and down", "left", "left and up", "up", "right and up"];

/** Where a slope points, in words; y grows downward. */
function direction(x, y) {
  const degrees = ((Math.atan2(y, x) * 180) / Math.PI + 360) % 360;
  const nearest = Math.round(degrees / 45);
  if (Math.abs(degrees - 45 * nearest) < 0.05) return EIGHTHS[nearest % 8];
  return `${EIGHTHS[nearest % 8]}, ${pretty(Math.round(degrees * 10) / 10)}\u00b0 clockwise from right`;
}

/** A kernel to look at: {element, write(weights)}. */
function smallKernel(name) {
  const cells = Array.from({ length: 9 }, () => make("div", { class: "ct-cell" }));
  const rows = [0, 3, 6].map((start) => make("div", { class: "ct-row" }, ...cells.slice(start, start + 3)));
  const element = make("div", { class: "ct-grid", role: "img" }, ...rows);
  element.style.setProperty("--ct-columns", "3");
  const write = (weights, largest) => {
    element.setAttribute("aria-label", `${name}: ${weights.map((weight) => pretty(tidy(weight))).join(", ")}`);
    cells.forEach((cell, i) => {
      cell.textContent = pretty(tidy(weights[i]));
      tint(cell, weights[i], largest);
    });
  };
  return { element, write };
}

/** An arrow on a disc, from (x, y); the longer of the two is drawn at full length. */
function compass() {
  const element = make("div", { class: "ct-compass", role: "img" });
  const write = (x, y, words) => {
    element.setAttribute("aria-label", words);
    const length = Math.hypot(x, y);
    const turn = (Math.atan2(y, x) * 180) / Math.PI;
    element.innerHTML =
      `<svg viewBox="-50 -50 100 100" width="100%" height="100%" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="5" ` +
      (length > 1e-9
        ? `stroke-linecap="round" stroke-linejoin="round" transform="rotate(${turn.toFixed(2)})"><path d="M-32 0H32M18 -13L32 0L18 13"/>`
        : `><circle r="4"/>`) +
      "</g></svg>";
  };
  return { element, write };
}

/** The heat map of |K| with its axes. */
function spectrum() {
  const canvas = make("canvas", { role: "img" });
  const top = make("span");
  const words = make("p", { class: "ct-note" });
  const axis = (kind, ...labels) => make("div", { class: `ct-axis ${kind}`, "aria-hidden": "true" }, ...labels.map((label) => make("span", {}, label)));
  const element = make(
    "div", { class: "ct-spectrum" },
    axis("ct-upright", "\u2212\u03c0", "\u03c9y", "\u03c0"), canvas,
    make("span"), axis("", "\u2212\u03c0", "\u03c9x", "\u03c0"),
    make("span"), make("div", { class: "ct-scale" }, "0", make("span", { class: "ct-ramp" }), top),
  );
  const write = (weights) => {
    const values = frequencies(weights, FREQUENCIES);
    const largest = magnitude(values);
    const [middle, end] = [(FREQUENCIES - 1) / 2, FREQUENCIES - 1];
    const at = (row, column) => pretty(Number(values.data[row * FREQUENCIES + column].toFixed(3)));
    paintGrey(canvas, plane(FREQUENCIES, FREQUENCIES, values.data.map((value) => (largest > 1e-12 ? (255 * value) / largest : 0))));
    top.textContent = pretty(largest);
    words.textContent =
      `Flat areas \u00d7\u00a0${at(middle, middle)}; the finest upright stripes, \u03c9x = \u03c0, \u00d7\u00a0${at(middle, end)}; ` +
      `the finest level stripes, \u03c9y = \u03c0, \u00d7\u00a0${at(end, middle)}; the checkerboard \u00d7\u00a0${at(end, end)}.`;
    canvas.setAttribute("aria-label", `Fourier magnitude, low frequencies in the middle. ${words.textContent}`);
  };
  return { element, words, write };
}

function mountMicroscope({ root, config, still, ...lab }) {
  const kernel = plane(3, 3);
  const coefficients = plane(3, 3);
  const state = { grey: null, asPicture: false };
  const faults = faultBox();
  const note = (which) => (list) => faults.set(which, list.join(" "));
  const weightsNow = () => Array.from(kernel.data);

  const kernelGrid = numberGrid({ plane: kernel, label: "Kernel, 3 by 3", name: "Weight", onChange: () => edited("kernel"), onMessage: note("kernel") });
  const coefficientGrid = numberGrid({
    plane: coefficients, label: "Operator coefficients", name: "Coefficient",
    onChange: () => edited("coefficients"), onMessage: note("coefficients"),
  });
  coefficientGrid.cells.forEach((cell, i) => {
    cell.corner.textContent = BASIS[LAYOUT[i]];
    cell.focus.setAttribute("aria-label", `Coefficient of ${BASIS[LAYOUT[i]]}`);
  });
  const spreadKernel = () => {
    const found = decompose(kernel.data);
    LAYOUT.forEach((k, i) => (coefficients.data[i] = tidy(found[k])));
  };
  const edited = (which) => {
    if (which === "kernel") {
      spreadKernel();
      coefficientGrid.reset();
    } else {
      const inOrder = [];
      LAYOUT.forEach((k, i) => (inOrder[k] = coefficients.data[i]));
      kernel.data.set(compose(inOrder).map(tidy));
      kernelGrid.reset();
    }
    presets.select.value = OWN;
    redraw();
  };
  const use = (weights, name = OWN) => {
    kernel.data.set(weights.map(tidy));
    spreadKernel();
    kernelGrid.reset();
    coefficientGrid.reset();
    presets.select.value = name;
    if (name !== OWN) show(Math.abs(sumOf(weights) - 1) < 1e-9);
    redraw();
  };

  // What it is made of
  const [even, odd, arrow, fourier] = [smallKernel("Even part"), smallKernel("Odd part"), compass(), spectrum()];
  const [evenShare, oddShare, evenWords, arrowWords] = Array.from({ length: 4 }, () => make("span"));
  const sum = make("p", { class: "ct-formula ct-size" });
  const reading = make("p", { class: "ct-sum", "aria-live": "polite" });

  // Before and after
  const before = make("canvas", { role: "img", "aria-label": "The photograph in grey" });
  const after = make("canvas", { role: "img" });
  const scale = signedScale();
  const clipped = make("p", { class: "ct-note" });

  const redraw = oncePerFrame(() => {
    const weights = weightsNow();
    const largest = Math.max(...weights.map(Math.abs));
    kernelGrid.cells.forEach((cell, i) => tint(cell.element, kernel.data[i], largest));
    const most = magnitude(coefficients);
    coefficientGrid.cells.forEach((cell, i) => tint(cell.element, coefficients.data[i], most));

    const parts = [evenPart(weights), oddPart(weights)];
    const [evenEnergy, oddEnergy] = parts.map(energy);
    const total = evenEnergy + oddEnergy || 1;
    even.write(parts[0], largest);
    odd.write(parts[1], largest);
    evenShare.textContent = percent(evenEnergy / total);
    oddShare.textContent = percent(oddEnergy / total);

    const inOrder = decompose(weights).map(tidy);
    const [, slopeX, slopeY] = inOrder;
    const strength = Math.hypot(slopeX, slopeY);
    arrowWords.textContent =
      strength > 1e-9
        ? `Points ${direction(slopeX, slopeY)}: a ramp that gets brighter that way by 1 per pixel is answered with ${pretty(strength)}.`
        : oddEnergy > 1e-18
          ? "Points nowhere: dx and dy are 0, and only third derivatives are left."
          : "Points nowhere: there is no odd part.";
    arrow.write(slopeX, slopeY, arrowWords.textContent);
    sum.textContent = asSum(inOrder);
    fourier.write(weights);

    const bright = sumOf(weights);
    const flat = bright === 0 ? "Flat areas become 0" : Math.abs(bright - 1) < 1e-9 ? "Flat areas keep their brightness" : `Flat areas are multiplied by ${pretty(bright)}`;
    reading.textContent = `${flat}: the weights add up to ${pretty(bright)}. Even part ${evenShare.textContent} of the energy, odd part ${oddShare.textContent}.`;

    if (!state.grey) return;
    const response = correlate(replicated(state.grey), kernel);
    const reach = magnitude(response);
    scale.element.hidden = state.asPicture;
    after.setAttribute("aria-label", state.asPicture ? "The response as a picture" : "The response: blue negative, red positive, white zero");
    if (state.asPicture) {
      paintGrey(after, response);
      const outside = Array.from(response.data).filter((value) => value < -0.5 || value > 255.5).length / response.data.length;
      clipped.textContent =
        outside > 0
          ? `${outside < 0.001 ? "Under 0.1\u00a0%" : percent(outside)} of the pixels fall outside 0 to 255 and are cut off.`
          : "Every pixel stays between 0, black, and 255, white.";
    } else {
      paintSigned(after, response, reach);
      clipped.textContent = "";
      scale.set(reach);
    }
  });

  const group = freshId();
  const radio = (text, asPicture) => tick("radio", text, () => ((state.asPicture = asPicture), redraw()), { name: group });
  const [numbers, picture] = [radio("as numbers", false), radio("as a picture", true)];
  const show = (asPicture) => {
    state.asPicture = asPicture;
    numbers.input.checked = !asPicture;
    picture.input.checked = asPicture;
  };

  const times = (factor) => () => {
    const scaled = weightsNow().map((weight) => weight * factor);
    const largest = Math.max(...scaled.map(Math.abs));
    if (largest <= MOST_SCALED && (largest === 0 || largest >= 1 / MOST_SCALED)) use(scaled);
  };
  const random = () => {
    const half = Array.from({ length: 4 }, () => Math.round(200 * Math.random() - 100) / 100);
    use([...half, 0, ...half.map((weight) => -weight).reverse()]);
    show(false);
  };
  const presets = choice("Kernel", [...Object.entries(PRESETS).map(([key, [text]]) => [key, text]), [OWN, "your own"]], (key) => {
    if (key !== OWN) use(PRESETS[key][1], key);
  });
  const start = () => {
    if (Array.isArray(config.kernel)) {
      use(config.kernel);
      show(Math.abs(sumOf(config.kernel) - 1) < 1e-9);
    } else {
      use(PRESETS[config.kernel][1], config.kernel);
    }
  };

  const figure = (caption, content, ...below) => make("div", { class: "ct-figure" }, make("div", { class: "ct-caption" }, ...caption), content, ...below);
  const operatorsFirst = config.view === "operators";
  const tables = [
    figure(["nine weights"], make("div", { class: "ct-wide" }, kernelGrid.element)),
    make("div", { class: "ct-sign", "aria-hidden": "true" }, "="),
    figure(["operator coefficients"], make("div", { class: "ct-wide ct-named" }, coefficientGrid.element)),
  ];
  if (operatorsFirst) tables.reverse();
  root.replaceChildren(
    ...opening({
      title: "Kernel microscope",
      task: operatorsFirst
        ? "Mix your own operator: each coefficient says how much of that derivative the kernel takes. Change a coefficient and the nine weights follow; change a weight and the coefficients follow."
        : "Choose a kernel or type your own nine weights. Compare the photograph before and after, and see below what the kernel is made of.",
      ask: operatorsFirst
        ? "Take the kernel that copies the picture and set the coefficient of dx to 1 as well, so K = 1 + dx. Is K even, odd, or neither?"
        : "Sobel x: what does the response show where the photograph is flat, and why?",
      answer: operatorsFirst
        ? "Neither. The identity is its even part and dx is its odd part. A sum of an even and an odd part that are both not 0 is neither."
        : "0, drawn white. The nine weights add up to 0, so equal pixels cancel.",
    }),
    make("div", { class: "ct-tools" }, presets.element, make(
      "div", { class: "ct-line" },
      button("\u00d7 2", times(2)),
      button("\u00f7 2", times(1 / 2)),
      button("\u00d7 \u22121", times(-1)),
      button("Quarter turn", () => use(quarterTurn(weightsNow()))),
      button("Random odd", random),
      button("Start again", start),
    )),
    make("div", { class: "ct-stage" }, ...tables),
    faults.element,
    sum,
    reading,
    make(
      "div", { class: "ct-photograph" },
      make(
        "div", { class: "ct-choices" },
        picturePicker({ root, ...lab }, (pixels) => load(pixels)),
        make("fieldset", { class: "ct-set" }, make("legend", {}, "Show the response"), numbers.element, picture.element),
      ),
      make(
        "div", { class: "ct-halves" },
        captioned("before: brightness", before),
        captioned("after: response", after, scale.element, clipped),
      ),
    ),
    make(
      "div", { class: "ct-photograph" },
      make("h4", { class: "ct-subtitle" }, "What it is made of"),
      make(
        "div", { class: "ct-parts" },
        figure(["even part: ", evenShare], even.element, make("div", {}, button("Keep the even part", () => use(evenPart(weightsNow()))))),
        figure(["odd part: ", oddShare], odd.element, make("div", {}, button("Keep the odd part", () => use(oddPart(weightsNow()))))),
        figure(["where the odd part points"], arrow.element, make("p", { class: "ct-note" }, arrowWords)),
        figure(["Fourier magnitude |K(\u03c9x, \u03c9y)|"], fourier.element, fourier.words),
      ),
    ),
  );
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    paintGrey(before, state.grey);
    redraw();
  };
  start();
  if (still) readStill(still).then(load);
}

mountAll("kernel-microscope", mountMicroscope, STYLE);
