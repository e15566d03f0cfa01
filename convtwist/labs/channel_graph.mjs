// Which channel reads which: permutations before a grouped convolution, and measures of the graph they make.
// Book: chapter 10. The same as convtwist.channels: a board is a square plane of 0 and 1, and output row i reads
// input column j where it holds 1.
import { plane } from "./core.mjs";

const BLOCK = 4; // groups in a meta-group

/** Why these settings make no layer, as {field, text} for the reader; null if they do. */
export function misfit({ channels, groups, permute, links }) {
  const width = channels / groups;
  const fault = (field, text) => ({ field, text });
  if (channels % groups) return fault("groups", `${channels} channels do not split into ${groups} equal groups: choose groups that divide the channels.`);
  if (permute === "4-cycle" && groups % BLOCK) return fault("groups", `4-cycles close rings of 4 groups and need a multiple of 4, not ${groups}: change the groups, or use the cycle.`);
  if (permute !== "small_world") return null;
  if (groups % BLOCK || groups < 2 * BLOCK) return fault("groups", `The small world links meta-groups of 4 groups and needs 8, 12, 16 \u2026 groups, not ${groups}.`);
  return links > width ? fault("links", `A group has ${width} channel${width === 1 ? "" : "s"}, so it can borrow at most ${width}, not ${links}.`) : null;
}

/** The order in which a grouped convolution takes its input channels. */
export function permutation(permute, channels, groups, links = 1) {
  const width = channels / groups;
  const metas = groups / BLOCK;
  return Array.from({ length: channels }, (_, i) => {
    const [group, slot] = [Math.floor(i / width), i % width];
    if (permute === "cycle") return ((group + groups - 1) % groups) * width + slot;
    if (permute === "shuffle") return (i % groups) * width + Math.floor(i / groups);
    if (permute !== "4-cycle" && permute !== "small_world") return i;
    const away = permute === "small_world" && slot < links ? 1 + (slot % (metas - 1)) : 0;
    const meta = (Math.floor(group / BLOCK) + metas - away) % metas;
    return (meta * BLOCK + ((group + BLOCK - 1) % BLOCK)) * width + slot;
  });
}

/** The board of one layer: channels^2 / groups cells are set, one for each 3x3 kernel. */
export function connections(channels, groups, permute = "none", links = 1) {
  const board = plane(channels, channels, new Uint8Array(channels * channels));
  const width = channels / groups;
  permutation(permute, channels, groups, links).forEach((source, i) => {
    const first = Math.floor(i / width) * width;
    for (let row = first; row < first + width; row++) board.data[row * channels + source] = 1;
  });
  return board;
}

export const identity = (size) => plane(size, size, Uint8Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0)));
export function union(left, right) {
  const result = plane(left.height, left.width, left.data.slice());
  for (let i = 0; i < result.data.length; i++) result.data[i] |= right.data[i];
  return result;
}
const transposed = ({ height: n, data }) => plane(n, n, data.map((_, i) => data[(i % n) * n + Math.floor(i / n)]));
const bothWays = (board) => union(board, transposed(board));
export function count({ data }) {
  let sum = 0;
  for (const value of data) sum += value;
  return sum;
}

/** 1 where any path leads from column to row, first through `right`, then through `left`. */
function product(left, right) {
  const n = left.height;
  const result = plane(n, n, new Uint8Array(n * n));
  for (let i = 0; i < n * n; i++) {
    if (!left.data[i]) continue;
    const to = Math.floor(i / n) * n;
    const from = (i % n) * n;
    for (let k = 0; k < n; k++) result.data[to + k] |= right.data[from + k];
  }
  return result;
}

/** Links between two channels, averaged over all pairs; infinite if some never meet. */
export function pathLength(board, directed = false) {
  const n = board.height;
  const links = directed ? board : bothWays(board);
  let reached = identity(n);
  let found = n;
  for (let steps = 1, total = 0; ; steps++) {
    reached = union(reached, product(links, reached));
    const now = count(reached);
    if (now === found && now < n * n) return Infinity;
    total += steps * (now - found);
    if (now === n * n) return total / (n * (n - 1));
    found = now;
  }
}

/** Watts and Strogatz's C: the share of a channel's pairs of neighbours that are neighbours too; mean over channels. */
export function clustering(board) {
  const n = board.height;
  const { data } = bothWays(board);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const neighbours = [];
    for (let j = 0; j < n; j++) if (j !== i && data[i * n + j]) neighbours.push(j);
    let linked = 0;
    for (const j of neighbours) for (const k of neighbours) if (j !== k) linked += data[j * n + k];
    sum += linked / Math.max(1, neighbours.length * (neighbours.length - 1));
  }
  return sum / n;
}

/**
 * A stack of layers that takes its boards in turn, again and again: `at(n)` is what has reached what after n layers,
 * `convolved(n)` the part of it that came through layer n's convolution, `depth()` after how many layers everything
 * has reached everything, or null for never.
 */
export function stack(boards, residual = true) {
  const states = [identity(boards[0].height)];
  const convolved = (n) => product(boards[(n - 1) % boards.length], at(n - 1));
  const at = (n) => {
    while (states.length <= n) {
      const deeper = convolved(states.length);
      states.push(residual ? union(deeper, states[states.length - 1]) : deeper);
    }
    return states[n];
  };
  const depth = () => {
    const seen = new Set();
    for (let n = 1; ; n++) {
      const state = at(n);
      const reached = count(state);
      if (reached === state.data.length) return n;
      // With the skip connection nothing is ever lost: a round of layers that adds nothing is the end. Without it the
      // states, of which there are finitely many, must come round again.
      if (residual && n > boards.length && reached === count(at(n - boards.length))) return null;
      const key = residual ? n : `${n % boards.length}:${state.data.join("")}`;
      if (seen.has(key)) return null;
      seen.add(key);
    }
  };
  return { at, convolved, depth };
}

/** 0-3, 8, 12-15: numbers in rising order, runs joined. */
export function ranges(numbers) {
  const runs = [];
  for (const number of numbers) {
    const last = runs[runs.length - 1];
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}\u2013${last}`)).join(", ");
}
