// Checkerboard: count the stamps of a transposed convolution, see their pattern on a photograph, and see it cured.
// Book: chapter 5.
import {
  cutOut, drawnInputs, overlapCount, phaseSums, resizeThenConvolve, stampTaps, subsample, total, transpose, verdict,
} from "./checkerboard_rules.mjs";
import { greyPlane, paintGrey, picturePicker, readStill } from "./picture.mjs";
import {
  arrowTarget, button, captioned, choice, choiceGrid, codeBox, faultBox, freshId, labelled, make, markInvalid, mountAll, oncePerFrame,
  opening, pretty, wholeField,
} from "./widgets.mjs";

const FIELDS = { kernel: ["Kernel", 1, 9], stride: ["Stride", 1, 6], padding: ["Padding", 0, 8] };
const MOST_NUMBERED = 16; // cells a side, beyond which the numbers of the heat map would be too small to read
const STYLE = `
.ct-stamps { display: grid; grid-template-columns: repeat(var(--ct-columns), var(--ct-cell)); gap: 2px 0; padding: 0 1px; width: max-content; }
.ct-stamp { height: 1.25rem; border: 1px solid var(--ct-edge); border-radius: 3px; background: var(--ct-field); color: var(--ct-muted); font-size: 0.75rem; line-height: 1.15rem; text-align: center; }
.ct-stamp.ct-patch { color: var(--ct-ink); }
.ct-small .ct-stamp.ct-patch::after { content: none; }
.ct-column { align-self: end; margin: 0.35rem 3px 0; background: var(--ct-accent); border-radius: 2px 2px 0 0; }
.ct-column.ct-cut { background: none; border: 1px dashed var(--ct-edge); border-bottom: 0; }
.ct-heat { max-width: 26rem; cursor: crosshair; }
.ct-heat svg { display: block; width: 100%; height: auto; }
.ct-heat rect { stroke: var(--ct-line); stroke-width: 0.03; fill: color-mix(in srgb, var(--ct-accent) calc(var(--share) * 1%), var(--ct-field)); }
.ct-heat rect.ct-ring { fill: none; stroke: var(--ct-mark); stroke-width: 0.14; }
.ct-heat text { font-size: 0.52px; text-anchor: middle; fill: var(--ct-ink); }
.ct-verdict:not(.ct-even) { border-color: var(--ct-mark); }
.ct-mark.ct-region { aspect-ratio: auto; transform: none; }
.ct-photograph .ct-tools { margin-top: 0.6rem; }
@media (max-width: 30rem) { .ct-scroll.ct-counts { --ct-cell: 1.5rem; } }`;

