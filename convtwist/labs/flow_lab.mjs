// Flow lab: many small steps of a first-order operator, beside the exact motion, with the error and the growth.
// Book: chapter 8.
import { magnitude, plane } from "./core.mjs";
import { arrows, overlay, pathOf, RING_STYLE, ringPicker } from "./field.mjs";
import { PATTERNS, pattern } from "./patterns.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { playback } from "./playback.mjs";
import { slider } from "./slider.mjs";
import {
  exactWarp, GENERATORS, growth, longestStep, outOfRange, shareOfNothing, soften, steepest, stepper, trail, waveFactor, waveGrowth, whirl,
} from "./warp.mjs";
import { captioned, choice, faultBox, freshId, make, mountAll, oncePerFrame, opening, pretty, tick } from "./widgets.mjs";

const PIXELS = { label: "Distance", unit: "pixels", least: -60, most: 60, step: 1, usual: 20, time: (amount) => amount };
const SLANT = { label: "Slant", unit: "pixels for each pixel", least: -1, most: 1, step: 0.05, usual: 0.3, time: (amount) => amount };
const radians = (amount) => (amount * Math.PI) / 180;
const MOTIONS = {
  dx: { text: "translate left: dx", ...PIXELS, usual: 10 },
  right: { text: "translate to the right", ...PIXELS },
  down: { text: "translate downward", ...PIXELS },
  rotate: { text: "rotate", label: "Angle", unit: "degrees, clockwise", least: -180, most: 180, step: 1, usual: 30, time: radians },
  zoom: { text: "zoom", label: "Factor", unit: "above 1 enlarges", least: 0.5, most: 2, step: 0.05, usual: 1.5, time: Math.log },
  shear_x: { text: "shear, rows slide", ...SLANT },
  shear_y: { text: "shear, columns slide", ...SLANT },
  whirl: { text: "whirl, not linear", label: "Angle in the middle", unit: "degrees, clockwise", least: -360, most: 360, step: 5, usual: 90, time: radians },
  mix: { text: "a mix of your own", label: "Amount t", unit: "", least: -1, most: 1, step: 0.05, usual: 1, time: (amount) => amount },
};
const METHODS = [["euler", "Euler"], ["rk4", "Runge\u2013Kutta 4"]];
const SIX = ["P: x", "P: y", "P: constant", "Q: x", "Q: y", "Q: constant"];
const MOST_STEPS = 3000;
const range = (from, to, by) => Array.from({ length: Math.round((to - from) / by) }, (_, i) => from + by * i);
const STEP_COUNTS = [
  ...range(1, 20, 1), ...range(20, 50, 5), ...range(50, 100, 10), ...range(100, 200, 20), ...range(200, 500, 50),
  ...range(500, 1000, 100), ...range(1000, MOST_STEPS + 1, 500),
];
const REACH = 64; // grey levels at the ends of the difference's colours

