// Channel board: who reads whom in a grouped convolution, after any number of layers, and how small its world is.
// Book: chapter 10.
import { clustering, connections, count, misfit, pathLength, ranges, stack, union } from "./channel_graph.mjs";
import { slider } from "./slider.mjs";
import {
  arrowTarget, button, choice, codeBox, faultBox, freshId, labelled, make, markInvalid, mountAll, oncePerFrame, opening, pretty, tick,
  wholeField,
} from "./widgets.mjs";

const ORDERS = [["none", "none"], ["cycle", "cycle"], ["4-cycle", "4-cycles"], ["shuffle", "shuffle"], ["small_world", "small world"]];
const NUMBERS = { channels: ["Channels", 2, 128], groups: ["Groups", 1, 128], links: ["Links per group", 0, 128] };
const MOST_LAYERS = 64;

const STYLE = `
.ct-two { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 0.9rem 1.25rem; margin: 0.75rem 0; align-items: start; }
.ct-board { line-height: 0; cursor: crosshair; }
.ct-board svg, .ct-ringed svg { display: block; width: 100%; height: auto; }
.ct-paper { fill: var(--ct-field); }
.ct-on { fill: var(--ct-ink); }
.ct-new { fill: var(--ct-accent); }
.ct-skip { fill: var(--ct-mark); fill-opacity: 0.6; }
.ct-lines { fill: none; stroke: var(--ct-line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.ct-lines.ct-strong { stroke: var(--ct-edge); }
.ct-band { fill: var(--ct-mark); fill-opacity: 0.22; }
.ct-here { fill: none; stroke: var(--ct-mark); stroke-width: 3; vector-effect: non-scaling-stroke; }
.ct-link { fill: none; stroke: var(--ct-edge); stroke-linecap: round; stroke-linejoin: round; }
.ct-link.ct-lit { stroke: var(--ct-mark); }
.ct-node { cursor: pointer; }
.ct-node circle { fill: var(--ct-field); stroke: var(--ct-edge); stroke-width: 0.01; }
.ct-node.ct-hub circle { stroke-width: 0.03; }
.ct-node.ct-heard circle { fill: var(--ct-mark-fill); stroke: var(--ct-mark); }
.ct-node.ct-picked circle { stroke: var(--ct-accent); stroke-width: 0.04; }
.ct-node text { fill: var(--ct-ink); text-anchor: middle; dominant-baseline: central; }
.ct-key svg { width: 1.1rem; height: 1.1rem; }
.ct-measures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 10.5rem), 1fr)); gap: 0.6rem 1rem; margin: 0.9rem 0; }
.ct-measures dt { margin: 0 !important; color: var(--ct-muted); font-size: 0.82rem; font-weight: 500; }
.ct-measures dd { margin: 0 !important; font-weight: 650; }
@media (max-width: 40rem) { .ct-two { grid-template-columns: minmax(0, 1fr); } }
`;

const whole = (value) => value.toLocaleString("en");
const many = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

/** One path for all the cells that `chosen(i)` picks, runs in a row joined. */
function cells(n, chosen) {
  let path = "";
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      if (!chosen(row * n + column)) continue;
      const start = column;
      while (column + 1 < n && chosen(row * n + column + 1)) column++;
      path += `M${start} ${row}h${column + 1 - start}v1H${start}z`;
    }
  }
  return path;
}

const gridLines = (n, every) => {
  let path = "";
  for (let i = 0; i <= n; i += every) path += `M0 ${i}h${n}M${i} 0v${n}`;
  return path;
};

/** The same in PyTorch, to copy. */
function torchLines({ channels: n, groups, permute, links, alternate, residual }) {
  const order = { none: "", small_world: `small_world(${n}, ${groups}, links=${links})` }[permute] ?? `"${permute}"`;
  const plain = `connections(${n}, ${groups})`;
  const permuted = order ? `connections(${n}, ${groups}, ${order})` : plain;
  const skip = residual ? "" : ", residual=False";
  const used = ["clustering", "connections", "depth_to_reach_all", "path_length", permute === "small_world" && "small_world"];
  return [
    "from convtwist import ConvTwist2d",
    `from convtwist.channels import ${used.filter(Boolean).join(", ")}\n`,
    alternate ? `plain, permuted = ${plain}, ${permuted}` : `board = ${permuted}`,
    alternate && "board = plain | permuted",
    "path_length(board), path_length(board, directed=True), clustering(board)",
    `depth_to_reach_all(${alternate ? `[plain, permuted] * ${n}` : "board"}${skip})`,
    `layer = ConvTwist2d(${n}, ${n}, padding=1, groups=${groups}${order && `, permute=${order}`})`,
  ].filter(Boolean).join("\n");
}