/** The upper half: counts along one axis and over two. */
function countsView() {
  const state = { input: 1, counts: [], padding: 0, kernel: 1, stride: 1, row: 0, column: 0 };
  const line = make("div", { class: "ct-scroll ct-small ct-counts" });
  const heat = make("div");
  const heatCaption = make("span");
  const said = make("p", { class: "ct-sum", "aria-live": "polite" });
  let grid, stamps, ring;

  const inside = (place) => place >= 0 && place < state.counts.length;
  const cells = (count) => (count === 1 ? "1 input cell" : `${count} input cells`);
  const point = (row, column) => {
    const { counts, padding, stride, kernel } = state;
    Object.assign(state, { row, column });
    const reaches = (stamp) => column + padding >= stamp * stride && column + padding < stamp * stride + kernel;
    stamps.forEach((stamp, i) => stamp.classList.toggle("ct-patch", reaches(i)));
    grid.cells.forEach((cell, i) => {
      cell.element.classList.toggle("ct-chosen", i - padding === column);
      cell.element.setAttribute("aria-selected", i - padding === column);
    });
    grid.setStop(0, column + padding);
    ring.style.display = inside(column) ? "" : "none";
    ring.setAttribute("x", column + 0.05);
    ring.setAttribute("y", row + 0.05);
    const by = stamps.map((_, i) => i).filter(reaches);
    const who = by.length ? `by ${by.length > 1 ? "inputs" : "input"} ${by.join(", ").replace(/, (\d+)$/, " and $1")}` : "by nothing";
    said.textContent = inside(column)
      ? `Along one axis, output ${column} is reached ${who}: count ${counts[column]}. ` +
        `In two dimensions, row ${row}, column ${column}: ${counts[row]} \u00d7 ${counts[column]} = ${cells(counts[row] * counts[column])}.`
      : `This cell is reached ${who}, but the padding cuts it off.`;
  };

  const drawHeat = () => {
    const { counts } = state;
    const size = counts.length;
    const most = Math.max(...counts) ** 2 || 1;
    const numbered = size <= MOST_NUMBERED;
    const squares = counts.flatMap((a, y) => counts.map((b, x) => {
      const label = numbered ? `<text x="${x + 0.5}" y="${y + 0.69}">${a * b}</text>` : "";
      return `<rect x="${x}" y="${y}" width="1" height="1" style="--share:${Math.round((45 * a * b) / most)}"/>${label}`;
    }));
    heatCaption.textContent = `two dimensions: ${size} \u00d7 ${size} output cells${numbered ? "" : " (too many for numbers: point at one)"}`;
    heat.innerHTML = `<svg viewBox="-0.1 -0.1 ${size + 0.2} ${size + 0.2}" aria-hidden="true">${squares.join("")}` +
      '<rect class="ct-ring" width="0.9" height="0.9"/></svg>';
    ring = heat.querySelector(".ct-ring");
  };

  const drawLine = () => {
    const { input, counts, padding, stride, kernel } = state;
    const full = overlapCount(input, kernel, stride);
    const unit = Math.min(1, 4 / Math.max(...full)); // rem for each count
    stamps = Array.from({ length: input }, (_, i) => {
      const stamp = make("div", { class: "ct-stamp" }, String(i));
      stamp.style.gridArea = `${i + 1} / ${i * stride + 1} / auto / span ${kernel}`;
      return stamp;
    });
    const bars = full.map((count, i) => {
      const bar = make("div", { class: inside(i - padding) ? "ct-column" : "ct-column ct-cut" });
      bar.style.gridArea = `${input + 1} / ${i + 1}`;
      bar.style.height = `${count * unit}rem`;
      return bar;
    });
    const picture = make("div", { class: "ct-stamps", "aria-hidden": "true" }, ...stamps, ...bars);
    picture.style.setProperty("--ct-columns", String(full.length));
    grid = choiceGrid({
      label: `Counts along one axis, ${counts.length} output cells`, height: 1, width: full.length,
      onPick: (_, column) => point(state.row, column - padding),
    });
    grid.cells.forEach((cell, i) => {
      const kept = inside(i - padding);
      cell.text.textContent = full[i];
      cell.element.classList.toggle("ct-outside", !kept);
      cell.element.setAttribute("aria-label", kept ? `output ${i - padding}: ${full[i]}` : `cut off: ${full[i]}`);
    });
    line.replaceChildren(picture, grid.element);
  };

  const pointHeat = (event) => {
    const box = heat.querySelector("svg").getBoundingClientRect();
    const size = state.counts.length;
    const place = (share) => Math.min(size - 1, Math.max(0, Math.floor(share * (size + 0.2) - 0.1)));
    point(place((event.clientY - box.top) / box.height), place((event.clientX - box.left) / box.width));
  };
  const heatFrame = make(
    "div",
    {
      class: "ct-heat", tabindex: "0", role: "application", "aria-label": "Counts in two dimensions, cell picker",
      on: {
        click: pointHeat,
        pointermove: (event) => event.pointerType === "mouse" && pointHeat(event),
        keydown: (event) => {
          const size = state.counts.length;
          const target = arrowTarget(event, state.row, Math.min(size - 1, Math.max(0, state.column)), size, size);
          if (!target) return;
          event.preventDefault();
          point(...target);
        },
      },
    },
    heat,
  );
  const element = make(
    "div", {},
    make("div", { class: "ct-caption" }, "one axis: a stamp for each input cell; below, how many lie on each output cell"),
    line,
    said,
    make("div", { class: "ct-caption" }, heatCaption),
    heatFrame,
  );
  return {
    element,
    show(input, { kernel, stride, padding }) {
      Object.assign(state, { input, kernel, stride, padding, counts: overlapCount(input, kernel, stride, padding) });
      const middle = Math.floor(state.counts.length / 2);
      drawLine();
      drawHeat();
      point(middle, middle);
    },
  };
}

