// Kernel microscope: nine weights, what they do to the photograph, and what they are made of.
// Book: chapters 6 and 7; `view: "operators"` puts the operator coefficients in front for chapter 7.
import { cameraButton } from "./camera.mjs";
import { correlate, magnitude, plane } from "./core.mjs";
import {
  BASIS, compose, decompose, energy, evenPart, factor, frequencies, oddPart, outerProducts, quarterTurn, replicated,
} from "./operators.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { patchGrid, pixelPicker } from "./products.mjs";
import { draggable } from "./slider.mjs";
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
.ct-lab { container-type: inline-size; }
.ct-lead { max-width: none; }
.ct-predict { margin-bottom: 0.5rem; }
.ct-tools { align-items: center; gap: 0.4rem; margin-bottom: 0.3rem; }
.ct-tools .ct-field { flex-direction: row; align-items: center; gap: 0.5rem; }
.ct-tools .ct-line { gap: 0.3rem; }
.ct-tools select { width: 8.6rem; }
.ct-stage { justify-content: space-between; align-items: start; gap: 0.4rem 0.3rem; margin: 0; }
.ct-sign { align-self: center; padding-top: 0; }
.ct-caption { white-space: nowrap; }
.ct-wide { --ct-cell: 3rem; }
.ct-wide .ct-cell { height: 2.4rem; font-size: 0.77rem; }
.ct-wide .ct-cell:has([aria-invalid]) { background-color: var(--ct-field) !important; }
.ct-drag { cursor: ew-resize; touch-action: pan-y; }
.ct-named .ct-corner { left: 4px; top: 2px; right: auto; bottom: auto; color: var(--ct-ink); }
.ct-named .ct-cell input { padding-top: 0.7rem; }
.ct-part { --ct-cell: 2.1rem; }
.ct-part .ct-cell { height: 1.6rem; font-size: 0.6rem; letter-spacing: -0.05em; }
.ct-part .ct-button { min-height: 1.6rem; margin-top: 0.25rem; padding: 0 0.6rem; font-size: 0.82rem; }
.ct-compass { display: block; width: 5rem; height: 5rem; border: 1px solid var(--ct-line); border-radius: 50%; color: var(--ct-accent); background: var(--ct-field); }
.ct-sights { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)) repeat(2, minmax(0, 6.9rem)); gap: 0.6rem; align-items: start; margin: 0.4rem 0; }
.ct-halves { display: contents; }
.ct-spectrum { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.1rem 0.3rem; font-size: 0.75rem; color: var(--ct-muted); }
.ct-spectrum canvas { aspect-ratio: 1; border: 1px solid var(--ct-edge); }
.ct-spectrum .ct-scale { grid-column: 1 / -1; margin: 0; font-size: inherit; }
.ct-axis { display: flex; justify-content: space-between; line-height: 1.1; }
.ct-axis.ct-upright { flex-direction: column; text-align: end; }
.ct-ramp { flex: 1; height: 1.2rem; border: 1px solid var(--ct-edge); background: linear-gradient(to right, #000, #fff); }
.ct-one { --ct-cell: 3rem; display: grid; grid-template-columns: auto auto minmax(13rem, 1fr); gap: 0.4rem 0.7rem; align-items: start; }
.ct-one .ct-cell { height: 2rem; font-size: 0.8rem; }
.ct-one .ct-corner { font-size: 0.6rem; right: 2px; }
.ct-one .ct-levels .ct-row { grid-template-columns: repeat(3, var(--ct-cell)); }
.ct-words p { margin: 0 0 0.15rem; font-size: 0.8rem; line-height: 1.3; }
.ct-choices { display: flex; flex-wrap: wrap; align-items: center; gap: 0.1rem 1.1rem; }
.ct-choices > div { margin: 0; }
.ct-camera { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; }
@media (pointer: fine) {
  .ct-bench :is(.ct-button, select) { min-height: 2.1rem; height: 2.1rem; padding: 0 0.4rem; font-size: 0.77rem; }
  .ct-bench .ct-part .ct-button { min-height: 1.6rem; height: 1.6rem; }
  .ct-radio { min-height: 1.8rem; font-size: 0.9rem; }
}
@container (max-width: 36rem) {
  .ct-sign { display: none; }
  .ct-stage { justify-content: start; gap: 0.6rem 0.7rem; }
  .ct-sights { grid-template-columns: 1fr 1fr; }
  .ct-one { grid-template-columns: auto auto; justify-content: start; }
  .ct-words { grid-column: 1 / -1; }
}
@container (max-width: 20.5rem) {
  .ct-wide, .ct-one { --ct-cell: 2.85rem; }
  .ct-wide .ct-cell, .ct-one .ct-cell { font-size: 0.75rem; }
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

/** The heat map of something over all frequencies, with its axes and a scale below. */
function frequencyMap(caption, ...scale) {
  const canvas = make("canvas", { role: "img" });
  const axis = (kind, ...labels) => make("div", { class: `ct-axis ${kind}`, "aria-hidden": "true" }, ...labels.map((label) => make("span", {}, label)));
  const element = captioned(caption, make(
    "div", { class: "ct-spectrum" },
    axis("ct-upright", "\u2212\u03c0", "\u03c9y", "\u03c0"), canvas,
    make("span"), axis("", "\u2212\u03c0", "\u03c9x", "\u03c0"),
    make("div", { class: "ct-scale" }, ...scale),
  ));
  return { canvas, element };
}

/** Size and phase of the factor of every wave: {elements, words, write(weights, top)}; `write` returns the top of the scale. */
function spectrum() {
  const topText = make("span");
  const size = frequencyMap("size |K(\u03c9)|", "0", make("span", { class: "ct-ramp" }), topText);
  const bar = make("span", { class: "ct-bar", role: "img", "aria-label": "Colours from blue through white to red" }, make("span", {}, "0"));
  const phase = frequencyMap("phase of K(\u03c9)", "\u2212\u03c0", bar, "\u03c0");
  const words = make("p");
  const write = (weights, held) => {
    const [sizes, phases] = frequencies(weights, FREQUENCIES);
    const top = held ?? magnitude(sizes);
    const grey = sizes.data.map((value) => (top > 1e-12 ? (255 * value) / top : 0));
    paintGrey(size.canvas, plane(FREQUENCIES, FREQUENCIES, grey));
    paintSigned(phase.canvas, phases, Math.PI);
    topText.textContent = pretty(top);
    const at = (wx, wy) => pretty(tidy(Number(Math.hypot(...factor(weights, wx, wy)).toFixed(3))));
    size.canvas.setAttribute(
      "aria-label",
      `Size of the factor of each wave, low frequencies in the middle. Flat areas \u00d7\u00a0${at(0, 0)}; the finest upright stripes, \u03c9x = \u03c0, \u00d7\u00a0${at(Math.PI, 0)}; ` +
        `the finest level stripes, \u03c9y = \u03c0, \u00d7\u00a0${at(0, Math.PI)}; the checkerboard \u00d7\u00a0${at(Math.PI, Math.PI)}.`,
    );
    const [even, odd] = [evenPart(weights), oddPart(weights)].map((part) => energy(part) > 1e-18 * energy(weights));
    const kind = !even && !odd ? "there is none" : !odd ? "0 or \u03c0, since the factors of an even kernel are real"
      : !even ? "a quarter of a turn, since the factors of an odd kernel are imaginary" : "between, since the kernel is neither even nor odd";
    phase.canvas.setAttribute("aria-label", `Phase of the factor of each wave: ${kind}. Amber where no wave is left.`);
    const [real, imaginary] = factor(weights, Math.PI / 2, 0).map((part) => Number(part.toFixed(9)));
    const turn = Math.atan2(imaginary, real);
    const moved = Number(Math.abs((2 * turn) / Math.PI).toFixed(3));
    words.textContent = `Upright stripes of period 4: \u00d7\u00a0${pretty(Math.hypot(real, imaginary))}` +
      (real === 0 && imaginary === 0 ? "." : `, phase ${pretty(turn)}, so they move by ${pretty(moved)} pixel${moved === 1 ? "" : "s"}${moved === 0 ? "" : turn > 0 ? " to the left" : " to the right"}.`) +
      (phases.data.some(Number.isNaN) ? " Amber: the kernel removes these waves." : "");
    return top;
  };
  return { elements: [size.element, phase.element], words, write };
}

/** What "rank" says of the kernel: "Rank 1, separable: (1, 2, 1) down times (-1, 0, 1) across". */
function rankWords(weights) {
  const found = outerProducts(weights);
  const list = (values) => `(${values.map((value) => pretty(tidy(value))).join(", ")})`;
  const kind = found.length === 1 ? `, separable: ${list(found[0][0])} down times ${list(found[0][1])} across` : found.length ? ", not separable" : "";
  return `Rank ${found.length}${kind}.`;
}

/** A step to drag a number by, after the size of the largest: 0.05 for numbers of about 1. */
const stepFor = (values) => {
  const power = Math.floor(Math.log10(Math.max(...values.map(Math.abs)) || 1));
  return 0.05 * 10 ** (power < 0 ? power + 1 : power);
};

/** The nine products at one pixel and their sum: {elements, picker(canvas, more), show(grey, weights, place), mark(place)}. */
function onePixel(pick, now) {
  const patch = patchGrid(255);
  const products = smallKernel("The nine products");
  const [where, total] = [make("span"), make("strong")];
  const said = make("p", { "aria-live": "polite" }, where, total);
  const help = make("p", { class: "ct-note", id: freshId() }, "Point, tap or use the arrow keys.");
  const single = { height: 1, width: 1 };
  const here = () => ({ response: now().grey, row: now().row, column: now().column, kernel: single });
  const picker = (canvas, label) => pixelPicker({ canvas, label, help, now: here, pick, hover: true });
  return {
    picker, said, help,
    elements: [captioned("pixels, with the weights", patch.element), captioned("the nine products", products.element)],
    show({ height, width, data }, weights, row, column) {
      const clamp = (value, end) => Math.min(end - 1, Math.max(0, value));
      const pairs = weights.map((weight, i) => [data[clamp(row + Math.floor(i / 3) - 1, height) * width + clamp(column + (i % 3) - 1, width)], weight]);
      const nine = pairs.map(([value, weight]) => tidy(value * weight));
      patch.show({ height: 3, width: 3 }, pairs);
      products.write(nine.map((value) => Number(value.toPrecision(5))), Math.max(...nine.map(Math.abs)));
      where.textContent = `Row ${row}, column ${column}: the products add up to `;
      total.textContent = pretty(sumOf(nine));
    },
  };
}
function mountMicroscope({ root, config, still, ...lab }) {
  const kernel = plane(3, 3);
  const coefficients = plane(3, 3);
  const state = { grey: null, asPicture: false, held: null, row: 0, column: 0, picked: false, edited: true };
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
  for (const { which, grid, data } of [
    { which: "kernel", grid: kernelGrid, data: kernel.data }, { which: "coefficients", grid: coefficientGrid, data: coefficients.data },
  ]) {
    grid.cells.forEach((cell, i) => draggable(cell.focus, {
      value: () => data[i],
      step: () => stepFor(Array.from(data)),
      set(value) {
        if (Math.abs(value) > MOST_SCALED) return;
        data[i] = value;
        grid.reset();
        edited(which);
      },
    }));
  }
  const spreadKernel = () => {
    const found = decompose(kernel.data);
    LAYOUT.forEach((k, i) => (coefficients.data[i] = tidy(found[k])));
  };
  const changed = () => {
    state.edited = true;
    redraw();
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
    changed();
  };
  const use = (weights, name = OWN) => {
    kernel.data.set(weights.map(tidy));
    spreadKernel();
    kernelGrid.reset();
    coefficientGrid.reset();
    presets.select.value = name;
    if (name !== OWN) show(Math.abs(sumOf(weights) - 1) < 1e-9);
    changed();
  };

  // What it is made of
  const [even, odd, arrow, fourier] = [smallKernel("Even part"), smallKernel("Odd part"), compass(), spectrum()];
  const [evenShare, oddShare] = [make("span"), make("span")];
  const arrowWords = make("p");
  const sum = make("p", { class: "ct-formula" });
  const reading = make("p", { "aria-live": "polite" });

  // Before and after, and one pixel of both
  const before = make("canvas", { role: "img", "aria-label": "The photograph in grey" });
  const after = make("canvas", { role: "img" });
  const scale = signedScale();
  const clipped = make("p", { class: "ct-note" });
  const pixel = onePixel((row, column) => {
    if (!state.grey) return;
    state.picked = true;
    stand(row, column);
  }, () => state);
  const pickers = [pixel.picker(before, "Photograph, pixel picker"), pixel.picker(after, "Response, pixel picker")];
  const stand = (row, column) => {
    const { height, width } = state.grey;
    state.row = Math.min(height - 1, Math.max(0, row));
    state.column = Math.min(width - 1, Math.max(0, column));
    pickers[0].mark(state.row - 1, state.column - 1, 3, 3);
    pickers[1].mark(state.row, state.column, 1, 1);
    pixel.show(state.grey, weightsNow(), state.row, state.column);
  };

  /** What can be said of the kernel alone. */
  const describe = () => {
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
    const bright = sumOf(weights);
    const flat = bright === 0 ? "Flat areas become 0" : Math.abs(bright - 1) < 1e-9 ? "Flat areas keep their brightness" : `Flat areas are multiplied by ${pretty(bright)}`;
    reading.textContent = `${flat}: the weights add up to ${pretty(bright)}. ${rankWords(weights)} Noise gain ${pretty(Math.sqrt(energy(weights)))}.`;
    state.spectrumTop = fourier.write(weights, state.held?.spectrum);
  };

  const redraw = oncePerFrame(() => {
    if (state.edited) describe();
    state.edited = false;
    if (!state.grey) return;
    const response = correlate(replicated(state.grey), kernel);
    const reach = state.held?.response ?? magnitude(response);
    state.reach = reach;
    scale.element.hidden = state.asPicture;
    after.setAttribute("aria-label", state.asPicture ? "The response as a picture" : "The response: blue negative, red positive, white zero");
    const share = (isOut) => Array.from(response.data).filter(isOut).length / response.data.length;
    const few = (part) => (part < 0.001 ? "Under 0.1\u00a0%" : percent(part));
    if (state.asPicture) {
      paintGrey(after, response);
      const outside = share((value) => value < -0.5 || value > 255.5);
      clipped.textContent =
        outside > 0 ? `${few(outside)} of the pixels fall outside 0 to 255 and are cut off.` : "Every pixel stays between 0, black, and 255, white.";
    } else {
      paintSigned(after, response, reach);
      const beyond = share((value) => Math.abs(value) > reach * (1 + 1e-9));
      clipped.textContent = beyond > 0 ? `${few(beyond)} of the pixels lie beyond this scale.` : "";
      scale.set(reach);
    }
    // Until the reader picks a pixel, stand where the answer is strongest.
    if (!state.picked) {
      const largest = magnitude(response);
      const strongest = response.data.findIndex((value) => Math.abs(value) === largest);
      [state.row, state.column] = [Math.floor(strongest / response.width), strongest % response.width];
    }
    stand(state.row, state.column);
  });

  const group = freshId();
  const radio = (text, asPicture) => tick("radio", text, () => ((state.asPicture = asPicture), redraw()), { name: group });
  const [numbers, picture] = [radio("as numbers", false), radio("as a picture", true)];
  const show = (asPicture) => {
    state.asPicture = asPicture;
    numbers.input.checked = !asPicture;
    picture.input.checked = asPicture;
  };
  const keep = tick("checkbox", "Keep this scale", (on) => {
    state.held = on && state.grey ? { response: state.reach, spectrum: state.spectrumTop } : null;
    changed();
  });

  const times = (by) => () => {
    const scaled = weightsNow().map((weight) => weight * by);
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
    state.held = null;
    keep.input.checked = false;
    if (Array.isArray(config.kernel)) {
      use(config.kernel);
      show(Math.abs(sumOf(config.kernel) - 1) < 1e-9);
    } else {
      use(PRESETS[config.kernel][1], config.kernel);
    }
  };
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    paintGrey(before, state.grey);
    redraw();
  };
  const camera = cameraButton(lab, load);

  const figure = (caption, content, ...below) => make("div", { class: "ct-figure" }, make("div", { class: "ct-caption" }, ...caption), content, ...below);
  const part = (name, share, small, keepPart) => {
    const only = button("Keep", () => use(keepPart(weightsNow())));
    only.setAttribute("aria-label", `Keep the ${name} part`);
    return make("div", { class: "ct-figure ct-part" }, make("div", { class: "ct-caption" }, `${name}: `, share), small.element, make("div", {}, only));
  };
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
        ? "Mix your own operator: drag a coefficient sideways, type it, or press Page Up and Page Down in it. The nine weights follow, and the coefficients follow the weights."
        : "Choose a kernel, or drag a weight sideways, type it, or press Page Up and Page Down in it. Point at the photograph to see one sum.",
      ask: operatorsFirst
        ? "Take the kernel that copies the picture and set the coefficient of dx to 1 as well, so K = 1 + dx. Is K even, odd, or neither?"
        : "Sobel x: what does the response show where the photograph is flat, and why?",
      answer: operatorsFirst
        ? "Neither. The identity is its even part and dx is its odd part. A sum of an even and an odd part that are both not 0 is neither."
        : "0, which is white as a number and black as a picture. The nine weights add up to 0, so equal pixels cancel.",
    }),
    make("div", { class: "ct-bench" },
      make("div", { class: "ct-tools" }, presets.element, make(
        "div", { class: "ct-line" },
        button("\u00d7 2", times(2)),
        button("\u00f7 2", times(1 / 2)),
        button("\u00d7 \u22121", times(-1)),
        button("Quarter turn", () => use(quarterTurn(weightsNow()))),
        button("Random odd", random),
        button("Start again", start),
      )),
      make("div", { class: "ct-stage" }, ...tables, part("even", evenShare, even, evenPart), part("odd", oddShare, odd, oddPart),
        figure(["odd part points"], arrow.element)),
      faults.element,
      make("div", { class: "ct-sights" },
        make("div", { class: "ct-halves" },
          captioned("before: brightness", pickers[0].element),
          captioned("after: response", pickers[1].element, scale.element, clipped)),
        ...fourier.elements),
      make("div", { class: "ct-choices" },
        make("div", { class: "ct-set", role: "radiogroup", "aria-label": "Show the response" }, numbers.element, picture.element),
        keep.element, pixel.help),
      make("div", { class: "ct-one" }, ...pixel.elements,
        make("div", { class: "ct-words" }, pixel.said, sum, reading, arrowWords, fourier.words)),
      make("div", { class: "ct-choices" },
        picturePicker({ root, ...lab }, (pixels) => {
          camera.stop();
          load(pixels);
        }),
        camera.element),
    ),
  );
  start();
  if (still) readStill(still).then(load);
}

mountAll("kernel-microscope", mountMicroscope, STYLE);