/** Boards and measures of the settings; `key` tells them from others. */
function measure(settings, key) {
  const { channels, groups, permute, links, alternate, residual } = settings;
  const permuted = connections(channels, groups, permute, links);
  const plain = connections(channels, groups);
  const boards = alternate ? [plain, permuted] : [permuted];
  const layers = stack(boards, residual);
  const both = boards.reduce(union);
  return { key, boards, both, layers, depth: layers.depth(), near: pathLength(both), far: pathLength(both, true), tight: clustering(both) };
}

/** Draw the board after `layers` layers and say in the caption what it holds. */
function drawBoard(board, caption, { channels: n, groups, layers, residual }, { now, before, through }) {
  const fresh = (i) => layers > 1 && through.data[i] && !before.data[i];
  const skipOnly = (i) => now.data[i] && !through.data[i];
  const width = n / groups;
  board.innerHTML = `<svg viewBox="-0.3 -0.3 ${n + 0.6} ${n + 0.6}" aria-hidden="true"><path class="ct-paper" d="M0 0h${n}v${n}H0z"/>` +
    `<path class="ct-on" d="${cells(n, (i) => through.data[i] && !fresh(i))}"/><path class="ct-new" d="${cells(n, fresh)}"/>` +
    `<path class="ct-skip" d="${cells(n, skipOnly)}"/><path class="ct-lines" d="${gridLines(n, 1)}"/>` +
    `<path class="ct-lines ct-strong" d="${gridLines(n, width)}"/><rect class="ct-band" width="${n}" height="1"/>` +
    `<rect class="ct-band" width="1" height="${n}"/><rect class="ct-here" width="1" height="1"/></svg>`;
  const sum = count(now);
  const all = n * n;
  caption.textContent = layers === 1
    ? `one layer: ${whole(count(through))} of ${whole(all)} cells marked, a 3\u00d73 kernel each${residual ? "; the skip connection adds the diagonal" : ""}`
    : `after ${layers} layers: ${whole(sum)} of ${whole(all)} pairs reached (${pretty(Number(((100 * sum) / all).toFixed(1)))}\u00a0%), ${whole(sum - count(before))} more than after ${layers - 1}`;
}

