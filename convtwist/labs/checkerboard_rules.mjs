// The numbers behind the checkerboard lab: stamps, their overlaps, and the same size reached by resizing.
// Book: chapter 5. Nothing here touches the page, so a browser test can compare it with PyTorch.
import { correlate, plane } from "./core.mjs";

/** How many of `input` cells reach each output cell of a transposed convolution, along one axis. */
export function overlapCount(input, kernel, stride, padding = 0) {
  const counts = new Array(Math.max(0, stride * (input - 1) + kernel - 2 * padding)).fill(0);
  for (let cell = 0; cell < input; cell++) {
    for (let tap = 0; tap < kernel; tap++) {
      const reached = cell * stride + tap - padding;
      if (reached >= 0 && reached < counts.length) counts[reached]++;
    }
  }
  return counts;
}

/** How many input cells to draw: as many as asked for, but enough for the counts to repeat away from the edges. */
export const drawnInputs = (input, kernel, stride) => Math.max(input, Math.ceil(kernel / stride) + 2);

/** Counts away from the edges, one for each place within a stride, smallest first as they follow one another. */
export const repeatingCounts = (kernel, stride) =>
  Array.from({ length: stride }, (_, place) => Math.ceil((kernel - (stride - 1 - place)) / stride)).map((n) => Math.max(0, n));

/** Even or uneven, in words, for a kernel, a stride and a padding. */
export function verdict(kernel, stride, padding = 0) {
  const counts = repeatingCounts(kernel, stride);
  if (kernel % stride === 0) {
    const times = kernel / stride;
    const why = stride === 1 ? "at stride 1 any kernel is a multiple" : `kernel ${kernel} is ${times === 1 ? "" : `${times} \u00d7 `}stride ${stride}`;
    const cells = times === 1 ? "one input cell" : `${times} input cells`;
    const thin = kernel - stride - padding;
    const edges = thin > 0
      ? ` The first and last ${thin === 1 ? "cell" : `${thin} cells`} get fewer; padding ${kernel - stride} cuts them off.`
      : "";
    const inside = thin > 0 ? "every cell away from the edges is" : "every cell is";
    return { even: true, text: `Even: ${why}, so ${inside} reached by ${cells}, in two dimensions by ${times ** 2}.${edges}` };
  }
  const pattern = [...counts, ...counts].join(" ");
  const why = kernel < stride ? `kernel ${kernel} is smaller than stride ${stride} and the stamps leave gaps`
    : `kernel ${kernel} is no multiple of stride ${stride}`;
  const products = [...new Set(counts.flatMap((a) => counts.map((b) => a * b)))].sort((a, b) => a - b);
  const below = kernel - (kernel % stride);
  const remedy = `${below ? `${below} or ` : ""}${below + stride}`;
  return {
    even: false,
    text: `Uneven: ${why}, so the counts ${stride === 2 ? "alternate" : "repeat"} ${pattern}. In two dimensions they multiply: ` +
      `${products.slice(0, -1).join(", ")} and ${products.at(-1)}. Even at this stride: kernel ${remedy}.`,
  };
}

/**
 * A kernel as the taps of its rows and the taps of its columns, whose products are its weights: all ones; the tent of
 * bilinear resizing; fixed draws from 0 to 1.
 */
export function stampTaps(kind, size) {
  const half = Math.ceil(size / 2);
  let state = 1;
  const tap = {
    ones: () => 1,
    bilinear: (i) => 1 - Math.abs(i - (size % 2 ? half - 1 : half - 0.5)) / half,
    random: () => (state = (state * 16807) % 2147483647) / 2147483647,
  }[kind];
  tap(0); // the first draw is always close to 0
  return [0, 1].map(() => Float64Array.from({ length: size }, (_, i) => tap(i)));
}

export const total = (taps) => taps.reduce((sum, value) => sum + value, 0);

/** Taps that fall on one output cell away from the edges, added up, for each place within a stride. */
export function phaseSums(taps, stride) {
  const sums = new Float64Array(stride);
  taps.forEach((weight, tap) => (sums[tap % stride] += weight));
  return sums;
}

