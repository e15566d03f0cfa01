// Twist lab: a layer that zooms and turns about a centre to be dragged, step by step over the photograph.
// Book: chapter 9.
import { magnitude } from "./core.mjs";
import { arrows, RING_STYLE, ringPicker } from "./field.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { playback } from "./playback.mjs";
import { slider } from "./slider.mjs";
import { absorbed, perStep, twistGenerator, twistTerm } from "./twist_rules.mjs";
import { growth, longestStep, soften, stepper } from "./warp.mjs";
import { button, captioned, codeBox, faultBox, make, mountAll, oncePerFrame, opening, pretty, signedScale } from "./widgets.mjs";

const SLIDERS = {
  a: { label: "Zoom a", unit: "above 0 shrinks", least: -2, most: 2, step: 0.05 },
  b: { label: "Rotation b", unit: "above 0 clockwise", least: -2, most: 2, step: 0.05 },
  steps: { label: "Times applied, n", least: 1, most: 100, step: 1 },
  cx: { label: "Centre x", unit: "right of the middle", least: -1, most: 1, step: 0.01 },
  cy: { label: "Centre y", unit: "below the middle", least: -1, most: 1, step: 0.01 },
  soften: { label: "Soften first, \u03c3", unit: "pixels", least: 0, most: 6, step: 0.5 },
};

const STYLE = `
.ct-two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0.9rem; margin: 0.75rem 0; align-items: start; }
.ct-facts { display: grid; gap: 0.2rem; margin: 0.5rem 0; }
.ct-grid { --ct-columns: 3; --ct-cell: 4.4rem; margin: 0.2rem 0; }
.ct-row .ct-cell { height: 2.2rem; }
`;

const minus = (text) => text.replace(/-/g, "\u2212");

/** Three digits that count, as people write them. */
const brief = (value) => minus(String(Number(value.toPrecision(3))));

/** "0.112° clockwise, 0.3 % smaller": what a turn in radians and a share lost look like. */
function motionText(turn, size) {
  const degrees = (turn * 180) / Math.PI;
  const turned = turn === 0 ? "no turn" : `${brief(Math.abs(degrees))}\u00b0 ${turn > 0 ? "clockwise" : "anticlockwise"}`;
  return `${turned}, ${size}`;
}

/** A number as Python reads it back, exact to seven digits. */
const literal = (value) => String(Number(value.toPrecision(7)) || 0);

/** The layer as PyTorch lines to copy: the centre already absorbed into the weight. */
function torchLines(settings) {
  const rows = absorbed(settings).map(literal);
  const row = (i) => `[${rows.slice(3 * i, 3 * i + 3).join(", ")}]`;
  return [
    "import torch",
    "from convtwist import ConvTwist2d, images",
    "",
    'u = images.to_tensor(images.sample("chelsea"), grey=True)  # or images.load("mine.jpg")',
    'layer = ConvTwist2d(1, 1, padding=1, bias=False, padding_mode="replicate")',
    "with torch.no_grad():",
    `    layer.weight.copy_(torch.tensor([${[0, 1, 2].map(row).join(", ")}]))`,
    `    layer.twist.copy_(torch.tensor([${literal(settings.a)}, ${literal(settings.b)}]).view(2, 1, 1))`,
    `    for _ in range(${settings.steps}):`,
    "        u = layer(u)",
  ].join("\n");
}

/** The photograph with its arrows and the ring to drag: {photo, help, canvas, show()}. */
function centrePicker(state, settings, moveTo) {
  const size = () => state.start ?? { height: 1, width: 1 };
  const longer = () => Math.max(size().height, size().width);
  const ring = ringPicker({
    picture: "The photograph with arrows that show where each point moves", label: "Photograph, move the centre", purpose: "the centre", size,
    place: () => [size().width / 2 + (settings.cx * longer()) / 2, size().height / 2 + (settings.cy * longer()) / 2],
    moveTo: (x, y) => moveTo((2 * x - size().width) / longer(), (2 * y - size().height) / longer()),
  });
  return {
    ...ring,
    show() {
      ring.show();
      ring.over.innerHTML = arrows(size(), twistGenerator(size(), settings));
    },
  };
}