/** Draw the ring of groups with an arrow for each way that signals take. */
function drawRing(ring, caption, { channels, groups }, { both }) {
  const width = channels / groups;
  const size = Math.min(0.085, 2 / groups);
  const spot = (group) => {
    const angle = (2 * Math.PI * group) / groups - Math.PI / 2;
    return groups === 1 ? [0, 0] : [0.9 * Math.cos(angle), 0.9 * Math.sin(angle)];
  };
  const weight = new Map();
  for (let i = 0; i < channels * channels; i++) {
    if (!both.data[i]) continue;
    const key = Math.floor(Math.floor(i / channels) / width) * groups + Math.floor((i % channels) / width);
    weight.set(key, (weight.get(key) ?? 0) + 1);
  }
  let links = "";
  for (const [key, paths] of weight) {
    const [to, from] = [Math.floor(key / groups), key % groups];
    if (to === from) continue;
    const [[x, y], [u, v]] = [spot(from), spot(to)];
    // Long ways bend towards the middle, and all a little to one side, so that a link and its answer stay apart.
    const way = Math.hypot(u - x, v - y);
    const pull = 1 - 0.28 * Math.min(1, way);
    const [mx, my] = [((x + u) / 2) * pull - (v - y) * 0.12, ((y + v) / 2) * pull + (u - x) * 0.12];
    const [begin, end] = [Math.hypot(mx - x, my - y), Math.hypot(u - mx, v - my)];
    const [dx, dy] = [(u - mx) / end, (v - my) / end];
    const [sx, sy] = [x + ((mx - x) / begin) * size, y + ((my - y) / begin) * size];
    const [ex, ey] = [u - dx * (size + 0.02), v - dy * (size + 0.02)];
    const head = Math.min(0.055, size * 0.8, way / 4);
    const [hx, hy] = [dx * head, dy * head];
    const thick = Math.min(0.02, size / 4) * (0.35 + (0.65 * Math.sqrt(paths)) / width);
    links += `<path class="ct-link" data-to="${to}" stroke-width="${thick.toFixed(4)}" d="` +
      `M${sx} ${sy}Q${mx} ${my} ${ex} ${ey}M${ex - hx - hy * 0.6} ${ey - hy + hx * 0.6}L${ex} ${ey}L${ex - hx + hy * 0.6} ${ey - hy - hx * 0.6}"/>`;
  }
  const nodes = Array.from({ length: groups }, (_, group) => {
    const [x, y] = spot(group);
    const hub = weight.has(group * groups + group);
    const label = groups <= 32 ? `<text x="${x}" y="${y}" font-size="${(size * 1.05).toFixed(3)}">${group}</text>` : "";
    return `<g class="ct-node${hub ? " ct-hub" : ""}" data-group="${group}"><circle cx="${x}" cy="${y}" r="${size}"/>${label}</g>`;
  }).join("");
  ring.innerHTML = `<svg viewBox="-1.02 -1.02 2.04 2.04" aria-hidden="true">${links}${nodes}</svg>`.replace(/-?\d+\.\d{4,}/g, (number) => Number(number).toFixed(3));
  caption.textContent = `${many(groups, "group")} of ${many(width, "channel")}; an arrow leads to the group that reads${[...weight.keys()].some((key) => key % (groups + 1) === 0) ? ", a thick rim marks groups that read themselves" : ""}`;
}

/** When, if ever, everything has reached everything. */
function judge({ channels, groups, permute }, { depth, near }) {
  const never = "However many layers are stacked, ";
  if (depth !== null) return depth === 1 ? "One layer is enough: every output reads every input." : `After ${depth} layers every output depends on every input.`;
  if (near < Infinity) return `${never}some output never depends on some input, although all are linked: without the skip connection signals only ever move on.`;
  if (permute === "none" && groups === channels) return `${never}every channel keeps to itself: this is a depthwise convolution. Permute the channels, or use fewer groups.`;
  if (permute === "none") return `${never}the groups never meet. Permute the channels.`;
  if (permute === "4-cycle") return `${never}the ${groups / 4} meta-groups of four never meet. Link them: that is the small world.`;
  return `${never}some channels never meet. Try ${permute === "shuffle" ? "the cycle" : "more links, or the shuffle"}.`;
}