/**
 * Transposed convolution of one plane: a stamp for each cell, added up where they overlap; first down, then across.
 * @param {any[]} taps
 */
export function transpose(input, taps, { stride = 1, padding = 0 } = {}) {
  const [down, across] = taps;
  const height = stride * (input.height - 1) + down.length - 2 * padding;
  const width = stride * (input.width - 1) + across.length - 2 * padding;
  if (height < 1 || width < 1) throw new RangeError("the padding cuts everything off");
  const tall = plane(height, input.width);
  for (let row = 0; row < input.height; row++) {
    for (let tap = 0; tap < down.length; tap++) {
      const y = row * stride + tap - padding;
      if (y < 0 || y >= height) continue;
      for (let x = 0; x < input.width; x++) tall.data[y * input.width + x] += down[tap] * input.data[row * input.width + x];
    }
  }
  const output = plane(height, width);
  for (let tap = 0; tap < across.length; tap++) {
    const offset = tap - padding;
    const first = Math.max(0, Math.ceil(-offset / stride));
    const last = Math.min(input.width - 1, Math.floor((width - 1 - offset) / stride));
    for (let y = 0; y < height; y++) {
      const to = y * width + offset;
      for (let x = first; x <= last; x++) output.data[to + x * stride] += across[tap] * tall.data[y * input.width + x];
    }
  }
  return output;
}

/** Every `step`-th pixel of every `step`-th row. */
export function subsample({ height, width, data }, step) {
  const small = plane(Math.ceil(height / step), Math.ceil(width / step));
  for (let i = 0, y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) small.data[i++] = data[y * width + x];
  }
  return small;
}

/** The two cells around each output place of one axis, and the share of the second. */
function resizePlaces(size, scale, mode) {
  const [first, second, share] = [new Int32Array(size * scale), new Int32Array(size * scale), new Float64Array(size * scale)];
  for (let i = 0; i < size * scale; i++) {
    const place = mode === "nearest" ? Math.floor(i / scale) : Math.min(size - 1, Math.max(0, (i + 0.5) / scale - 0.5));
    first[i] = Math.floor(place);
    second[i] = Math.min(first[i] + 1, size - 1);
    share[i] = place - first[i];
  }
  return { first, second, share };
}

/** Enlarge by a whole number: "nearest", or "bilinear" with align_corners=False. */
export function resize({ height, width, data }, scale, mode) {
  const [rows, columns] = [height, width].map((size) => resizePlaces(size, scale, mode));
  const output = plane(height * scale, width * scale);
  const mixed = new Float64Array(width);
  for (let y = 0; y < output.height; y++) {
    const [above, below, low] = [rows.first[y] * width, rows.second[y] * width, rows.share[y]];
    for (let x = 0; x < width; x++) mixed[x] = (1 - low) * data[above + x] + low * data[below + x];
    for (let x = 0; x < output.width; x++) {
      const far = columns.share[x];
      output.data[y * output.width + x] = (1 - far) * mixed[columns.first[x]] + far * mixed[columns.second[x]];
    }
  }
  return output;
}

/** A rectangle cut out of a plane; what lies outside repeats the edge. */
export function cutOut(input, top, left, height, width) {
  const within = (value, size) => Math.min(size - 1, Math.max(0, value));
  const output = plane(height, width);
  for (let row = 0; row < height; row++) {
    const from = within(top + row, input.height) * input.width;
    for (let column = 0; column < width; column++) output.data[row * width + column] = input.data[from + within(left + column, input.width)];
  }
  return output;
}

/**
 * The cure: enlarge first, then an ordinary convolution that keeps the size and repeats the edge.
 * @param {any[]} taps
 */
export function resizeThenConvolve(input, taps, scale, mode) {
  const [down, across] = taps;
  const large = resize(input, scale, mode);
  const [above, before] = [down, across].map((axis) => Math.floor((axis.length - 1) / 2));
  const framed = cutOut(large, -above, -before, large.height + down.length - 1, large.width + across.length - 1);
  return correlate(correlate(framed, plane(down.length, 1, down)), plane(1, across.length, across));
}
