// Flow lab: many small steps of a first-order operator, beside the exact motion, with the error and the growth.
// Book: chapter 8.
import { magnitude, plane } from "./core.mjs";
import { greyPlane, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { slider } from "./slider.mjs";
import { exactWarp, GENERATORS, growth, longestStep, relativeError, soften, stepper } from "./warp.mjs";
import { choice, freshId, make, mountAll, oncePerFrame, pretty } from "./widgets.mjs";

const PIXELS = { label: "Distance", unit: "pixels", least: -60, most: 60, step: 1, usual: 20, time: (amount) => amount };
const SLANT = { label: "Slant", unit: "pixels for each pixel", least: -1, most: 1, step: 0.05, usual: 0.3, time: (amount) => amount };
const MOTIONS = {
  rotate: { text: "rotate", label: "Angle", unit: "degrees, clockwise", least: -180, most: 180, step: 1, usual: 30, time: (amount) => (amount * Math.PI) / 180 },
  zoom: { text: "zoom", label: "Factor", unit: "above 1 enlarges", least: 0.5, most: 2, step: 0.05, usual: 1.5, time: Math.log },
  right: { text: "translate to the right", ...PIXELS },
  down: { text: "translate downward", ...PIXELS },
  shear_x: { text: "shear, rows slide", ...SLANT },
  shear_y: { text: "shear, columns slide", ...SLANT },
  mix: { text: "a mix of your own", label: "Amount t", unit: "", least: -1, most: 1, step: 0.05, usual: 1, time: (amount) => amount },
};
const METHODS = [["euler", "Euler"], ["rk4", "Runge\u2013Kutta 4"]];
const SIX = ["P: x", "P: y", "P: constant", "Q: x", "Q: y", "Q: constant"];
const MOST_STEPS = 300;
const HOPELESS = 1e30; // beyond this the picture is lost, and soon after the numbers overflow
const REACH = 64; // grey levels at the ends of the difference's colours
const SLICE = 12; // milliseconds of work at a time, so that the page stays alive

const STYLE = `
.convtwist-lab .ct-slider { flex: 1 1 15rem; max-width: 24rem; }
.convtwist-lab .ct-slider .ct-line { flex-wrap: nowrap; }
.convtwist-lab input[type="range"] { flex: 1; min-width: 5rem; height: 2.75rem; margin: 0; padding: 0; accent-color: var(--ct-accent); }
.convtwist-lab .ct-slider input[type="text"] { width: 4.6rem; height: 2.75rem; padding: 0 0.5rem; border: 1px solid var(--ct-edge); border-radius: 0.4rem; background: var(--ct-field); text-align: end; }
.convtwist-lab .ct-flows { display: grid; grid-template-columns: 1fr 1fr; gap: 0.9rem; margin: 0.75rem 0; align-items: end; }
.convtwist-lab .ct-picker { margin-bottom: 0.75rem; }
.convtwist-lab .ct-shown { position: relative; line-height: 0; overflow: hidden; }
.convtwist-lab .ct-shown svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.convtwist-lab .ct-verdict { padding: 0.5rem 0.75rem; border-inline-start: 4px solid var(--ct-accent); background: var(--ct-field); }
.convtwist-lab .ct-verdict.ct-fault { border-color: var(--ct-fault); }
.convtwist-lab .ct-facts { display: flex; flex-wrap: wrap; gap: 0.2rem 1.5rem; margin: 0.5rem 0; }
.convtwist-lab .ct-facts strong { font-size: 1.1rem; }
.convtwist-lab [aria-disabled="true"] { opacity: 0.55; cursor: default; }
.convtwist-lab progress { width: 100%; height: 0.5rem; accent-color: var(--ct-accent); }
`;

const RAISED = ["\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074", "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"];

/** A size as people write it, at any size: 8.07, 123, 4.7 x 10^23. */
function sized(value, digits = 3) {
  if (Math.abs(value) < 1e5) return pretty(Number(value.toPrecision(digits)));
  const [mantissa, power] = value.toExponential(1).split("e+");
  return `${mantissa}\u00a0\u00d7\u00a010${[...power].map((digit) => RAISED[digit]).join("")}`;
}

const tidy = (value) => (Math.abs(value) < 1e-12 ? 0 : value);

/** 0.52 y dx - 0.52 x dy, as the text writes operators. */
function asOperator(generator) {
  const rows = generator.map((row, axis) => {
    const terms = row.map((value, k) => [tidy(value), ["x", "y", ""][k]]).filter(([value]) => value !== 0);
    if (!terms.length) return null;
    const written = terms.map(([value, name], i) => {
      const size = Math.abs(value) === 1 && name ? name : `${pretty(Math.abs(value))}${name && "\u00a0"}${name}`;
      return i ? `${value < 0 ? " \u2212 " : " + "}${size}` : `${value < 0 ? "\u2212" : ""}${size}`;
    });
    return `${terms.length > 1 ? `(${written.join("")})` : written.join("")}\u00a0${axis ? "dy" : "dx"}`;
  });
  return `L = ${rows.filter(Boolean).join(" + ").replace(/\+ \u2212/g, "\u2212 ") || "0"}`;
}

/** Paint brightness from 0 to 255 as grey, in one word for each pixel: it is done at every step. */
function paintLevels(canvas, { height, width, data }) {
  Object.assign(canvas, { height, width });
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i++) {
    words[i] = 0xff000000 | (0x010101 * Math.max(0, Math.min(255, Math.round(data[i]))));
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Arrows of the motion that the eye sees, against (P, Q), as an SVG drawing. */
function arrows({ height, width }, generator, time) {
  const [[px, py, p1], [qx, qy, q1]] = generator;
  const spacing = Math.max(height, width) / 9;
  const places = [];
  for (let y = -Math.floor(height / 2 / spacing) * spacing; y <= height / 2; y += spacing) {
    for (let x = -Math.floor(width / 2 / spacing) * spacing; x <= width / 2; x += spacing) {
      places.push([x, y, -(px * x + py * y + p1) * Math.sign(time), -(qx * x + qy * y + q1) * Math.sign(time)]);
    }
  }
  const fastest = Math.max(...places.map(([, , u, v]) => Math.hypot(u, v)), 1e-12);
  const head = spacing * 0.2;
  const path = places.map(([x, y, u, v]) => {
    const [ex, ey] = [(u / fastest) * spacing * 0.85, (v / fastest) * spacing * 0.85];
    const length = Math.hypot(ex, ey);
    if (length < spacing * 0.06) return `M${x - 0.5} ${y}h1`;
    const [cx, cy] = [(ex / length) * Math.min(head, length / 2), (ey / length) * Math.min(head, length / 2)];
    const [tx, ty] = [x + ex / 2, y + ey / 2];
    return `M${x - ex / 2} ${y - ey / 2}L${tx} ${ty}M${tx - cx - cy} ${ty - cy + cx}L${tx} ${ty}L${tx - cx + cy} ${ty - cy - cx}`
      .replace(/\d+\.\d+/g, (number) => Number(number).toFixed(1));
  }).join("");
  const stroke = (colour, thick) => `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${spacing * thick}" stroke-linecap="round"/>`;
  return overlay(height, width, stroke("#000", 0.13) + stroke("#ffd24a", 0.06));
}

const overlay = (height, width, content) =>
  `<svg viewBox="${-width / 2} ${-height / 2} ${width} ${height}" aria-hidden="true">${content}</svg>`;

const disc = ({ height, width }, colour) =>
  overlay(height, width, `<circle r="${0.35 * Math.min(height, width)}" fill="none" stroke="${colour}" stroke-width="1" stroke-dasharray="4 3"/>`);

function mountFlow(root, config, still) {
  const state = {
    motion: config.motion, amount: config.amount ?? MOTIONS[config.motion].usual, mix: config.field,
    steps: config.steps, method: config.method, sigma: config.soften,
    grey: null, start: null, u: null, step: null, done: 0, halted: false, playing: false, job: 0,
  };
  const generator = () => (state.motion === "mix" ? state.mix : GENERATORS[state.motion]);
  const time = () => MOTIONS[state.motion].time(state.amount);

  // What is shown
  const shown = (caption, label) => {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    const above = make("div");
    const text = make("div", { class: "ct-caption" }, caption);
    return { canvas, above, text, element: make("div", { class: "ct-half" }, text, make("div", { class: "ct-shown" }, canvas, above)) };
  };
  const field = shown("the field: where the picture moves", "The photograph with arrows that show where each point moves");
  const steps = shown("", "The photograph after the steps so far");
  const exact = shown("the exact warp (black: beyond the border)", "The photograph, moved exactly");
  const wrong = shown("difference: steps minus exact", "The difference: blue too dark, red too bright, white equal");
  const formula = make("p", { class: "ct-formula" });
  const [errorText, stepText, growthText] = [0, 1, 2].map(() => make("strong"));
  const verdict = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const progress = make("progress", { "aria-label": "Steps done", max: 1 });

  const draw = () => {
    const { start, u, done } = state;
    const t = (time() * done) / state.steps;
    const known = new Uint8Array(start.data.length);
    const target = exactWarp(start, generator(), t, known);
    const h = time() / state.steps;
    const longest = longestStep(start, generator(), h);
    const most = growth(longest, state.method);
    const error = relativeError(u, target);
    const largest = magnitude(u);
    paintLevels(steps.canvas, u);
    paintLevels(exact.canvas, target);
    const difference = plane(u.height, u.width);
    for (let i = 0; i < known.length; i++) {
      if (known[i]) difference.data[i] = Math.max(-REACH, Math.min(REACH, u.data[i] - target.data[i]));
    }
    paintSigned(wrong.canvas, difference, REACH);
    steps.text.textContent = `after ${done} of ${state.steps} step${state.steps === 1 ? "" : "s"}`;
    progress.value = done / state.steps;
    errorText.textContent = error === Infinity ? "without measure, since all is black there" : `${sized(100 * error)}\u00a0%`;
    stepText.textContent = `${sized(longest)} pixels`;
    growthText.textContent = sized(most, 4);
    judge({ error, largest, most, longest, usual: magnitude(start) });
    for (const one of [stepButton, endButton]) one.setAttribute("aria-disabled", finished());
  };

  const judge = ({ error, largest, most, longest, usual }) => {
    const lost = largest > 1.5 * 255 || state.halted;
    const inside = error > 0.5 || state.halted;
    verdict.classList.toggle("ct-fault", lost);
    const rate = `growth per step up to ${sized(most)}, because the fastest pixel jumps ${sized(longest)} pixels`;
    const cures = [state.steps < MOST_STEPS ? "take more steps" : "move less far", state.method === "euler" ? "choose Runge\u2013Kutta" : null];
    const advice = `To cure it, ${cures.filter(Boolean).join(" or ")}.`;
    if (state.done === 0) verdict.textContent = "Nothing has moved yet.";
    else if (lost) {
      verdict.textContent =
        `The numbers blow up${inside ? "" : " far from the middle"}: ${rate}. White is 255, and the largest number is now ${sized(largest)}. ` +
        (state.halted ? `Stopped at step ${state.done}. ` : "") + advice;
    } else if (largest > 1.1 * usual) {
      verdict.textContent = `Stripes begin to grow far from the middle: ${rate}. ${advice}`;
    } else if (most > 1 + 1e-9) {
      verdict.textContent = `The numbers hold: growth per step is at most ${sized(most, 4)}, too little to do harm in ${state.done} step${state.done === 1 ? "" : "s"}.`;
    } else verdict.textContent = `The numbers hold: no pattern grows, since the fastest pixel moves ${sized(longest)} pixels in a step and the limit is 2.83.`;
  };

  const advance = () => {
    state.step(state.u);
    state.done++;
    if (!(magnitude(state.u) < HOPELESS)) state.halted = true;
  };
  const finished = () => state.halted || state.done >= state.steps;

  /** Back to the first picture, with the settings as they are now. */
  const rewind = () => {
    stop();
    const { start } = state;
    if (!start) return;
    Object.assign(state, { u: plane(start.height, start.width, start.data.slice()), done: 0, halted: false });
    state.step = stepper(start, generator(), time() / state.steps, state.method);
  };
  const describe = () => {
    formula.textContent = asOperator(generator());
    if (state.start) field.above.innerHTML = arrows(state.start, generator(), time());
  };
  const stop = () => {
    state.job++;
    state.playing = false;
    play.textContent = "Play";
    verdict.setAttribute("aria-live", "polite");
  };

  /** Run to the last step, a slice at a time; `perFrame` limits the pace so that the eye can follow. */
  const run = (perFrame = Infinity) => {
    const job = ++state.job;
    const frame = () => {
      if (job !== state.job || !root.isConnected) return;
      const until = performance.now() + SLICE;
      for (let count = 0; count < perFrame && !finished(); count++) {
        advance();
        if (performance.now() > until) break;
      }
      progress.value = state.done / state.steps;
      steps.text.textContent = `step ${state.done} of ${state.steps} \u2026`;
      if (!finished()) requestAnimationFrame(frame);
      else stop();
      if (state.playing || finished()) draw();
    };
    requestAnimationFrame(frame);
  };

  const recompute = oncePerFrame(() => {
    if (!state.start) return;
    rewind();
    describe();
    steps.text.textContent = `step 0 of ${state.steps} \u2026`;
    run();
  });
  const resoften = oncePerFrame(() => {
    if (!state.grey) return;
    state.start = soften(state.grey, state.sigma);
    paintLevels(field.canvas, state.start);
    steps.above.innerHTML = exact.above.innerHTML = disc(state.start, "#ffd24a");
    wrong.above.innerHTML = disc(state.start, "#000");
    recompute();
  });

  // Controls
  const faults = new Map();
  const messages = make("p", { class: "ct-note ct-fault", role: "status" });
  const control = (key, onChange) =>
    slider({
      onChange,
      onFault(text) {
        if (text) faults.set(key, text);
        else faults.delete(key);
        messages.textContent = [...faults.values()].join(" ");
      },
    });
  const amount = control("amount", (value) => {
    state.amount = value;
    recompute();
  });
  const count = control("steps", (value) => {
    state.steps = value;
    recompute();
  });
  count.configure({ label: "Steps n", least: 1, most: MOST_STEPS, step: 1 });
  const softness = control("soften", (value) => {
    state.sigma = value;
    resoften();
  });
  softness.configure({ label: "Soften first, \u03c3", unit: "pixels", least: 0, most: 6, step: 0.5 });
  const six = SIX.map((label, i) => {
    const constant = i % 3 === 2;
    const one = control(label, (value) => {
      state.mix = state.mix.map((row, axis) => row.map((old, k) => (axis * 3 + k === i ? value : old)));
      recompute();
    });
    one.configure({ label, least: constant ? -60 : -2, most: constant ? 60 : 2, step: constant ? 1 : 0.05 });
    return one;
  });
  const mixBox = make(
    "fieldset", { class: "ct-set ct-tools" },
    make("legend", {}, "The field (P, Q): P dx + Q dy, x and y in pixels from the middle"),
    ...six.map(({ element }) => element),
  );
  const arrange = () => {
    amount.configure(MOTIONS[state.motion]);
    amount.set(state.amount);
    mixBox.hidden = state.motion !== "mix";
    six.forEach((one, i) => one.set(state.mix[Math.floor(i / 3)][i % 3]));
  };
  const motions = choice("Motion", Object.entries(MOTIONS).map(([key, { text }]) => [key, text]), (key) => {
    // A mix starts from the motion that was on view, so that something familiar can be bent.
    if (key === "mix") state.mix = generator().map((row) => row.map((value) => Number((value * time()).toFixed(3))));
    state.motion = key;
    state.amount = MOTIONS[key].usual;
    arrange();
    recompute();
  });
  const group = freshId();
  const radios = METHODS.map(([key, text]) => {
    const input = make("input", { type: "radio", name: group, on: { change: () => ((state.method = key), recompute()) } });
    return { key, input, element: make("label", { class: "ct-radio" }, input, text) };
  });
  const button = (text, click) => make("button", { type: "button", class: "ct-button", on: { click } }, text);
  const play = button("Play", () => {
    if (state.playing) return void (stop(), draw());
    if (!state.start) return;
    if (finished()) rewind();
    state.playing = true;
    play.textContent = "Pause";
    verdict.setAttribute("aria-live", "off");
    run(Math.max(1, Math.round(state.steps / 200)));
  });
  play.classList.add("ct-play");
  const stepButton = button("One step", () => {
    if (!state.start) return;
    stop();
    if (!finished()) advance();
    draw();
  });
  const endButton = button("To the end", () => {
    if (!state.start) return;
    stop();
    run();
  });
  const again = button("Back to the start", () => {
    if (!state.start) return;
    rewind();
    draw();
  });

  const settle = () => {
    motions.select.value = state.motion;
    radios.forEach(({ key, input }) => (input.checked = key === state.method));
    count.set(state.steps);
    softness.set(state.sigma);
    arrange();
  };
  const fact = (text, value) => make("span", {}, `${text}: `, value);
  root.replaceChildren(
    make("style", {}, STYLE),
    make("p", { class: "ct-title" }, "Flow lab"),
    make(
      "p", { class: "ct-lead" },
      "Every pixel looks at its neighbours only, yet the picture moves. Choose a motion, and watch how closely many small steps follow it, and what happens when they are too large.",
    ),
    picturePicker(root, (pixels) => load(pixels)),
    make("div", { class: "ct-tools" }, motions.element, amount.element),
    mixBox,
    make("div", { class: "ct-tools" }, count.element, softness.element,
      make("fieldset", { class: "ct-set" }, make("legend", {}, "Method"), ...radios.map(({ element }) => element))),
    messages,
    formula,
    make("div", { class: "ct-line", role: "group", "aria-label": "Unroll the flow" }, play, stepButton, endButton, again),
    make("div", { class: "ct-facts" }, fact("Error inside the circle", errorText), fact("Longest step", stepText), fact("Growth per step, at most", growthText)),
    progress,
    verdict,
    make("div", { class: "ct-flows" }, ...[field, steps, exact, wrong].map(({ element }) => element)),
    make("p", { class: "ct-note" }, "The arrows point against (P, Q): P dx + Q dy fetches each value from where (P, Q) points. The error is the relative root mean square inside 0.7 of the radius. Differences, where the exact warp knows the picture, are drawn from \u221264, blue, to 64, red."),
  );
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    resoften();
  };
  settle();
  describe();
  if (still) readStill(still).then(load);
}

mountAll("flow-lab", mountFlow);
