// Many small steps of a first-order operator, and the exact motion that they approach.
// Book: chapter 8. The same as convtwist.flow: a generator is [[px, py, p1], [qx, qy, q1]], which stands for
// (px x + py y + p1) dx + (qx x + qy y + q1) dy, with x and y in pixels from the middle, y downward.
import { plane } from "./core.mjs";
import { gradient } from "./operators.mjs";

export const GENERATORS = {
  dx: [[0, 0, 1], [0, 0, 0]],
  right: [[0, 0, -1], [0, 0, 0]],
  down: [[0, 0, 0], [0, 0, -1]],
  rotate: [[0, 1, 0], [-1, 0, 0]],
  zoom: [[-1, 0, 0], [0, -1, 0]],
  shear_x: [[0, -1, 0], [0, 0, 0]],
  shear_y: [[0, 0, 0], [-1, 0, 0]],
};

/**
 * The field of a generator, with (x, y) in pixels from the middle: `velocity(x, y)` is [P, Q]; `source(t)(x, y)` is where
 * exp(t L) fetches the value at (x, y); `fastest(picture)` are places of which one is the fastest.
 * @typedef {{velocity: (x: number, y: number) => number[], source: (t: number) => (x: number, y: number) => number[],
 *   fastest: (picture: {height: number, width: number}) => number[][]}} Field
 * @returns {Field}
 */
const linearField = (generator) => {
  const [[px, py, p1], [qx, qy, q1]] = generator;
  return {
    velocity: (x, y) => [px * x + py * y + p1, qx * x + qy * y + q1],
    source(t) {
      const [[xx, xy, x1], [yx, yy, y1]] = motion(generator, t);
      return (x, y) => [xx * x + xy * y + x1, yx * x + yy * y + y1];
    },
    fastest({ height, width }) {
      const [x, y] = [(width - 1) / 2, (height - 1) / 2];
      return [[-x, -y], [x, -y], [-x, y], [x, y]];
    },
  };
};

/** @returns {Field} */
export const asField = (generator) => (Array.isArray(generator) ? linearField(generator) : generator);

/**
 * A whirl: it turns by the angle t in the middle and less further out, by t (1 - r^2 / R^2)^2, and beyond R, half the
 * shorter side, by nothing. Its P and Q are not linear in x and y.
 * @returns {Field}
 */
export function whirl({ height, width }) {
  const reach = Math.min(height, width) / 2;
  const strength = (x, y) => Math.max(0, 1 - (x * x + y * y) / reach ** 2) ** 2;
  return {
    velocity(x, y) {
      const share = strength(x, y);
      return [share * y, -share * x];
    },
    source: (t) => (x, y) => {
      const angle = t * strength(x, y); // the same all along a circle
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      return [cos * x + sin * y, cos * y - sin * x];
    },
    fastest: () => [[0, reach / Math.sqrt(5)]], // where r (1 - r^2 / R^2)^2 is largest
  };
}

/** Where the point (x, y) of the picture passes while exp(t L) carries it along, as pieces + 1 places. */
export function trail(generator, t, point, pieces = 48) {
  const carried = asField(generator).source(-t / pieces); // the same for each piece of the way
  const places = [point];
  for (let i = 0; i < pieces; i++) {
    const [x, y] = places[i];
    places.push(carried(x, y));
  }
  return places;
}

