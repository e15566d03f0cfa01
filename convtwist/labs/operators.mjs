// What a 3x3 kernel is made of: operator coefficients, even and odd part, slopes, fields and frequencies.
// Book: chapters 6 and 7. The same names and scales as convtwist.kernels and convtwist.operators; a kernel is
// nine weights in row order.
import { correlate, grid, plane } from "./core.mjs";

export const BASIS = ["1", "dx", "dy", "dxx", "dxy", "dyy", "dxxy", "dxyy", "dxxyy"];

// Of each name: how often it derives by y and by x.
const ORDERS = BASIS.map((name) => ["y", "x"].map((axis) => name.split(axis).length - 1));
const DIFFERENCES = [[0, 1, 0], [-0.5, 0, 0.5], [1, -2, 1]];
const POWERS = [[1, 1, 1], [-1, 0, 1], [0.5, 0, 0.5]];
const NINE = [...Array(9).keys()];

/** Coefficients in BASIS of nine weights: moments, as Taylor's expansion asks for. */
export const decompose = (weights) =>
  ORDERS.map(([y, x]) => NINE.reduce((sum, i) => sum + weights[i] * POWERS[y][Math.floor(i / 3)] * POWERS[x][i % 3], 0));

/** Nine weights from coefficients in BASIS; undoes `decompose`. */
export const compose = (coefficients) =>
  NINE.map((i) => ORDERS.reduce((sum, [y, x], k) => sum + coefficients[k] * DIFFERENCES[y][Math.floor(i / 3)] * DIFFERENCES[x][i % 3], 0));

export const evenPart = (weights) => NINE.map((i) => (weights[i] + weights[8 - i]) / 2);
export const oddPart = (weights) => NINE.map((i) => (weights[i] - weights[8 - i]) / 2);
export const energy = (weights) => weights.reduce((sum, weight) => sum + weight * weight, 0);

/** A quarter turn clockwise, as seen on the screen. */
export const quarterTurn = (weights) => NINE.map((i) => weights[(2 - (i % 3)) * 3 + Math.floor(i / 3)]);

/** As few products "column times row" as add up to the kernel, as [column, row] each: the rank is how many they are. */
export function outerProducts(weights) {
  const rest = Array.from(weights);
  const negligible = 1e-9 * Math.max(...rest.map(Math.abs));
  const products = [];
  // Take away, again and again, the product that clears the row and the column of the largest weight.
  while (products.length < 3) {
    const at = rest.reduce((best, weight, i) => (Math.abs(weight) > Math.abs(rest[best]) ? i : best), 0);
    if (!(Math.abs(rest[at]) > negligible)) break;
    const column = [0, 1, 2].map((i) => rest[3 * i + (at % 3)] / rest[at]);
    const row = rest.slice(at - (at % 3), at - (at % 3) + 3);
    products.push([column, row]);
    NINE.forEach((i) => (rest[i] -= column[Math.floor(i / 3)] * row[i % 3]));
  }
  return products;
}

/** The factor by which a kernel multiplies the wave exp(i (wx x + wy y)): [real, imaginary]. */
export function factor(weights, wx, wy) {
  let real = 0, imaginary = 0;
  for (let i = 0; i < 9; i++) {
    const phase = wx * ((i % 3) - 1) + wy * (Math.floor(i / 3) - 1);
    real += weights[i] * Math.cos(phase);
    imaginary += weights[i] * Math.sin(phase);
  }
  return [real, imaginary];
}

/**
 * Size and phase of the factor at size x size frequencies from -pi to pi, zero in the middle; size is odd. The phase
 * lies above -pi and up to pi; where no wave is left there is none, NaN.
 */
export function frequencies(weights, size) {
  const [sizes, phases] = [plane(size, size), plane(size, size)];
  const step = (2 * Math.PI) / (size - 1);
  const nothing = 1e-9 * weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const at = row * size + column;
      const [real, imaginary] = factor(weights, column * step - Math.PI, row * step - Math.PI);
      sizes.data[at] = Math.hypot(real, imaginary);
      // Rounding must not turn pi into -pi.
      phases.data[at] = sizes.data[at] > nothing ? Math.atan2(Math.abs(imaginary) > nothing ? imaginary : 0, real) : NaN;
    }
  }
  return [sizes, phases];
}

/** The picture with its border pixels repeated once all around. */
export function replicated({ height, width, data }) {
  const result = plane(height + 2, width + 2, new data.constructor((height + 2) * (width + 2)));
  for (let row = 0; row < height + 2; row++) {
    const from = Math.min(height - 1, Math.max(0, row - 1)) * width;
    const line = result.data.subarray(row * (width + 2), (row + 1) * (width + 2));
    line.set(data.subarray(from, from + width), 1);
    line[0] = data[from];
    line[width + 1] = data[from + width - 1];
  }
  return result;
}

/** Slopes per pixel to the right and downward (Sobel over 8), written into two planes. */
export function gradient(input, { repeat = false, into = [plane(input.height, input.width), plane(input.height, input.width)] } = {}) {
  const { height, width, data } = input;
  const [dx, dy] = into;
  // Of each row first 1 2 1 down and -1 0 1 down, then the other way across; one cell more at both ends.
  const sums = new Float64Array(width + 2);
  const steps = new Float64Array(width + 2);
  for (let row = 0; row < height; row++) {
    const here = row * width;
    const above = row > 0 ? here - width : here;
    const below = row < height - 1 ? here + width : here;
    const hasAbove = repeat || row > 0 ? 1 : 0;
    const hasBelow = repeat || row < height - 1 ? 1 : 0;
    for (let column = 0; column < width; column++) {
      const up = hasAbove * data[above + column];
      const down = hasBelow * data[below + column];
      sums[column + 1] = up + 2 * data[here + column] + down;
      steps[column + 1] = down - up;
    }
    if (repeat) {
      sums[0] = sums[1];
      steps[0] = steps[1];
      sums[width + 1] = sums[width];
      steps[width + 1] = steps[width];
    }
    for (let column = 0; column < width; column++) {
      dx.data[here + column] = (sums[column + 2] - sums[column]) / 8;
      dy.data[here + column] = (steps[column] + 2 * steps[column + 1] + steps[column + 2]) / 8;
    }
  }
  return into;
}

/** The fields a ConvTwist layer mixes, zeros beyond the border: "similarity" (E u, R u), "affine", "first_order". */
export function twistFields(input, operators = "similarity") {
  const { height, width } = input;
  const { x, y } = grid(height, width);
  const blend = (f) => plane(height, width, Float64Array.from({ length: height * width }, (_, i) => f(i, x[i % width], y[Math.floor(i / width)])));
  const [dx, dy] = gradient(input);
  if (operators === "similarity") {
    return [blend((i, x, y) => x * dx.data[i] + y * dy.data[i]), blend((i, x, y) => y * dx.data[i] - x * dy.data[i])];
  }
  const third = (k) => correlate(input, plane(3, 3, Float64Array.from(compose(BASIS.map((_, i) => (i === k ? 1 : 0))))), { padding: 1 });
  const slopes = operators === "affine" ? [dx, dy] : [dx, dy, third(7), third(6)];
  return slopes.flatMap(({ data }) => [blend((i, x) => x * data[i]), blend((i, x, y) => y * data[i])]);
}
