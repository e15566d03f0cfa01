// The receptive field of a stack of layers along one axis: size, step and place. Nothing here touches the page.
// Book: chapter 3. Layers are {kernel, stride, dilation, padding}; the formulas are those of convtwist.arithmetic.
import { convolutionSize, kernelSpan } from "./core.mjs";

/**
 * What each layer adds, first layer first: {size, field, step, first, added}: the map's size, how many input pixels one of
 * its cells sees, how many input pixels lie between neighbours, the first pixel that cell 0 sees (negative in the
 * padding), and how much the layer adds to the field. A size below 1 means that the map is used up.
 */
export function fieldStages(input, layers) {
  const stages = [];
  let [size, field, step, first] = [input, 1, 1, 0];
  for (const { kernel, stride, dilation, padding } of layers) {
    const added = (kernelSpan(kernel, dilation) - 1) * step;
    field += added;
    first -= padding * step;
    step *= stride;
    size = size < 1 ? 0 : Math.max(0, convolutionSize(size, kernel, stride, padding, dilation));
    stages.push({ size, field, step, first, added });
  }
  return stages;
}

/** First and last input pixel that cell `cell` of a stage sees; both may lie outside the picture. */
export const seenBy = ({ field, step, first }, cell) => [first + cell * step, first + cell * step + field - 1];

/** r = 1 + (3 - 1) x 1 x 1 + ..., with the numbers of the layers. */
export function fieldFormula(layers, stages) {
  const terms = layers.map(({ kernel, dilation }, i) => `(${kernel} \u2212 1) \u00d7 ${dilation} \u00d7 ${i ? stages[i - 1].step : 1}`);
  return `field = 1 + ${terms.join(" + ")} = ${stages.at(-1).field}`;
}