function mountBoard({ root, config }) {
  const settings = { ...config }; // what is on show
  const typed = { ...config }; // what the fields say, once all of it fits together
  const picked = { row: Math.min(5, config.channels - 1), column: 0 };
  let world = null; // boards and measures of the settings on show

  const board = make("div");
  const ring = make("div", { class: "ct-ringed" });
  const [boardCaption, ringCaption] = [0, 1].map(() => make("div", { class: "ct-caption" }));
  const sentence = make("p", { class: "ct-sum", "aria-live": "polite" });
  const finding = make("p", { class: "ct-verdict", "aria-live": "polite" });
  const measures = make("dl", { class: "ct-measures" });
  const code = make("code");

  /** Mark one cell, its row and its column, and say what they mean. */
  const point = (row, column) => {
    const { channels: n, groups, layers } = settings;
    Object.assign(picked, { row: Math.min(row, n - 1), column: Math.min(column, n - 1) });
    const [rowBand, columnBand] = board.querySelectorAll(".ct-band");
    const here = board.querySelector(".ct-here");
    rowBand.setAttribute("y", String(picked.row));
    columnBand.setAttribute("x", String(picked.column));
    here.setAttribute("x", String(picked.column));
    here.setAttribute("y", String(picked.row));
    const reach = layers === 1 ? world.through : world.now;
    const all = [...Array(n).keys()];
    const sources = all.filter((j) => reach.data[picked.row * n + j]);
    const readers = all.filter((i) => reach.data[i * n + picked.column]);
    const list = (numbers, noun) => (numbers.length ? `${noun}${numbers.length > 1 ? "s" : ""} ${ranges(numbers)}` : `no ${noun}`);
    const [output, input] = [`Output ${picked.row}`, `Input ${picked.column}`];
    const met = sources.includes(picked.column);
    sentence.replaceChildren(
      make("strong", {}, layers === 1 ? `${output} reads ${list(sources, "input")}.` : `After ${layers} layers, output ${picked.row} depends on ${list(sources, "input")} (${sources.length} of ${n}).`),
      ` ${input} ${met ? "is among them" : "is not among them"}; it ${layers === 1 ? "is read by" : "has reached"} ${list(readers, "output")}.`,
    );
    const width = n / groups;
    const own = Math.floor(picked.row / width);
    const heard = new Set(sources.map((j) => Math.floor(j / width)));
    for (const node of /** @type {NodeListOf<SVGElement>} */ (ring.querySelectorAll(".ct-node"))) {
      const group = Number(node.dataset.group);
      node.classList.toggle("ct-heard", heard.has(group));
      node.classList.toggle("ct-picked", group === own);
    }
    for (const link of /** @type {NodeListOf<SVGElement>} */ (ring.querySelectorAll(".ct-link"))) {
      link.classList.toggle("ct-lit", Number(link.dataset.to) === own);
    }
  };

  const redraw = oncePerFrame(() => {
    const { channels: n, groups, permute, links, layers, alternate, residual } = settings;
    const key = [n, groups, permute, links, alternate, residual].join();
    if (world?.key !== key) world = measure(settings, key);
    Object.assign(world, { now: world.layers.at(layers), before: world.layers.at(layers - 1), through: world.layers.convolved(layers) });
    drawBoard(board, boardCaption, settings, world);
    drawRing(ring, ringCaption, settings, world);
    finding.textContent = judge(settings, world);
    labels.links.hidden = permute !== "small_world";
    keys.hidden = layers === 1 && !residual;
    newKey.hidden = layers === 1;
    skipKey.hidden = !residual;
    const kernels = (n * n) / groups;
    const length = (value) => (value === Infinity ? "infinite" : `${pretty(value)} links`);
    const rows = [
      ["Path length", length(world.near)],
      ["Path length along the arrows", length(world.far)],
      ["Clustering", pretty(world.tight)],
      ["Layers to reach all", world.depth === null ? "never" : whole(world.depth)],
      ["Weights of a layer", `${whole(9 * kernels)} instead of ${whole(9 * n * n)}`],
      ["Weights saved", groups === 1 ? "none" : `${whole(9 * (n * n - kernels))}: 1 in ${groups} is left`],
    ];
    measures.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    code.textContent = torchLines(settings);
    point(picked.row, picked.column);
  });

  // Controls
  const faults = faultBox();
  const apply = () => {
    const clash = faults.size ? null : misfit(typed);
    for (const [key, field] of Object.entries(fields)) markInvalid(field, faults.has(key) || clash?.field === key);
    const { channels, groups, permute } = settings;
    const order = permute === "none" ? "not permuted" : ORDERS.find(([key]) => key === permute)[1];
    const wrong = faults.size || clash;
    faults.show(clash?.text, wrong && `Still on show: ${channels} channels in ${many(groups, "group")}, ${order}.`);
    if (wrong) return;
    Object.assign(settings, typed);
    redraw();
  };
  const fields = Object.fromEntries(Object.entries(NUMBERS).map(([key, [name, least, most]]) => [key, wholeField({
    name, least, most, describedBy: faults.element.id,
    onValue(value) {
      typed[key] = value;
      apply();
    },
    onFault(text) {
      faults.set(key, text && `${text}.`);
      apply();
    },
  })]));
  const labels = Object.fromEntries(Object.entries(NUMBERS).map(([key, [name]]) => [key, labelled(name, fields[key])]));
  const orders = choice("Permutation", ORDERS, (value) => {
    typed.permute = value;
    labels.links.hidden = value !== "small_world";
    apply();
  });
  const stacks = choice("Stack", [["all", "permuted layers"], ["turns", "plain and permuted in turn"]], (value) => {
    typed.alternate = value === "turns";
    apply();
  });
  const skip = tick("checkbox", "skip connection, u + f(u)", (on) => ((typed.residual = on), apply()));
  let ready = false;
  const layers = slider({
    onChange: (value) => ((typed.layers = value), apply()),
    onFault(text) {
      faults.set("layers", text);
      if (ready) apply();
    },
  });
  layers.configure({ label: "Layers stacked, n", least: 1, most: MOST_LAYERS, step: 1 });
  const start = () => {
    faults.clear();
    Object.assign(typed, config);
    for (const [key, field] of Object.entries(fields)) field.value = typed[key];
    orders.select.value = typed.permute;
    stacks.select.value = typed.alternate ? "turns" : "all";
    skip.input.checked = typed.residual;
    layers.set(typed.layers);
    ready = true;
    apply();
  };

  const square = (name, text) => {
    const element = make("span", { class: "ct-key" });
    element.innerHTML = `<svg viewBox="-0.1 -0.1 1.2 1.2" aria-hidden="true"><path class="ct-${name}" d="M0 0h1v1H0z"/></svg>`;
    element.append(text);
    return element;
  };
  const newKey = square("new", "new with the last layer");
  const skipKey = square("skip", "by the skip connection alone");
  const keys = make("div", { class: "ct-legend" }, square("on", "reached"), newKey, skipKey);
  const toCell = (event) => {
    const n = settings.channels;
    const box = board.firstElementChild.getBoundingClientRect();
    const index = (share) => Math.min(n - 1, Math.max(0, Math.floor(share * (n + 0.6) - 0.3)));
    point(index((event.clientY - box.top) / box.height), index((event.clientX - box.left) / box.width));
  };
  const help = make("p", { class: "ct-note", id: freshId() }, "Rows are outputs, columns inputs, both from 0. Point at a cell, tap it, or walk there with the arrow keys (with Shift, a group at a time).");
  const boardFrame = make(
    "div",
    {
      class: "ct-board", tabindex: "0", role: "application", "aria-label": "Channel board, choose a cell", "aria-describedby": help.id,
      on: {
        click: toCell,
        pointermove: (event) => event.pointerType === "mouse" && toCell(event),
        keydown(event) {
          const { channels: n, groups } = settings;
          const target = arrowTarget(event, picked.row, picked.column, n, n, event.shiftKey ? n / groups : 1);
          if (!target) return;
          event.preventDefault();
          point(...target);
        },
      },
    },
    board,
  );
  const toGroup = (event) => {
    const node = event.target.closest(".ct-node");
    if (node) point((Number(node.dataset.group) * settings.channels) / settings.groups, picked.column);
  };
  ring.addEventListener("click", toGroup);
  ring.addEventListener("pointerover", (event) => event.pointerType === "mouse" && toGroup(event));

  root.replaceChildren(
    ...opening({
      title: "Channel board",
      task: "A grouped convolution lets each output channel read a few input channels only. Reorder the channels, stack some layers, and see after how many layers every output depends on every input.",
      ask: "16 groups of 4 channels, and no permutation. How many layers must be stacked until output 0 depends on input 63?",
      answer: "No number is enough. Without a permutation a group only ever reads itself, so the 16 groups never meet.",
    }),
    make("div", { class: "ct-tools" }, labels.channels, labels.groups, orders.element, labels.links),
    make("div", { class: "ct-tools" }, layers.element, stacks.element, skip.element, button("Reset", start)),
    faults.element,
    finding,
    sentence,
    make("div", { class: "ct-two" },
      make("div", { class: "ct-figure" }, boardCaption, boardFrame, keys, help),
      make("div", { class: "ct-figure" }, ringCaption, ring)),
    measures,
    codeBox("The same in PyTorch", code),
    make("p", { class: "ct-note" }, "Path length and clustering are Watts and Strogatz\u2019s: links count both ways, and a channel is no neighbour of itself; with plain and permuted layers in turn, both kinds of links count. A marked cell of one layer costs nine weights, a 3\u00d73 kernel; the skip connection has none, and biases are not counted."),
  );
  start();
}

mountAll("channel-board", mountBoard, STYLE);