/** The ordinary kernel W' as a table: {element, show(settings)}. */
function absorbedTable() {
  const nine = Array.from({ length: 9 }, () => make("div", { role: "cell", class: "ct-cell" }));
  const element = make("div", { role: "table", class: "ct-grid", "aria-label": "The ordinary kernel W\u2032" },
    ...[0, 3, 6].map((i) => make("div", { role: "row", class: "ct-row" }, ...nine.slice(i, i + 3))));
  return {
    element,
    show(settings) {
      const weights = absorbed(settings);
      nine.forEach((cell, i) => (cell.textContent = minus(String(Number(weights[i].toFixed(4)) || 0))));
    },
  };
}

/** What one application and all of them do, in words: {element, show(start, settings)}. */
function motionFacts() {
  const [stepText, sumText] = [0, 1].map(() => make("strong"));
  const [stepNote, sumLabel] = [0, 1].map(() => make("span"));
  return {
    element: make("div", { class: "ct-facts" }, make("span", {}, "Each application: ", stepText, stepNote), make("span", {}, sumLabel, sumText)),
    show(start, settings) {
      const [shrink, turn] = perStep(start, settings);
      const each = [turn && `2b/w = ${brief(turn)} radians`, shrink && `2a/w = ${brief(shrink)}`].filter(Boolean).join(", ");
      const percent = `${brief(Math.abs(100 * shrink))}\u00a0% ${shrink > 0 ? "smaller" : "larger"}`;
      stepText.textContent = motionText(turn, shrink ? percent : "size unchanged");
      stepNote.textContent = each && ` (${each})`;
      sumLabel.textContent = settings.steps === 1 ? "All together: about " : `All ${settings.steps} together: about `;
      sumText.textContent = motionText(turn * settings.steps, shrink ? `size \u00d7\u00a0${brief(Math.exp(-shrink * settings.steps))}` : "size unchanged");
    },
  };
}

/** Does the picture hold? {lost, text} for a run of the layer. */
function judge({ u, done, halted, start, generator }) {
  const longest = longestStep(start, generator, 1);
  const lost = halted || magnitude(u) > 1.5 * 255;
  const far = `the fastest corner moves ${brief(longest)} pixels each time`;
  const rate = `by a factor of up to ${Number(growth(longest).toPrecision(4))} each time`;
  const say = (text) => ({ lost, text });
  if (longest === 0) return say("With a and b both 0 nothing moves: the layer hands the picture on.");
  if (done === 0) return say("Not applied yet.");
  if (lost) return say(`The numbers blow up${halted ? ` and were stopped at application ${done}` : ""}: ${far}, and stripes there grow ${rate}. Try smaller coefficients, fewer applications or a softer picture.`);
  if (magnitude(u) > 1.1 * magnitude(start)) return say(`Stripes begin to show far from the centre: ${far}, and they grow ${rate}.`);
  return say(`The picture holds: ${far}; stripes there can grow ${rate}, and are still too faint to matter.`);
}

