// The similarity twist a (X dx + Y dy) + b (Y dx - X dy) about a centre of one's own, in numbers.
// Book: chapter 9. The same as convtwist's ConvTwist2d with operators="similarity" and padding_mode="replicate".
import { grid, plane } from "./core.mjs";
import { gradient } from "./operators.mjs";

/** What the layer adds to the picture: X and Y run from the centre (cx, cy), in halves of the longer side. */
export function twistTerm(input, { a, b, cx, cy }) {
  const { height, width } = input;
  const { x, y } = grid(height, width);
  const [dx, dy] = gradient(input, { repeat: true });
  const result = plane(height, width);
  for (let row = 0, i = 0; row < height; row++) {
    const Y = y[row] - cy;
    for (let column = 0; column < width; column++, i++) {
      const X = x[column] - cx;
      result.data[i] = (a * X + b * Y) * dx.data[i] + (a * Y - b * X) * dy.data[i];
    }
  }
  return result;
}

/** The same term as a flow's generator, with x and y in pixels from the middle: [[px, py, p1], [qx, qy, q1]]. */
export function twistGenerator({ height, width }, { a, b, cx, cy }) {
  const [zoom, turn] = perStep({ height, width }, { a, b });
  return [[zoom, turn, -(a * cx + b * cy)], [-turn, zoom, b * cx - a * cy]];
}

/** Of one step: by what share the picture shrinks, and the clockwise turn in radians: 2a/w and 2b/w, w the longer side. */
export const perStep = ({ height, width }, { a, b }) => [a, b].map((value) => (2 * value) / Math.max(height, width));

const SOBEL_X = [-1, 0, 1, -2, 0, 2, -1, 0, 1].map((weight) => weight / 8);
const SOBEL_Y = [-1, -2, -1, 0, 0, 0, 1, 2, 1].map((weight) => weight / 8);

/** Kx = a dx - b dy and Ky = b dx + a dy: what X and Y multiply. */
export const twistKernels = ({ a, b }) => [SOBEL_X.map((x, i) => a * x - b * SOBEL_Y[i]), SOBEL_X.map((x, i) => b * x + a * SOBEL_Y[i])];

/** W' = W - cx Kx - cy Ky, with W the identity: the ordinary kernel that makes a centre unnecessary. */
export function absorbed({ a, b, cx, cy }) {
  const [kx, ky] = twistKernels({ a, b });
  return kx.map((weight, i) => (i === 4 ? 1 : 0) - cx * weight - cy * ky[i]);
}