/** Return `step(u)`, which moves the plane `u` on by time h, in place; "euler" or "rk4". The border is repeated. */
export function stepper({ height, width }, generator, h, method = "euler") {
  const size = height * width;
  const slopes = [plane(height, width), plane(height, width)];
  const [P, Q] = [new Float64Array(size), new Float64Array(size)];
  const { velocity } = asField(generator);
  for (let i = 0; i < size; i++) {
    [P[i], Q[i]] = velocity((i % width) - (width - 1) / 2, Math.floor(i / width) - (height - 1) / 2);
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
 * exp(t L) u by looking up where every pixel comes from, bilinear, zeros beyond the border; a picture with a formula,
 * `look(x, y)`, is looked up in that. `known`, if given, takes a 1 for each pixel that comes from inside the picture, else a 0.
 */
export function exactWarp(input, generator, t, known = null, look = null) {
  const { height, width, data } = input;
  const result = plane(height, width);
  const source = asField(generator).source(t);
  const middleX = (width - 1) / 2;
  const middleY = (height - 1) / 2;
  const at = (row, column) => (row >= 0 && row < height && column >= 0 && column < width ? data[row * width + column] : 0);
  for (let i = 0, y = -middleY; y <= middleY; y++) {
    for (let x = -middleX; x <= middleX; x++, i++) {
      const [fromX, fromY] = source(x, y);
      const column = fromX + middleX;
      const row = fromY + middleY;
      const inside = column >= 0 && column <= width - 1 && row >= 0 && row <= height - 1;
      if (known) known[i] = inside ? 1 : 0;
      if (look && inside) {
        result.data[i] = look(fromX, fromY);
        continue;
      }
      const left = Math.floor(column);
      const top = Math.floor(row);
      const a = column - left;
      const b = row - top;
      result.data[i] =
        (1 - b) * ((1 - a) * at(top, left) + a * at(top, left + 1)) + b * ((1 - a) * at(top + 1, left) + a * at(top + 1, left + 1));
    }
  }
  return result;
}

const WHITE = 255;

/**
 * The error inside 0.7 of the radius, where no border has been seen yet, as a share of the error of doing nothing: that
 * of `start`. Without a motion to speak of it is null.
 */
export function shareOfNothing(result, start, expected) {
  const { height, width } = expected;
  const reach = ((0.7 * Math.min(height, width)) / 2) ** 2;
  let wrong = 0, nothing = 0;
  for (let i = 0, y = (1 - height) / 2; 2 * y < height; y++) {
    for (let x = (1 - width) / 2; 2 * x < width; x++, i++) {
      if (x * x + y * y >= reach) continue;
      wrong += (result.data[i] - expected.data[i]) ** 2;
      nothing += (start.data[i] - expected.data[i]) ** 2;
    }
  }
  return Math.sqrt(nothing) < 1e-3 * WHITE ? null : Math.sqrt(wrong / nothing);
}

/** The share of values darker than black or brighter than white. */
export function outOfRange({ data }) {
  let count = 0;
  for (const value of data) count += value < -1e-4 * WHITE || value > 1.0001 * WHITE ? 1 : 0;
  return count / data.length;
}

/** How far the farthest pixel moves in time h, in pixels. */
export function longestStep(picture, generator, h) {
  const field = asField(generator);
  return Math.abs(h) * Math.max(...field.fastest(picture).map(([x, y]) => Math.hypot(...field.velocity(x, y))));
}

/**
 * The largest number by which P dx + Q dy (Sobel over 8), without its i, multiplies a wave whose larger frequency is
 * `omega`: the largest of P sin wx (1 + cos wy) / 2 + Q sin wy (1 + cos wx) / 2.
 */
export function waveFactor(P, Q, omega) {
  const along = (p, q) => {
    // With the larger frequency along p's axis this is a + a cos w + b sin w in the other frequency, w.
    const [a, b] = [(p * Math.sin(omega)) / 2, (q * (1 + Math.cos(omega))) / 2];
    const w = Math.min(omega, Math.atan2(b, a));
    return a + a * Math.cos(w) + b * Math.sin(w);
  };
  return Math.max(along(Math.abs(P), Math.abs(Q)), along(Math.abs(Q), Math.abs(P)));
}

/** The place of the picture where waves are multiplied most: {P, Q, factor}, for time 1. */
export function steepest(picture, generator) {
  const field = asField(generator);
  const found = field.fastest(picture).map(([x, y]) => {
    const [P, Q] = field.velocity(x, y);
    return { P, Q, factor: Math.max(...Array.from({ length: 721 }, (_, i) => waveFactor(P, Q, (Math.PI * i) / 720))) };
  });
  return found.reduce((best, one) => (one.factor > best.factor ? one : best));
}

/** By how much one step multiplies the height of a wave that h L multiplies by i s. */
export const waveGrowth = (s, method) => Math.sqrt(method === "euler" ? 1 + s * s : 1 - s ** 6 / 72 + s ** 8 / 576);

/** The most by which one step can multiply a wave that h L multiplies by up to i s, coefficients held fixed. */
export const growth = (s, method = "euler") => (method === "rk4" && s <= Math.sqrt(8) ? 1 : waveGrowth(s, method));

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
