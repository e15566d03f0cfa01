// Many small steps of a first-order operator, and the exact motion that they approach.
// Book: chapter 8. The same as convtwist.flow: a generator is [[px, py, p1], [qx, qy, q1]], which stands for
// (px x + py y + p1) dx + (qx x + qy y + q1) dy, with x and y in pixels from the middle, y downward.
import { plane } from "./core.mjs";
import { gradient } from "./operators.mjs";

export const GENERATORS = {
  right: [[0, 0, -1], [0, 0, 0]],
  down: [[0, 0, 0], [0, 0, -1]],
  rotate: [[0, 1, 0], [-1, 0, 0]],
  zoom: [[-1, 0, 0], [0, -1, 0]],
  shear_x: [[0, -1, 0], [0, 0, 0]],
  shear_y: [[0, 0, 0], [-1, 0, 0]],
};

const velocity = ([[px, py, p1], [qx, qy, q1]]) => (x, y) => [px * x + py * y + p1, qx * x + qy * y + q1];

/** Return `step(u)`, which moves the plane `u` on by time h, in place; "euler" or "rk4". The border is repeated. */
export function stepper({ height, width }, generator, h, method = "euler") {
  const size = height * width;
  const slopes = [plane(height, width), plane(height, width)];
  const [P, Q] = [new Float64Array(size), new Float64Array(size)];
  const at = velocity(generator);
  for (let i = 0; i < size; i++) {
    [P[i], Q[i]] = at((i % width) - (width - 1) / 2, Math.floor(i / width) - (height - 1) / 2);
  }
  const change = (u, out) => {
    const [{ data: dx }, { data: dy }] = gradient(u, { repeat: true, into: slopes });
    for (let i = 0; i < size; i++) out[i] = P[i] * dx[i] + Q[i] * dy[i];
  };
  const k = new Float64Array(size);
  if (method === "euler") {
    return (u) => {
      change(u, k);
      for (let i = 0; i < size; i++) u.data[i] += h * k[i];
    };
  }
  const [sum, inner] = [new Float64Array(size), plane(height, width)];
  return (u) => {
    change(u, k);
    sum.set(k);
    for (const [share, weight] of [[h / 2, 2], [h / 2, 2], [h, 1]]) {
      for (let i = 0; i < size; i++) inner.data[i] = u.data[i] + share * k[i];
      change(inner, k);
      for (let i = 0; i < size; i++) sum[i] += weight * k[i];
    }
    for (let i = 0; i < size; i++) u.data[i] += (h / 6) * sum[i];
  };
}

const product = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));

/** exp(t L) as [[xx, xy, x1], [yx, yy, y1]]: where the value at (x, y) comes from. */
export function motion(generator, t) {
  const scaled = [...generator, [0, 0, 0]].map((row) => row.map((value) => value * t));
  const halvings = Math.max(0, Math.ceil(Math.log2(Math.max(1e-9, ...scaled.flat().map(Math.abs)))) + 3);
  const small = scaled.map((row) => row.map((value) => value / 2 ** halvings));
  let term = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  let sum = term;
  for (let n = 1; n < 16; n++) {
    term = product(term, small).map((row) => row.map((value) => value / n));
    sum = sum.map((row, i) => row.map((value, j) => value + term[i][j]));
  }
  for (let i = 0; i < halvings; i++) sum = product(sum, sum);
  return sum.slice(0, 2);
}

/**
 * exp(t L) u by looking up where every pixel comes from, bilinear, zeros beyond the border.
 * `known`, if given, takes a 1 for each pixel that comes from inside the picture, else a 0.
 */
export function exactWarp(input, generator, t, known = null) {
  const { height, width, data } = input;
  const result = plane(height, width);
  const [[xx, xy, x1], [yx, yy, y1]] = motion(generator, t);
  const middleX = (width - 1) / 2;
  const middleY = (height - 1) / 2;
  const at = (row, column) => (row >= 0 && row < height && column >= 0 && column < width ? data[row * width + column] : 0);
  for (let i = 0, y = -middleY; y <= middleY; y++) {
    for (let x = -middleX; x <= middleX; x++, i++) {
      const column = xx * x + xy * y + x1 + middleX;
      const row = yx * x + yy * y + y1 + middleY;
      const left = Math.floor(column);
      const top = Math.floor(row);
      const a = column - left;
      const b = row - top;
      result.data[i] =
        (1 - b) * ((1 - a) * at(top, left) + a * at(top, left + 1)) + b * ((1 - a) * at(top + 1, left) + a * at(top + 1, left + 1));
      if (known) known[i] = column >= 0 && column <= width - 1 && row >= 0 && row <= height - 1 ? 1 : 0;
    }
  }
  return result;
}

/** Relative root mean square error inside 0.7 of the radius, where no border has been seen yet; infinite against black. */
export function relativeError(result, expected) {
  const { height, width } = expected;
  const reach = ((0.7 * Math.min(height, width)) / 2) ** 2;
  let wrong = 0, all = 0;
  for (let i = 0, y = (1 - height) / 2; 2 * y < height; y++) {
    for (let x = (1 - width) / 2; 2 * x < width; x++, i++) {
      if (x * x + y * y >= reach) continue;
      const gap = result.data[i] - expected.data[i];
      wrong += gap * gap;
      all += expected.data[i] * expected.data[i];
    }
  }
  return wrong === 0 ? 0 : Math.sqrt(wrong / all);
}

/** How far the farthest pixel moves in time h, in pixels: the corners are the fastest. */
export function longestStep({ height, width }, generator, h) {
  const at = velocity(generator);
  const [x, y] = [(width - 1) / 2, (height - 1) / 2];
  return Math.abs(h) * Math.max(...[[-x, -y], [x, -y], [-x, y], [x, y]].map((corner) => Math.hypot(...at(...corner))));
}

/** The most by which one step of `s` pixels can multiply a stripe pattern, coefficients held fixed. */
export function growth(s, method = "euler") {
  if (method === "euler") return Math.sqrt(1 + s * s);
  return s <= Math.sqrt(8) ? 1 : Math.sqrt(1 - s ** 6 / 72 + s ** 8 / 576);
}

/** A Gaussian blur with the border repeated; sigma in pixels, 0 for none. */
export function soften(input, sigma) {
  if (sigma <= 0) return plane(input.height, input.width, Float64Array.from(input.data));
  const reach = Math.ceil(4 * sigma);
  const bell = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sigma) ** 2));
  const total = bell.reduce((a, b) => a + b);
  // Once along the rows, with the result turned on its side; then once more.
  const along = ({ height, width, data }) => {
    const result = plane(width, height);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        let sum = 0;
        for (let i = -reach; i <= reach; i++) {
          sum += bell[i + reach] * data[row * width + Math.min(width - 1, Math.max(0, column + i))];
        }
        result.data[column * height + row] = sum / total;
      }
    }
    return result;
  };
  return along(along(input));
}
