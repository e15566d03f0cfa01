// Twist lab: a layer that zooms and turns about a centre to be dragged, step by step over the photograph.
// Book: chapter 9.
import { magnitude, plane } from "./core.mjs";
import { greyPlane, paintGrey, paintSigned, picturePicker, readStill } from "./picture.mjs";
import { slider } from "./slider.mjs";
import { absorbed, perStep, twistGenerator, twistTerm } from "./twist_rules.mjs";
import { growth, longestStep, soften, stepper } from "./warp.mjs";
import { arrowTarget, freshId, make, mountAll, oncePerFrame, pretty } from "./widgets.mjs";

const SLIDERS = {
  a: { label: "Zoom a", unit: "above 0 shrinks", least: -2, most: 2, step: 0.05 },
  b: { label: "Rotation b", unit: "above 0 clockwise", least: -2, most: 2, step: 0.05 },
  steps: { label: "Times applied, n", least: 1, most: 100, step: 1 },
  cx: { label: "Centre x", unit: "right of the middle", least: -1, most: 1, step: 0.01 },
  cy: { label: "Centre y", unit: "below the middle", least: -1, most: 1, step: 0.01 },
  soften: { label: "Soften first, \u03c3", unit: "pixels", least: 0, most: 6, step: 0.5 },
};
const HOPELESS = 1e30; // beyond this the picture is lost, and soon after the numbers overflow
const SLICE = 12; // milliseconds of work at a time, so that the page stays alive

const STYLE = `
.convtwist-lab .ct-slider { flex: 1 1 11.5rem; max-width: 24rem; }
.convtwist-lab .ct-slider .ct-line { flex-wrap: nowrap; }
.convtwist-lab input[type="range"] { flex: 1; min-width: 4rem; height: 2.75rem; margin: 0; padding: 0; accent-color: var(--ct-accent); }
.convtwist-lab .ct-slider input[type="text"] { width: 4.6rem; height: 2.75rem; padding: 0 0.5rem; border: 1px solid var(--ct-edge); border-radius: 0.4rem; background: var(--ct-field); text-align: end; }
.convtwist-lab .ct-picker { margin-bottom: 0.75rem; }
.convtwist-lab .ct-two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0.9rem; margin: 0.75rem 0; align-items: start; }
.convtwist-lab .ct-photo.ct-drag { overflow: hidden; }
.convtwist-lab .ct-photo svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.convtwist-lab .ct-handle { position: absolute; width: 2.75rem; height: 2.75rem; transform: translate(-50%, -50%); border-radius: 50%; cursor: grab; touch-action: none; background: radial-gradient(circle, #fff 0 0.2rem, #000 0.2rem 0.32rem, transparent 0.32rem 0.72rem, #000 0.72rem 0.8rem, #fff 0.8rem 0.98rem, #000 0.98rem 1.06rem, transparent 1.06rem); }
.convtwist-lab .ct-handle:active { cursor: grabbing; }
.convtwist-lab .ct-verdict { padding: 0.5rem 0.75rem; border-inline-start: 4px solid var(--ct-accent); background: var(--ct-field); }
.convtwist-lab .ct-verdict.ct-fault { border-color: var(--ct-fault); }
.convtwist-lab .ct-facts { display: grid; gap: 0.2rem; margin: 0.5rem 0; }
.convtwist-lab [aria-disabled="true"] { opacity: 0.55; cursor: default; }
.convtwist-lab .ct-grid { --ct-columns: 3; --ct-cell: 4.4rem; margin: 0.2rem 0; }
.convtwist-lab .ct-row .ct-cell { height: 2.2rem; }
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

/** Arrows along the motion that the eye sees, against (P, Q), as an SVG drawing. */
function arrows({ height, width }, [[px, py, p1], [qx, qy, q1]]) {
  const spacing = Math.max(height, width) / 10;
  const places = [];
  for (let y = -Math.floor(height / 2 / spacing) * spacing; y <= height / 2; y += spacing) {
    for (let x = -Math.floor(width / 2 / spacing) * spacing; x <= width / 2; x += spacing) {
      places.push([x, y, -(px * x + py * y + p1), -(qx * x + qy * y + q1)]);
    }
  }
  const fastest = Math.max(...places.map(([, , u, v]) => Math.hypot(u, v)), 1e-12);
  const path = places.map(([x, y, u, v]) => {
    const [ex, ey] = [(u / fastest) * spacing * 0.85, (v / fastest) * spacing * 0.85];
    const length = Math.hypot(ex, ey);
    if (length < spacing * 0.06) return `M${x - 0.5} ${y}h1`;
    const head = Math.min(spacing * 0.2, length / 2) / length;
    const [cx, cy, tx, ty] = [ex * head, ey * head, x + ex / 2, y + ey / 2];
    return `M${x - ex / 2} ${y - ey / 2}L${tx} ${ty}M${tx - cx - cy} ${ty - cy + cx}L${tx} ${ty}L${tx - cx + cy} ${ty - cy - cx}`;
  }).join("").replace(/\d+\.\d+/g, (number) => Number(number).toFixed(1));
  const stroke = (colour, thick) => `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${spacing * thick}" stroke-linecap="round"/>`;
  return `<svg viewBox="${-width / 2} ${-height / 2} ${width} ${height}" aria-hidden="true">${stroke("#000", 0.13)}${stroke("#ffd24a", 0.06)}</svg>`;
}