/** The lower half: a photograph, made small and enlarged again in two ways. */
function photographView(lab, settings) {
  const state = { grey: null, side: 128, row: 0, column: 0, results: null };
  const whole = make("canvas", { role: "img", "aria-label": "The photograph in grey" });
  const mark = make("span", { class: "ct-mark ct-region" });
  const views = ["Every pixel the layer is given", "After the transposed convolution", "After resizing and convolving"].map((label) => {
    const canvas = make("canvas", { role: "img", "aria-label": `${label}, detail` });
    const note = make("p", { class: "ct-note" });
    const caption = make("div", { class: "ct-caption" });
    return { canvas, note, caption, element: make("div", { class: "ct-half" }, caption, canvas, note) };
  });
  const halves = make("div", { class: "ct-halves" });
  const advice = make("p", { "aria-live": "polite" });

  /** Rows and columns of the part on show. */
  const extent = () => [state.grey.height, state.grey.width].map((size) => Math.min(state.side, size));

  const drawDetails = oncePerFrame(() => {
    if (!state.results) return;
    const { stride, kernel, padding } = settings;
    const [height, width] = extent();
    const [small, stamped, resized] = state.results;
    const { row, column } = state;
    const shift = Math.round((kernel - 1) / 2 - padding); // a stamp's middle is this far from its pixel's place
    const part = (input, offset) => cutOut(input, row + offset, column + offset, height, width);
    paintGrey(views[0].canvas, cutOut(small, Math.floor(row / stride), Math.floor(column / stride), Math.ceil(height / stride), Math.ceil(width / stride)));
    paintGrey(views[1].canvas, part(stamped, shift));
    paintGrey(views[2].canvas, part(resized, Math.floor((stride - 1) / 2)));
    mark.style.cssText = `left:${(100 * column) / whole.width}%;top:${(100 * row) / whole.height}%;` +
      `width:${(100 * width) / whole.width}%;height:${(100 * height) / whole.height}%`;
    mark.hidden = height === whole.height && width === whole.width;
    fit();
  });

  /** Give every cell the same whole number of screen pixels: anything else would print a pattern of its own. */
  const fit = () => {
    if (!state.results) return;
    const [, width] = extent();
    const sharp = devicePixelRatio || 1;
    const times = Math.max(1, Math.floor((halves.firstElementChild.clientWidth * sharp) / width));
    for (const { canvas } of views) canvas.style.width = `${(width * times) / sharp}px`;
  };
  lab.whileShown((signal) => {
    const watch = new ResizeObserver(fit);
    watch.observe(halves);
    signal.addEventListener("abort", () => watch.disconnect());
  });

  const redraw = oncePerFrame(() => {
    if (!state.grey) return;
    const { kernel, stride, padding, weights, resize } = settings;
    const small = subsample(state.grey, stride);
    const taps = stampTaps(weights, kernel);
    if (Math.min(small.height, small.width) * stride - stride + kernel <= 2 * padding) {
      state.results = null;
      advice.textContent = "The picture is too small for this padding: nothing would be left of it.";
      return;
    }
    // One gain for all cells, so that the picture keeps its brightness on average.
    const scaled = (gain) => taps.map((axis) => axis.map((weight) => (weight * gain) / total(axis)));
    const stamped = transpose(small, scaled(stride), { stride, padding });
    const resized = resizeThenConvolve(small, scaled(1), stride, resize);
    state.results = [small, stamped, resized];
    const sums = scaled(stride).map((axis) => phaseSums(axis, stride));
    const [low, high] = [Math.min, Math.max].map((end) => 100 * end(...sums[0]) * end(...sums[1]));
    const flat = high - low < 1e-6;
    const size = ({ height, width }) => `${height} \u00d7 ${width}`;
    const every = stride === 1 ? "every pixel" : `every ${["", "", "2nd", "3rd"][stride] ?? `${stride}th`} pixel`;
    views[0].caption.textContent = `given: ${every}, ${size(small)}`;
    views[1].caption.textContent = `transposed convolution, ${size(stamped)}`;
    views[2].caption.textContent = `resized (${resize}), then convolved, ${size(resized)}`;
    views[1].note.textContent = flat ? "A flat grey of 100 stays 100." : `A flat grey of 100 becomes ${pretty(Math.round(low))} to ${pretty(Math.round(high))}.`;
    views[2].note.textContent = "A flat grey of 100 stays 100.";
    const { even } = verdict(kernel, stride);
    advice.textContent = flat
      ? even
        ? "Even counts, even weights: no checkerboard."
        : "The counts are uneven, but these weights make up for it: what falls on each cell sums to the same. A network can learn such weights; it does not start with them."
      : even
        ? "The counts are even; what is left of the pattern comes from the weights alone, which training can mend. Resized first, not even these weights print one."
        : "The pattern is in the layer, not in the photograph. Resized first, every cell sees all the weights, and there is none.";
    drawDetails();
  });

  const moveTo = (row, column) => {
    const [height, width] = extent();
    state.row = Math.min(state.grey.height - height, Math.max(0, row));
    state.column = Math.min(state.grey.width - width, Math.max(0, column));
    drawDetails();
  };
  const toPlace = (event) => {
    if (!state.grey) return;
    const box = whole.getBoundingClientRect();
    const [height, width] = extent();
    moveTo(
      Math.round(((event.clientY - box.top) / box.height) * whole.height - height / 2),
      Math.round(((event.clientX - box.left) / box.width) * whole.width - width / 2),
    );
  };
  const help = make("p", { class: "ct-note", id: freshId() }, "Click, or use the arrow keys, to move the frame.");
  const frame = make(
    "div",
    {
      class: "ct-photo", tabindex: "0", role: "application", "aria-label": "Photograph, choose the detail", "aria-describedby": help.id,
      on: {
        click: toPlace,
        pointermove: (event) => event.pointerType === "mouse" && event.buttons === 1 && toPlace(event),
        keydown: (event) => {
          const target = state.grey && arrowTarget(event, state.row, state.column, state.grey.height, state.grey.width, event.shiftKey ? 32 : 8);
          if (!target) return;
          event.preventDefault();
          moveTo(...target);
        },
      },
    },
    whole, mark,
  );
  const sides = choice("Detail", [["64", "64 pixels"], ["128", "128 pixels"], ["256", "the whole picture"]], (value) => {
    state.side = Number(value);
    if (state.grey) moveTo(state.row, state.column);
  });
  sides.select.value = String(state.side);
  const weights = choice("Weights", [["ones", "all ones"], ["bilinear", "bilinear"], ["random", "random"]], (value) => {
    settings.weights = value;
    redraw();
  });
  const enlarging = choice("Resize", [["nearest", "nearest"], ["bilinear", "bilinear"]], (value) => {
    settings.resize = value;
    redraw();
  });
  halves.append(captioned("photograph", frame, help), ...views.map(({ element }) => element));
  const element = make(
    "div",
    { class: "ct-photograph" },
    make("h4", { class: "ct-subtitle" }, "What it does to a photograph"),
    picturePicker(lab, (pixels) => show(pixels)),
    make("div", { class: "ct-tools" }, weights.element, enlarging.element, sides.element),
    advice,
    halves,
  );
  const show = (pixels) => {
    state.grey = greyPlane(pixels);
    paintGrey(whole, state.grey);
    const [height, width] = extent();
    Object.assign(state, { row: (state.grey.height - height) >> 1, column: (state.grey.width - width) >> 1 });
    redraw();
  };
  return {
    element,
    show,
    redraw() {
      weights.select.value = settings.weights;
      enlarging.select.value = settings.resize;
      redraw();
    },
  };
}