function mountTwist({ root, config, still, ...lab }) {
  const settings = { ...config };
  const state = { grey: null, start: null };
  const after = make("canvas", { role: "img", "aria-label": "The photograph after the layer has been applied" });
  const afterText = make("span");
  const term = make("canvas", { role: "img", "aria-label": "The twist term: blue makes darker, red brighter, white leaves as it is" });
  const scale = signedScale();
  const verdict = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const said = make("p", { class: "ct-note", "aria-live": "polite" });
  const code = make("code");
  const [kernel, facts] = [absorbedTable(), motionFacts()];

  const layer = playback({
    root, what: "Apply the layer", once: "Apply once", said: verdict,
    ready: () => state.start !== null,
    begin() {
      const generator = twistGenerator(state.start, settings);
      return { start: state.start, steps: settings.steps, generator, step: stepper(state.start, generator, 1) };
    },
    draw(run) {
      paintGrey(after, run.u);
      afterText.textContent = `after ${run.done} of ${run.steps} application${run.steps === 1 ? "" : "s"}`;
      const { lost, text } = judge(run);
      verdict.classList.toggle("ct-fault", lost);
      verdict.textContent = text;
    },
  });

  /** Everything that follows from the settings alone: arrows, term, kernel, words. */
  const describe = oncePerFrame(() => {
    const { start } = state;
    if (!start) return;
    const added = twistTerm(start, settings);
    paintSigned(term, added, magnitude(added));
    scale.set(magnitude(added));
    for (const part of [picker, kernel]) part.show(settings);
    facts.show(start, settings);
    code.textContent = torchLines(settings);
  });
  const recompute = () => {
    describe();
    layer.changed();
  };
  const resoften = () => {
    if (!state.grey) return;
    state.start = soften(state.grey, settings.soften);
    paintGrey(picker.canvas, state.start);
    recompute();
  };

  const faults = faultBox();
  const controls = Object.fromEntries(Object.entries(SLIDERS).map(([key, options]) => {
    const one = slider({
      onChange(value) {
        settings[key] = value;
        if (key === "soften") resoften();
        else recompute();
      },
      onFault: (text) => faults.set(key, text),
    });
    one.configure(options);
    return [key, one];
  }));
  const settle = () => Object.entries(controls).forEach(([key, control]) => control.set(settings[key]));
  const moveTo = (cx, cy) => {
    const within = (value) => Math.round(Math.min(1, Math.max(-1, value)) * 1000) / 1000;
    Object.assign(settings, { cx: within(cx), cy: within(cy) });
    controls.cx.set(settings.cx);
    controls.cy.set(settings.cy);
    said.textContent = `Centre at x ${pretty(settings.cx)}, y ${pretty(settings.cy)}.`;
    recompute();
  };
  const picker = centrePicker(state, settings, moveTo);
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    resoften();
  };
  const reset = button("Reset", () => {
    Object.assign(settings, config);
    settle();
    resoften();
  });
  const sliders = (...keys) => keys.map((key) => controls[key].element);

  root.replaceChildren(
    ...opening({
      title: "Twist lab",
      task: "One layer, two numbers: a zooms, b turns. Drag the centre: the picture turns around it, although each pixel looks no further than its eight neighbours.",
      ask: "You move the centre to the right edge. Do the nine numbers of W\u2032 change, or does the layer need new coefficients a and b?",
      answer: "Only the nine numbers change. Moving the centre adds \u2212cx Kx \u2212 cy Ky, which is an ordinary 3\u00d73 convolution, so W\u2032 takes it up. The coefficients a and b stay.",
    }),
    picturePicker({ root, ...lab }, load),
    make("div", { class: "ct-tools" }, ...sliders("a", "b", "steps")),
    faults.element,
    make("p", { class: "ct-formula" }, "u \u2190 u + a (X dx u + Y dy u) + b (Y dx u \u2212 X dy u)"),
    facts.element,
    layer.element(reset),
    make("div", { class: "ct-two" },
      captioned("where the picture moves; the ring is the centre", picker.photo, picker.help, said),
      captioned(afterText, after),
      captioned("the twist term: what one application adds", term, scale.element),
      captioned("the ordinary kernel W\u2032 = W \u2212 cx Kx \u2212 cy Ky", kernel.element,
        make("p", { class: "ct-note" }, "Here W only copies the picture; Kx = a dx \u2212 b dy and Ky = b dx + a dy. Moving the centre changes these nine numbers and nothing else: X and Y can be counted from the middle all the same. So a layer that learns W needs no centre."))),
    verdict,
    make("div", { class: "ct-tools" }, ...sliders("cx", "cy"), button("Centre in the middle", () => moveTo(0, 0)), ...sliders("soften")),
    codeBox("The same layer in PyTorch", code),
    make("p", { class: "ct-note" }, "X and Y, like the centre, are counted in halves of the longer side w, from \u22121 to 1 along it, and dx and dy are slopes per pixel. Hence one application turns by 2b/w radians and shrinks by the share 2a/w. Beyond the border the border pixels are repeated."),
  );
  settle();
  if (still) readStill(still).then(load);
}

mountAll("twist-lab", mountTwist, RING_STYLE + STYLE);