/** A number as Python reads it back, exact to seven digits. */
const literal = (value) => String(Number(value.toPrecision(7)) || 0);

/** The layer as PyTorch lines to copy: the centre already absorbed into the weight. */
function torchLines(settings) {
  const rows = absorbed(settings).map(literal);
  const row = (i) => `[${rows.slice(3 * i, 3 * i + 3).join(", ")}]`;
  return [
    'layer = ConvTwist2d(1, 1, padding=1, bias=False, padding_mode="replicate")',
    "with torch.no_grad():",
    `    layer.weight.copy_(torch.tensor([${[0, 1, 2].map(row).join(", ")}]))`,
    `    layer.twist.copy_(torch.tensor([${literal(settings.a)}, ${literal(settings.b)}]).view(2, 1, 1))`,
    `    for _ in range(${settings.steps}):`,
    "        u = layer(u)",
  ].join("\n");
}

function mountTwist(root, config, still) {
  const settings = { ...config };
  // Modes: "rest", "run" (to the end, as fast as the page allows) and "play" (one application in each frame).
  const state = { grey: null, start: null, u: null, step: null, done: 0, halted: false, stale: false, busy: false, mode: "rest" };

  // What is shown
  const view = (label) => {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    const caption = make("div", { class: "ct-caption" });
    return { canvas, caption, element: make("div", { class: "ct-half" }, caption, canvas) };
  };
  const field = make("canvas", { role: "img", "aria-label": "The photograph with arrows that show where each point moves" });
  const after = view("The photograph after the layer has been applied");
  const term = view("The twist term: blue makes darker, red brighter, white leaves as it is");
  term.caption.textContent = "the twist term: what one application adds";
  const [low, high] = [0, 1].map(() => make("span"));
  term.element.append(make("div", { class: "ct-scale", "aria-hidden": "true" }, low, make("div", { class: "ct-bar" }, make("span", {}, "0")), high));
  const [stepText, sumText] = [0, 1].map(() => make("strong"));
  const [stepNote, sumLabel] = [0, 1].map(() => make("span"));
  const verdict = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const said = make("p", { class: "ct-note", "aria-live": "polite" });
  const code = make("code");
  const nine = Array.from({ length: 9 }, () => make("div", { role: "cell", class: "ct-cell" }));
  const kernel = make("div", { role: "table", class: "ct-grid", "aria-label": "The ordinary kernel W\u2032" },
    ...[0, 3, 6].map((i) => make("div", { role: "row", class: "ct-row" }, ...nine.slice(i, i + 3))));
  const arrowsBox = make("div");
  const handle = make("span", { class: "ct-handle" });

  const size = () => state.start ?? { height: 1, width: 1 };
  const place = () => {
    const { height, width } = size();
    const longer = Math.max(height, width);
    return [width / 2 + (settings.cx * longer) / 2, height / 2 + (settings.cy * longer) / 2];
  };

  /** Everything that follows from the settings alone: arrows, term, kernel, words. */
  const describe = oncePerFrame(() => {
    const { start } = state;
    if (!start) return;
    const [shrink, turn] = perStep(start, settings);
    const [x, y] = place();
    handle.style.left = `${(100 * x) / start.width}%`;
    handle.style.top = `${(100 * y) / start.height}%`;
    arrowsBox.innerHTML = arrows(start, twistGenerator(start, settings));
    const added = twistTerm(start, settings);
    const scale = magnitude(added);
    paintSigned(term.canvas, added, scale);
    low.textContent = pretty(-scale);
    high.textContent = pretty(scale);
    const each = [turn && `2b/w = ${brief(turn)} radians`, shrink && `2a/w = ${brief(shrink)}`].filter(Boolean).join(", ");
    const percent = `${brief(Math.abs(100 * shrink))}\u00a0% ${shrink > 0 ? "smaller" : "larger"}`;
    stepText.textContent = motionText(turn, shrink ? percent : "size unchanged");
    stepNote.textContent = each && ` (${each})`;
    sumLabel.textContent = settings.steps === 1 ? "All together: about " : `All ${settings.steps} together: about `;
    sumText.textContent = motionText(turn * settings.steps, shrink ? `size \u00d7\u00a0${brief(Math.exp(-shrink * settings.steps))}` : "size unchanged");
    const weights = absorbed(settings);
    nine.forEach((cell, i) => (cell.textContent = minus(String(Number(weights[i].toFixed(4)) || 0))));
    code.textContent = torchLines(settings);
  });

  const draw = () => {
    paintGrey(after.canvas, state.u);
    const { done, halted, start } = state;
    after.caption.textContent = `after ${done} of ${settings.steps} application${settings.steps === 1 ? "" : "s"}`;
    const longest = longestStep(start, twistGenerator(start, settings), 1);
    const most = growth(longest);
    const lost = halted || magnitude(state.u) > 1.5 * 255;
    const far = `the fastest corner moves ${brief(longest)} pixels each time`;
    const rate = `by a factor of up to ${Number(most.toPrecision(4))} each time`;
    verdict.classList.toggle("ct-fault", lost);
    if (longest === 0) verdict.textContent = "With a and b both 0 nothing moves: the layer hands the picture on.";
    else if (done === 0) verdict.textContent = "Not applied yet.";
    else if (lost) verdict.textContent = `The numbers blow up${halted ? ` and were stopped at application ${done}` : ""}: ${far}, and stripes there grow ${rate}. Try smaller coefficients, fewer applications or a softer picture.`;
    else if (magnitude(state.u) > 1.1 * magnitude(start)) verdict.textContent = `Stripes begin to show far from the centre: ${far}, and they grow ${rate}.`;
    else verdict.textContent = `The picture holds: ${far}; stripes there can grow ${rate}, and are still too faint to matter.`;
    for (const one of [once, toEnd]) one.setAttribute("aria-disabled", finished());
  };

  // Applying the layer, a slice of the work in each frame; a change asked for meanwhile waits for its turn.
  const finished = () => state.halted || state.done >= settings.steps;
  const rewind = () => {
    const { start } = state;
    state.stale = false;
    Object.assign(state, { u: plane(start.height, start.width, start.data.slice()), done: 0, halted: false });
    state.step = stepper(start, twistGenerator(start, settings), 1);
  };
  const advance = () => {
    state.step(state.u);
    state.done++;
    if (!(magnitude(state.u) < HOPELESS)) state.halted = true;
  };
  const frame = () => {
    if (!root.isConnected || state.mode === "rest") return void (state.busy = false);
    const until = performance.now() + SLICE;
    do {
      if (finished()) break;
      advance();
    } while (state.mode === "run" && performance.now() < until);
    if (state.mode === "play" || finished()) draw();
    if (finished() && state.stale) rewind();
    else if (finished()) rest();
    requestAnimationFrame(frame);
  };
  const go = (mode) => {
    state.mode = mode;
    play.textContent = mode === "play" ? "Pause" : "Play";
    verdict.setAttribute("aria-live", mode === "play" ? "off" : "polite");
    if (!state.busy) requestAnimationFrame(frame);
    state.busy = true;
  };
  const rest = () => {
    state.mode = "rest";
    play.textContent = "Play";
    verdict.setAttribute("aria-live", "polite");
  };

  const recompute = () => {
    if (!state.start) return;
    describe();
    if (state.mode === "run") state.stale = true; // what is under way is shown first, so that a drag never starves it
    else rewind();
    go("run");
  };
  const resoften = () => {
    if (!state.grey) return;
    state.start = soften(state.grey, settings.soften);
    paintGrey(field, state.start);
    recompute();
  };

  // Controls
  const faults = new Map();
  const messages = make("p", { class: "ct-note ct-fault", role: "status" });
  const controls = Object.fromEntries(Object.entries(SLIDERS).map(([key, options]) => {
    const one = slider({
      onChange(value) {
        settings[key] = value;
        if (key === "soften") resoften();
        else recompute();
      },
      onFault(text) {
        if (text) faults.set(key, text);
        else faults.delete(key);
        messages.textContent = [...faults.values()].join(" ");
      },
    });
    one.configure(options);
    return [key, one];
  }));
  const moveTo = (cx, cy) => {
    const within = (value) => Math.round(Math.min(1, Math.max(-1, value)) * 1000) / 1000;
    Object.assign(settings, { cx: within(cx), cy: within(cy) });
    controls.cx.set(settings.cx);
    controls.cy.set(settings.cy);
    said.textContent = `Centre at x ${pretty(settings.cx)}, y ${pretty(settings.cy)}.`;
    recompute();
  };
  const follow = (event) => {
    const box = field.getBoundingClientRect();
    const { height, width } = size();
    const longer = Math.max(height, width);
    const [x, y] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    moveTo((2 * Math.min(width, Math.max(0, x)) - width) / longer, (2 * Math.min(height, Math.max(0, y)) - height) / longer);
  };
  const help = make("p", { class: "ct-note", id: freshId() }, "Drag the ring, tap where the centre should be, or use the arrow keys (with Shift for longer steps).");
  const photo = make(
    "div",
    {
      class: "ct-photo ct-drag", tabindex: "0", role: "application", "aria-label": "Photograph, move the centre", "aria-describedby": help.id,
      on: {
        click: follow,
        pointerdown(event) {
          if (event.target !== handle && event.pointerType !== "mouse") return; // a finger beside the ring scrolls the page
          photo.setPointerCapture(event.pointerId);
          follow(event);
        },
        pointermove: (event) => photo.hasPointerCapture(event.pointerId) && follow(event),
        keydown(event) {
          const { height, width } = size();
          const [x, y] = place();
          const target = arrowTarget(event, y, x, height + 1, width + 1, event.shiftKey ? 16 : 4);
          if (!target) return;
          event.preventDefault();
          const longer = Math.max(height, width);
          moveTo((2 * target[1] - width) / longer, (2 * target[0] - height) / longer);
        },
      },
    },
    field, arrowsBox, handle,
  );
  const button = (text, click) => make("button", { type: "button", class: "ct-button", on: { click } }, text);
  const whenReady = (act) => () => state.start && act();
  const play = button("Play", whenReady(() => {
    if (state.mode === "play") return rest();
    if (finished() || state.stale) rewind();
    go("play");
  }));
  play.classList.add("ct-play");
  const once = button("Apply once", whenReady(() => {
    rest();
    if (state.stale) rewind();
    if (!finished()) advance();
    draw();
  }));
  const toEnd = button("To the end", whenReady(() => go("run")));
  const back = button("Back to the start", whenReady(() => {
    rest();
    rewind();
    draw();
  }));
  const toMiddle = button("Centre in the middle", () => moveTo(0, 0));
  const reset = button("Reset", () => {
    Object.assign(settings, config);
    settle();
    resoften();
  });
  const settle = () => Object.entries(controls).forEach(([key, control]) => control.set(settings[key]));
  const load = (pixels) => {
    state.grey = greyPlane(pixels);
    resoften();
  };

  root.replaceChildren(
    make("style", {}, STYLE),
    make("p", { class: "ct-title" }, "Twist lab"),
    make("p", { class: "ct-lead" }, "One layer, two numbers: a zooms, b turns. Drag the centre, and the whole picture moves around it, although each pixel looks no further than the pixels it touches."),
    picturePicker(root, (pixels) => load(pixels)),
    make("div", { class: "ct-tools" }, ...["a", "b", "steps"].map((key) => controls[key].element)),
    messages,
    make("p", { class: "ct-formula" }, "u \u2190 u + a (X dx u + Y dy u) + b (Y dx u \u2212 X dy u)"),
    make("div", { class: "ct-facts" }, make("span", {}, "Each application: ", stepText, stepNote), make("span", {}, sumLabel, sumText)),
    make("div", { class: "ct-line", role: "group", "aria-label": "Apply the layer" }, play, once, toEnd, back, reset),
    make("div", { class: "ct-two" },
      make("div", { class: "ct-half" }, make("div", { class: "ct-caption" }, "where the picture moves; the ring is the centre"), photo, help, said),
      after.element, term.element,
      make("div", { class: "ct-half" },
        make("div", { class: "ct-caption" }, "the ordinary kernel W\u2032 = W \u2212 cx Kx \u2212 cy Ky"),
        kernel,
        make("p", { class: "ct-note" }, "Here W only copies the picture; Kx = a dx \u2212 b dy and Ky = b dx + a dy. Moving the centre changes these nine numbers and nothing else: X and Y can be counted from the middle all the same. So a layer that learns W needs no centre."))),
    verdict,
    make("div", { class: "ct-tools" }, ...["cx", "cy"].map((key) => controls[key].element), toMiddle, controls.soften.element),
    make("div", { class: "ct-torch" }, make("div", { class: "ct-caption" }, "the same layer in PyTorch, its centre absorbed"),
      make("pre", { class: "ct-code", tabindex: "0", "aria-label": "The same layer in PyTorch" }, code)),
    make("p", { class: "ct-note" }, "X and Y, like the centre, are counted in halves of the longer side w, from \u22121 to 1 along it, and dx and dy are slopes per pixel. Hence one application turns by 2b/w radians and shrinks by the share 2a/w. Beyond the border the border pixels are repeated."),
  );
  settle();
  if (still) readStill(still).then(load);
}

mountAll("twist-lab", mountTwist);