const STYLE = `
.ct-lead, .ct-predict { max-width: none; }
.ct-tools select { max-width: 12rem; }
.ct-tools .ct-slider { flex-basis: 12rem; }
.ct-flows { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 0.9rem; margin: 0.75rem 0; align-items: start; }
.ct-half { max-width: none; }
.ct-over { max-width: var(--ct-widest); }
.ct-found { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; align-items: center; margin: 0.5rem 0; }
.ct-facts { display: grid; flex: 1 1 16rem; gap: 0.2rem; }
.ct-facts strong { font-size: 1.1rem; }
.ct-curve { flex: 0 1 18rem; }
.ct-curve svg { display: block; width: 100%; height: auto; font-size: 11px; }
progress { width: 100%; height: 0.5rem; accent-color: var(--ct-accent); }
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
      const plain = Math.abs(value) === 1 && (name || terms.length === 1);
      const size = plain ? name : `${pretty(Math.abs(value))}${name && "\u00a0"}${name}`;
      return i ? `${value < 0 ? " \u2212 " : " + "}${size}` : `${value < 0 ? "\u2212" : ""}${size}`;
    });
    const all = terms.length > 1 ? `(${written.join("")})` : written[0];
    return `${all}${/^\u2212?$/.test(all) ? "" : "\u00a0"}${axis ? "dy" : "dx"}`;
  });
  return `L = ${rows.filter(Boolean).join(" + ").replace(/\+ \u2212/g, "\u2212 ") || "0"}`;
}

/** How the field in use is written: its operator, and the whirl's factor. */
const asFormula = (motion, { height, width }) =>
  Array.isArray(motion) ? asOperator(motion)
    : `L = f (y\u00a0dx \u2212 x\u00a0dy), f = (1 \u2212 r\u00b2/R\u00b2)\u00b2 for r < R = ${pretty(Math.min(height, width) / 2)} pixels, else 0`;

const disc = (picture, colour) =>
  `<circle r="${0.35 * Math.min(picture.height, picture.width)}" fill="none" stroke="${colour}" stroke-width="1" stroke-dasharray="4 3"/>`;

/** A picture with room for a drawing above it: {element, canvas, above}. */
function shown(caption, label) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  const above = make("div");
  return { canvas, above, element: captioned(caption, make("div", { class: "ct-over" }, canvas, above)) };
}

const share = (part) => `${sized(100 * part, 2)}\u00a0%`;

/** How the numbers fare after a run: {lost, text}. */
function judge({ u, done, halted, method, steps, sigma, longest, most }, { error, out }) {
  const largest = magnitude(u);
  const lost = largest > 4 * 255 || halted;
  const rate = `growth per step up to ${sized(most, 4)}, because the fastest pixel jumps ${sized(longest)} pixels`;
  const cures = [steps < MOST_STEPS ? "take more steps" : "move less far", method === "euler" ? "choose Runge\u2013Kutta" : null, sigma < 3 ? "soften the picture first" : null].filter(Boolean);
  const advice = `To cure it, ${cures.join(", ").replace(/, ([^,]*)$/, " or $1")}.`;
  const say = (text) => ({ lost, text });
  const plural = done === 1 ? "" : "s";
  if (done === 0) return say("Nothing has moved yet.");
  if (lost) {
    return say(`The numbers blow up${error > 1 || halted ? "" : " far from the middle"}: ${rate}. White is 255, and the largest number is now ${sized(largest)}. ` +
      (halted ? `Stopped at step ${done}. ` : "") + advice);
  }
  const grows = most > 1 + 1e-9;
  if (out > 0) {
    return say(`${share(out)} of the values are out of range. ` + (grows ? `Fine stripes grow: ${rate}. ${advice}`
      : "No wave grows, but the finest ones move at a wrong speed and are seen as ripples. Soften the picture first to be without them."));
  }
  if (grows) return say(`The numbers hold: growth per step is at most ${sized(most, 4)}, too little to do harm in ${done} step${plural}.`);
  return say(`The numbers hold: no wave grows, since the fastest pixel moves ${sized(longest)} pixels in a step and the limit is 2.83.`);
}

/** The four pictures: {element, field, showStart(start), show(run)}; `show` returns what was measured. */
function pictures(stepsText, ring) {
  const steps = shown(stepsText, "The picture after the steps so far");
  const exact = shown("the exact warp (black: beyond the border)", "The picture, moved exactly");
  const wrong = shown("difference: steps minus exact", "The difference: blue too dark, red too bright, white equal");
  const element = make("div", { class: "ct-flows" }, captioned("the field, and the path of the point in the ring", ring.photo),
    ...[steps, exact, wrong].map((one) => one.element));
  return {
    element,
    showStart(start) {
      element.style.setProperty("--ct-widest", `${((18 * start.width) / start.height).toFixed(1)}rem`); // all four on one screen
      paintGrey(ring.canvas, start);
      wrong.above.innerHTML = overlay(start, disc(start, "#000"));
    },
    show({ u, start, look, motion, t, done, steps: all, point }) {
      const known = new Uint8Array(start.data.length);
      const so = (t * done) / all;
      const target = exactWarp(start, motion, so, known, look);
      paintGrey(steps.canvas, u);
      paintGrey(exact.canvas, target);
      steps.above.innerHTML = exact.above.innerHTML = overlay(start, disc(start, "#ffd24a") + pathOf(trail(motion, so, point()), start.width / 130));
      const difference = plane(u.height, u.width);
      for (let i = 0; i < known.length; i++) if (known[i]) difference.data[i] = u.data[i] - target.data[i];
      paintSigned(wrong.canvas, difference, REACH);
      return { error: shareOfNothing(u, start, target), out: outOfRange(u) };
    },
  };
}

/** The growth of each frequency in one step at the fastest place: {element, show(place, h, method)}. */
function growthCurve() {
  const [wide, high, left, foot] = [280, 110, 46, 16];
  const drawing = make("div", { role: "img" });
  return {
    element: make("div", { class: "ct-curve" }, make("div", { class: "ct-caption" }, "growth per step against frequency, at the fastest place"), drawing),
    show({ P, Q }, h, method) {
      const values = range(0, 65, 1).map((i) => waveGrowth(Math.abs(h) * waveFactor(P, Q, (Math.PI * i) / 64), method));
      const [least, most] = [Math.min(1, ...values), Math.max(1.0001, ...values)];
      const x = (i) => left + ((wide - left - 8) * i) / 64;
      const y = (value) => 8 + ((high - foot - 16) * (most - value)) / (most - least);
      const text = (px, py, words, anchor) => `<text x="${px}" y="${py}" text-anchor="${anchor}" fill="currentColor">${words}</text>`;
      const levels = [1, most, least].filter((value, i) => i === 0 || Math.abs(y(value) - y(1)) > 12);
      drawing.innerHTML = `<svg viewBox="0 0 ${wide} ${high}" aria-hidden="true">` +
        `<path d="M${x(0)} ${y(1).toFixed(1)}H${x(64)}" stroke="currentColor" stroke-dasharray="3 3" opacity="0.7"/>` +
        `<path class="ct-line-of-growth" d="${values.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("")}" fill="none" stroke="var(--ct-accent)" stroke-width="2"/>` +
        levels.map((value) => text(left - 5, y(value) + 4, sized(value, 4), "end")).join("") +
        [["0", 0, "start"], ["\u03c0/2", 32, "middle"], ["\u03c0", 64, "end"]].map(([words, i, anchor]) => text(x(i), high - 3, words, anchor)).join("") + "</svg>";
      const at = (i) => sized(values[i], 4);
      drawing.setAttribute("aria-label", `Growth per step: ${at(0)} for flat areas, ${at(16)} at frequency \u03c0/4, ${at(32)} at \u03c0/2, ${at(48)} at 3\u03c0/4, ${at(64)} at \u03c0.`);
    },
  };
}

/** Everything a reader can set: {element..., settle()}; `onMove` after a change of the motion, `onSoften` of the blur. */
function flowControls(state, generator, time, { onMove, onSoften, onPicture }) {
  const faults = faultBox();
  const control = (key, set, after, options = {}) => {
    const one = slider({
      onChange(value) {
        set(value);
        after();
      },
      onFault: (text) => faults.set(key, text),
    });
    one.configure(options);
    return one;
  };
  const amount = control("amount", (value) => (state.amount = value), onMove);
  const count = control("steps", (value) => (state.steps = value), onMove, { label: "Steps n", least: 1, most: MOST_STEPS, step: 1, stops: STEP_COUNTS });
  const softness = control("soften", (value) => (state.sigma = value), onSoften, { label: "Soften first, \u03c3", unit: "pixels", least: 0, most: 6, step: 0.5 });
  const six = SIX.map((label, i) => {
    const constant = i % 3 === 2;
    const set = (value) => (state.mix = state.mix.map((row, axis) => row.map((old, k) => (axis * 3 + k === i ? value : old))));
    return control(label, set, onMove, { label, least: constant ? -60 : -2, most: constant ? 60 : 2, step: constant ? 1 : 0.05 });
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
    if (key === "mix" && Array.isArray(generator())) state.mix = generator().map((row) => row.map((value) => Number((value * time()).toFixed(3))));
    state.motion = key;
    state.amount = MOTIONS[key].usual;
    arrange();
    onMove();
  });
  const looks = choice("Picture", [["photograph", "the photograph"], ...Object.entries(PATTERNS).map(([key, { text }]) => [key, text])], onPicture);
  const group = freshId();
  const radios = METHODS.map(([key, text]) => ({ key, ...tick("radio", text, () => ((state.method = key), onMove()), { name: group }) }));
  return {
    elements: [
      make("div", { class: "ct-tools" }, looks.element, motions.element, amount.element),
      mixBox,
      make("div", { class: "ct-tools" }, count.element, softness.element,
        make("fieldset", { class: "ct-set" }, make("legend", {}, "Method"), ...radios.map(({ element }) => element))),
      faults.element,
    ],
    settle() {
      looks.select.value = state.picture;
      motions.select.value = state.motion;
      radios.forEach(({ key, input }) => (input.checked = key === state.method));
      count.set(state.steps);
      softness.set(state.sigma);
      arrange();
    },
  };
}

function mountFlow({ root, config, still, ...lab }) {
  const state = {
    motion: config.motion, amount: config.amount ?? MOTIONS[config.motion].usual, mix: config.field, steps: config.steps, method: config.method,
    sigma: config.soften, photo: null, picture: "photograph", grey: null, start: null, point: [0.375, 0], // in halves of the longer side
  };
  const generator = () => ({ mix: state.mix, whirl: state.start && whirl(state.start) })[state.motion] ?? GENERATORS[state.motion];
  const time = () => MOTIONS[state.motion].time(state.amount);

  const size = () => state.start ?? { height: 1, width: 1 };
  const half = () => Math.max(size().height, size().width) / 2;
  const point = () => state.point.map((part) => part * half());
  const ring = ringPicker({
    picture: "The picture with arrows that show where each point moves", label: "Picture, move the point", purpose: "the point", size,
    place: () => [point()[0] + size().width / 2, point()[1] + size().height / 2],
    moveTo(x, y) {
      state.point = [(x - size().width / 2) / half(), (y - size().height / 2) / half()];
      describe();
      if (flow.run.u) views.show(/** @type {any} */ (flow.run));
    },
  });
  const stepsText = make("span");
  const views = pictures(stepsText, ring);
  const curve = growthCurve();
  const formula = make("p", { class: "ct-formula" });
  const [errorText, outText, stepText, growthText] = Array.from({ length: 4 }, () => make("strong"));
  const allText = make("span");
  const verdict = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const progress = make("progress", { "aria-label": "Steps done", max: 1 });

  const flow = playback({
    root, what: "Unroll the flow", once: "One step", said: verdict,
    ready: () => state.start !== null,
    begin() {
      const [{ start, steps, method, sigma, picture }, motion, t] = [state, generator(), time()];
      const look = sigma === 0 ? PATTERNS[picture]?.look : null;
      const h = t / steps;
      const longest = longestStep(start, motion, h);
      const most = growth(Math.abs(h) * steepest(start, motion).factor, method);
      return { start, steps, method, sigma, motion, t, look, point, longest, most, step: stepper(start, motion, h, method) };
    },
    draw(run) {
      const { error, out } = views.show(run);
      const { longest, most, steps } = run;
      stepsText.textContent = `after ${run.done} of ${run.steps} step${run.steps === 1 ? "" : "s"}`;
      progress.value = run.done / run.steps;
      errorText.textContent = error === null ? "nothing to compare with" : `${sized(100 * error)}\u00a0%`;
      outText.textContent = out > 0 && out < 0.0005 ? "under 0.05\u00a0%" : share(out);
      stepText.textContent = `${sized(longest)} pixels`;
      growthText.textContent = sized(most, 4);
      allText.textContent = steps === 1 ? "" : `, which is ${sized(most ** steps)} in ${steps} steps`;
      const { lost, text } = judge(run, { error, out });
      verdict.classList.toggle("ct-fault", lost);
      verdict.textContent = text;
    },
    working(run) {
      progress.value = run.done / run.steps;
      stepsText.textContent = `step ${run.done} of ${run.steps} \u2026`;
    },
  });

  /** What follows from the settings alone: formula, arrows, path, growth. */
  const describe = () => {
    formula.textContent = asFormula(generator() ?? whirl(size()), size());
    if (!state.start) return;
    ring.show();
    const path = pathOf(trail(generator(), time(), point()), size().width / 130);
    ring.over.innerHTML = arrows(size(), generator(), Math.sign(time())) + overlay(size(), path);
    curve.show(steepest(size(), generator()), time() / state.steps, state.method);
  };
  const recompute = oncePerFrame(() => {
    describe();
    if (state.start) stepsText.textContent = `step 0 of ${state.steps} \u2026`;
    flow.changed();
  });
  /** A picture to begin with, or one softened otherwise; what has been played once goes to its end again. */
  const begin = oncePerFrame(() => {
    if (!state.grey) return;
    state.start = soften(state.grey, state.sigma);
    views.showStart(state.start);
    if (flow.run.done > 0) return recompute();
    describe();
    flow.toStart();
  });
  const choose = (picture) => {
    const plain = picture === "photograph";
    state.grey = plain ? state.photo : pattern(picture);
    if (!plain) state.sigma = 0; // stripes would be gone
    state.picture = picture;
    controls.settle();
    begin();
  };
  const controls = flowControls(state, generator, time, { onMove: recompute, onSoften: begin, onPicture: choose });
  const load = (pixels) => {
    state.photo = greyPlane(pixels);
    choose("photograph");
  };
  const fact = (text, value, ...more) => make("span", {}, `${text}: `, value, ...more);
  root.replaceChildren(
    ...opening({
      title: "Flow lab",
      task: "Play the steps, and compare them with the exact motion. Then choose another picture, another motion or another number of steps.",
      ask: "Each of 100 steps adds a tenth of the slope dx to the picture. Where is the picture after them, and what has become of its finest detail?",
      answer: "It is 10 pixels to the left. The finest detail stays behind or has moved to the right, and is seen as ripples. A patch of stripes shows this alone. Euler\u2019s steps also make it stronger.",
    }),
    picturePicker({ root, ...lab }, load),
    ...controls.elements,
    formula,
    flow.element(),
    progress,
    views.element,
    ring.help,
    verdict,
    make("div", { class: "ct-found" },
      make("div", { class: "ct-facts" }, fact("Error inside the circle, as a share of doing nothing", errorText), fact("Values out of range", outText),
        fact("Longest step", stepText), fact("Growth per step, at most", growthText, allText)),
      curve.element),
    make("p", { class: "ct-note" }, "The arrows point against (P, Q): P dx + Q dy fetches each value from where (P, Q) points. The error is the root mean square inside 0.7 of the radius; 100\u00a0% is no better than leaving the picture as it is. Differences, where the exact warp knows the picture, are drawn from \u221264, blue, to 64, red. A step of Runge\u2013Kutta 4 costs as much work as four steps of Euler."),
  );
  controls.settle();
  describe();
  if (still) readStill(still).then(load);
}

mountAll("flow-lab", mountFlow, RING_STYLE + STYLE);
