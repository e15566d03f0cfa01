// Flow lab: many small steps of a first-order operator, beside the exact motion, with the error and the growth.
// Book: chapter 8.
import { magnitude, plane } from "./core.mjs";
import { arrows, overlay } from "./field.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { playback } from "./playback.mjs";
import { slider } from "./slider.mjs";
import { exactWarp, GENERATORS, growth, longestStep, relativeError, soften, stepper } from "./warp.mjs";
import { captioned, choice, faultBox, freshId, make, mountAll, oncePerFrame, opening, pretty, tick } from "./widgets.mjs";

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
const REACH = 64; // grey levels at the ends of the difference's colours

const STYLE = `
.ct-flows { display: grid; grid-template-columns: 1fr 1fr; gap: 0.9rem; margin: 0.75rem 0; align-items: end; }
.ct-facts { display: flex; flex-wrap: wrap; gap: 0.2rem 1.5rem; margin: 0.5rem 0; }
.ct-facts strong { font-size: 1.1rem; }
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
      const size = Math.abs(value) === 1 && name ? name : `${pretty(Math.abs(value))}${name && "\u00a0"}${name}`;
      return i ? `${value < 0 ? " \u2212 " : " + "}${size}` : `${value < 0 ? "\u2212" : ""}${size}`;
    });
    return `${terms.length > 1 ? `(${written.join("")})` : written.join("")}\u00a0${axis ? "dy" : "dx"}`;
  });
  return `L = ${rows.filter(Boolean).join(" + ").replace(/\+ \u2212/g, "\u2212 ") || "0"}`;
}

const disc = (picture, colour) =>
  overlay(picture, `<circle r="${0.35 * Math.min(picture.height, picture.width)}" fill="none" stroke="${colour}" stroke-width="1" stroke-dasharray="4 3"/>`);

/** A picture with room for a drawing above it: {element, canvas, above}. */
function shown(caption, label) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  const above = make("div");
  return { canvas, above, element: captioned(caption, make("div", { class: "ct-over" }, canvas, above)) };
}

/** How the numbers fare after a run: {lost, text}. */
function judge({ u, done, halted, start, method, steps }, { error, longest, most }) {
  const largest = magnitude(u);
  const lost = largest > 1.5 * 255 || halted;
  const inside = error > 0.5 || halted;
  const rate = `growth per step up to ${sized(most, 4)}, because the fastest pixel jumps ${sized(longest)} pixels`;
  const cures = [steps < MOST_STEPS ? "take more steps" : "move less far", method === "euler" ? "choose Runge\u2013Kutta" : null];
  const advice = `To cure it, ${cures.filter(Boolean).join(" or ")}.`;
  const say = (text) => ({ lost, text });
  if (done === 0) return say("Nothing has moved yet.");
  if (lost) {
    return say(`The numbers blow up${inside ? "" : " far from the middle"}: ${rate}. White is 255, and the largest number is now ${sized(largest)}. ` +
      (halted ? `Stopped at step ${done}. ` : "") + advice);
  }
  if (largest > 1.1 * magnitude(start)) return say(`Stripes begin to grow far from the middle: ${rate}. ${advice}`);
  if (most > 1 + 1e-9) return say(`The numbers hold: growth per step is at most ${sized(most, 4)}, too little to do harm in ${done} step${done === 1 ? "" : "s"}.`);
  return say(`The numbers hold: no pattern grows, since the fastest pixel moves ${sized(longest)} pixels in a step and the limit is 2.83.`);
}

/** The four pictures: {element, field, showStart(start), show(run, now)}; `show` returns the error. */
function pictures(stepsText) {
  const field = shown("the field: where the picture moves", "The photograph with arrows that show where each point moves");
  const steps = shown(stepsText, "The photograph after the steps so far");
  const exact = shown("the exact warp (black: beyond the border)", "The photograph, moved exactly");
  const wrong = shown("difference: steps minus exact", "The difference: blue too dark, red too bright, white equal");
  return {
    element: make("div", { class: "ct-flows" }, ...[field, steps, exact, wrong].map(({ element }) => element)),
    field,
    showStart(start) {
      paintGrey(field.canvas, start);
      steps.above.innerHTML = exact.above.innerHTML = disc(start, "#ffd24a");
      wrong.above.innerHTML = disc(start, "#000");
    },
    show({ u, start, motion, t, done, steps: all }) {
      const known = new Uint8Array(start.data.length);
      const target = exactWarp(start, motion, (t * done) / all, known);
      paintGrey(steps.canvas, u);
      paintGrey(exact.canvas, target);
      const difference = plane(u.height, u.width);
      for (let i = 0; i < known.length; i++) {
        if (known[i]) difference.data[i] = Math.max(-REACH, Math.min(REACH, u.data[i] - target.data[i]));
      }
      paintSigned(wrong.canvas, difference, REACH);
      return { error: relativeError(u, target), idle: relativeError(start, target) };
    },
  };
}

/** Everything a reader can set: {element..., settle()}; `onMove` after a change of the motion, `onSoften` of the blur. */
function flowControls(state, generator, time, onMove, onSoften) {
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
  const count = control("steps", (value) => (state.steps = value), onMove, { label: "Steps n", least: 1, most: MOST_STEPS, step: 1 });
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
    if (key === "mix") state.mix = generator().map((row) => row.map((value) => Number((value * time()).toFixed(3))));
    state.motion = key;
    state.amount = MOTIONS[key].usual;
    arrange();
    onMove();
  });
  const group = freshId();
  const radios = METHODS.map(([key, text]) => ({ key, ...tick("radio", text, () => ((state.method = key), onMove()), { name: group }) }));
  return {
    elements: [
      make("div", { class: "ct-tools" }, motions.element, amount.element),
      mixBox,
      make("div", { class: "ct-tools" }, count.element, softness.element,
        make("fieldset", { class: "ct-set" }, make("legend", {}, "Method"), ...radios.map(({ element }) => element))),
      faults.element,
    ],
    settle() {
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
    motion: config.motion, amount: config.amount ?? MOTIONS[config.motion].usual, mix: config.field,
    steps: config.steps, method: config.method, sigma: config.soften, grey: null, start: null,
  };
  const generator = () => (state.motion === "mix" ? state.mix : GENERATORS[state.motion]);
  const time = () => MOTIONS[state.motion].time(state.amount);

  const stepsText = make("span");
  const views = pictures(stepsText);
  const formula = make("p", { class: "ct-formula" });
  const [errorText, idleText, stepText, growthText] = Array.from({ length: 4 }, () => make("strong"));
  const verdict = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const progress = make("progress", { "aria-label": "Steps done", max: 1 });
  const percent = (error) => (error === Infinity ? "without measure, since all is black there" : `${sized(100 * error)}\u00a0%`);

  const flow = playback({
    root, what: "Unroll the flow", once: "One step", said: verdict,
    ready: () => state.start !== null,
    begin() {
      const [{ start, steps, method }, motion, t] = [state, generator(), time()];
      return { start, steps, method, motion, t, step: stepper(start, motion, t / steps, method) };
    },
    draw(run) {
      const { error, idle } = views.show(run);
      const longest = longestStep(run.start, run.motion, run.t / run.steps);
      const most = growth(longest, run.method);
      stepsText.textContent = `after ${run.done} of ${run.steps} step${run.steps === 1 ? "" : "s"}`;
      progress.value = run.done / run.steps;
      errorText.textContent = percent(error);
      idleText.textContent = percent(idle);
      stepText.textContent = `${sized(longest)} pixels`;
      growthText.textContent = sized(most, 4);
      const { lost, text } = judge(run, { error, longest, most });
      verdict.classList.toggle("ct-fault", lost);
      verdict.textContent = text;
    },
    working(run) {
      progress.value = run.done / run.steps;
      stepsText.textContent = `step ${run.done} of ${run.steps} \u2026`;
    },
  });

  const describe = () => {
    formula.textContent = asOperator(generator());
    if (state.start) views.field.above.innerHTML = arrows(state.start, generator(), Math.sign(time()));
  };
  const recompute = oncePerFrame(() => {
    describe();
    if (state.start) stepsText.textContent = `step 0 of ${state.steps} \u2026`;
    flow.changed();
  });
  const resoften = oncePerFrame(() => {
    if (!state.grey) return;
    state.start = soften(state.grey, state.sigma);
    views.showStart(state.start);
    recompute();
  });
  const controls = flowControls(state, generator, time, recompute, resoften);
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    resoften();
  };
  const fact = (text, value) => make("span", {}, `${text}: `, value);
  root.replaceChildren(
    ...opening({
      title: "Flow lab",
      task: "Choose a motion and a number of steps. Compare the picture after the small steps with the exact motion beside it.",
      ask: "You ask Euler\u2019s method for a quarter turn, 90\u00b0, in only 30 steps. What happens to the photograph near the corners?",
      answer: "It is lost. Far from the middle a pixel has to jump several pixels in one step, and then each step multiplies fine stripes there. More steps, a smaller angle or Runge\u2013Kutta with enough steps cure it.",
    }),
    picturePicker({ root, ...lab }, load),
    ...controls.elements,
    formula,
    flow.element(),
    make("div", { class: "ct-facts" }, fact("Error inside the circle", errorText), fact("Error of not moving at all", idleText),
      fact("Longest step", stepText), fact("Growth per step, at most", growthText)),
    progress,
    verdict,
    views.element,
    make("p", { class: "ct-note" }, "The arrows point against (P, Q): P dx + Q dy fetches each value from where (P, Q) points. The error is the relative root mean square inside 0.7 of the radius. Differences, where the exact warp knows the picture, are drawn from \u221264, blue, to 64, red. A step of Runge\u2013Kutta 4 costs as much work as four steps of Euler."),
  );
  controls.settle();
  describe();
  if (still) readStill(still).then(load);
}

mountAll("flow-lab", mountFlow, STYLE);
