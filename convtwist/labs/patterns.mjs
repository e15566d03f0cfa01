// Pictures with a formula, which show what happens to one frequency: a spot, stripes, a patch of them, a zone plate.
// Book: chapter 8. x and y are counted in pixels from the middle, values from 0, black, to 255, white.
import { plane } from "./core.mjs";

const SIDE = 128;
const HALF = 127.5;

export const PATTERNS = {
  spot: { text: "a spot", look: (x, y) => 255 * Math.exp(-((x - 24) ** 2 + y ** 2) / 72) },
  stripes: { text: "stripes of period 16", look: (x, _y) => HALF + HALF * Math.cos((2 * Math.PI * x) / 16) },
  fine: { text: "stripes of period 4", look: (x, _y) => HALF + HALF * Math.cos((2 * Math.PI * x) / 4) },
  packet: {
    text: "a patch of stripes of period 2.7",
    look: (x, y) => HALF + HALF * Math.exp(-(x ** 2 + y ** 2) / 450) * Math.cos(2.3 * x),
  },
  // The frequency grows evenly from the middle, to pi at the middle of each side.
  zone: { text: "a zone plate", look: (x, y) => HALF + HALF * Math.cos((Math.PI * (x ** 2 + y ** 2)) / SIDE) },
};

/** The picture of a name in PATTERNS, 128 pixels square. */
export function pattern(name) {
  const at = (i) => i - (SIDE - 1) / 2;
  const { look } = PATTERNS[name];
  return plane(SIDE, SIDE, Float64Array.from({ length: SIDE * SIDE }, (_, i) => look(at(i % SIDE), at(Math.floor(i / SIDE)))));
}