function mountCheckerboard({ root, config, still, ...lab }) {
  const settings = { ...config };
  const faults = faultBox();
  const finding = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const code = make("code");
  const counts = countsView();
  const photograph = photographView({ root, ...lab }, settings);

  const update = oncePerFrame(() => {
    const { kernel, stride, padding } = settings;
    const input = drawnInputs(config.input, kernel, stride);
    const room = stride * (input - 1) + kernel;
    const cut = room <= 2 * padding;
    faults.show(cut && `Padding ${padding} cuts ${2 * padding} cells from an output of ${room}: use at most ${Math.floor((room - 1) / 2)}.`);
    for (const [name, field] of Object.entries(fields)) markInvalid(field, faults.has(name) || (cut && name === "padding"));
    if (cut) return;
    const { even, text } = verdict(kernel, stride, padding);
    finding.textContent = text;
    finding.classList.toggle("ct-even", even);
    const ones = (size) => `torch.ones(1, 1, ${size}, ${size})`;
    code.textContent = "import torch\nfrom torch.nn import functional as F\n\n" +
      `F.conv_transpose2d(${ones(input)}, ${ones(kernel)}, stride=${stride}${padding ? `, padding=${padding}` : ""})`;
    counts.show(input, settings);
    photograph.redraw();
  });

  const fields = Object.fromEntries(Object.entries(FIELDS).map(([key, [name, least, most]]) => [key, wholeField({
    name, least, most, describedBy: faults.element.id,
    onValue(value) {
      settings[key] = value;
      update();
    },
    onFault(text) {
      faults.set(key, text && `${text}; ${settings[key]} stays in use.`);
      update();
    },
  })]));
  const start = () => {
    faults.clear();
    Object.assign(settings, config);
    for (const name of Object.keys(FIELDS)) fields[name].value = settings[name];
    update();
  };
  root.replaceChildren(
    ...opening({
      title: "Checkerboard",
      task: "A transposed convolution stamps its kernel once for each input cell, a stride apart. Change the numbers and count the stamps on each output cell; point at a cell, or walk there with the arrow keys, to see whose they are.",
      ask: "A kernel of 3 at stride 2 gives uneven counts. Which kernel sizes at stride 2 give even ones?",
      answer: "2, 4, 6 and every other multiple of the stride: then the same number of stamps falls on each cell. Even counts are not yet an even picture; that depends on the weights as well.",
    }),
    make("div", { class: "ct-tools" }, ...Object.entries(FIELDS).map(([key, [name]]) => labelled(name, fields[key])), button("Start again", start)),
    faults.element,
    finding,
    counts.element,
    codeBox("The same counts in PyTorch", code),
    photograph.element,
  );
  start();
  if (still) readStill(still).then(photograph.show);
}

mountAll("checkerboard", mountCheckerboard, STYLE);
