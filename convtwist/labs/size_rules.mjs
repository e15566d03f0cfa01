// One axis of a convolution, a transposed convolution or a pooling window: its size, its formula, its connections.
// Book: chapters 3 to 5. The rules and their wording are PyTorch's; nothing here touches the page.
import { convolutionSize, kernelSpan, poolingSize, transposedSize } from "./core.mjs";

const fault = (fields, text, rule) => ({ fault: { fields, text, rule } });

/**
 * What PyTorch would say to this axis, or its size.
 * `axis`: {operation, input, kernel, stride, padding, dilation, outputPadding, ceilMode}.
 * Returns {size} or {fault: {fields, text, rule}}.
 */
export function axisSize(axis) {
  const { operation, input, kernel, stride, padding, dilation, outputPadding, ceilMode } = axis;
  const span = kernelSpan(kernel, dilation);
  if (operation === "transposed") {
    if (outputPadding >= Math.max(stride, dilation)) {
      return fault(
        ["outputPadding"],
        `Output padding ${outputPadding} is too much for stride ${stride} and dilation ${dilation}: ` +
          `use at most ${Math.max(stride, dilation) - 1}.`,
        "output padding must be smaller than either stride or dilation",
      );
    }
    const size = transposedSize(input, kernel, stride, padding, dilation, outputPadding);
    if (size < 1) {
      return fault(
        ["padding"],
        `Padding ${padding} cuts ${2 * padding} cells from an output of ${size + 2 * padding}: ` +
          `use at most ${Math.floor((size + 2 * padding - 1) / 2)}.`,
        "the calculated output size is too small",
      );
    }
    return { size };
  }
  // One of PyTorch's two checks lets the dilated span count; the other, which decides, only the taps.
  if (operation === "pooling" && padding > Math.floor(kernel / 2)) {
    return fault(
      ["padding"],
      `Padding ${padding} is over half of the kernel\u2019s ${kernel}: use at most ${Math.floor(kernel / 2)}.`,
      "pad should be smaller than or equal to half of kernel size",
    );
  }
  const pooled = poolingSize(input, kernel, stride, padding, dilation, ceilMode);
  // Rounding up lets a pooling window hang over the end, if it falls short by less than a stride.
  if (operation === "pooling" ? pooled < 1 : span > input + 2 * padding) {
    const lacking = span - input;
    const overhang = operation === "pooling" && ceilMode ? stride - 1 : 0;
    const spread = dilation > 1 ? ` (${dilation} \u00d7 (${kernel} \u2212 1) + 1)` : "";
    const more = operation === "pooling" ? "" : `, or a padding of at least ${Math.ceil(lacking / 2)}`;
    return fault(
      ["kernel"],
      `The kernel spans ${span} cells${spread}, the padded input has only ${input + 2 * padding}: ` +
        `use a smaller kernel${dilation > 1 ? " or dilation" : ""}, an input of at least ${span - 2 * padding - overhang}${more}.`,
      operation === "pooling" ? "the output size is too small" : "kernel size can't be greater than actual input size",
    );
  }
  return { size: operation === "pooling" ? pooled : convolutionSize(input, kernel, stride, padding, dilation) };
}

/** The general formula and the same with its numbers, as lines of text. */
export function formulaLines(axis) {
  const { operation, input: i, kernel: k, stride: s, padding: p, dilation: d, outputPadding: o, ceilMode } = axis;
  const { size } = axisSize(axis);
  if (operation === "transposed") {
    const parts = [(i - 1) * s, 2 * p, d * (k - 1), o];
    return [
      "(input \u2212 1) \u00d7 stride \u2212 2 \u00d7 padding + dilation \u00d7 (kernel \u2212 1) + output padding + 1",
      `(${i} \u2212 1) \u00d7 ${s} \u2212 2 \u00d7 ${p} + ${d} \u00d7 (${k} \u2212 1) + ${o} + 1`,
      `${parts[0]} \u2212 ${parts[1]} + ${parts[2]} + ${parts[3]} + 1 = ${size}`,
    ];
  }
  const up = operation === "pooling" && ceilMode;
  const [open, close] = up ? ["\u2308", "\u2309"] : ["\u230a", "\u230b"];
  const room = i + 2 * p - kernelSpan(k, d);
  const quotient = room / s;
  const rounded = up ? Math.ceil(quotient) : Math.floor(quotient);
  const decimal = Number.isInteger(quotient) ? "" : `${open}${quotient.toFixed(2).replace(/0$/, "")}${close} + 1 = `;
  const dropped = rounded + 1 > size ? `, less one window that would begin in the padding: ${size}` : "";
  return [
    `${open}(input + 2 \u00d7 padding \u2212 dilation \u00d7 (kernel \u2212 1) \u2212 1) / stride${close} + 1`,
    `${open}(${i} + 2 \u00d7 ${p} \u2212 ${d} \u00d7 (${k} \u2212 1) \u2212 1) / ${s}${close} + 1`,
    `${open}${room} / ${s}${close} + 1 = ${decimal}${rounded} + 1 = ${rounded + 1}${dropped}`,
  ];
}

/**
 * Which input cells belong to which output cells along one axis. Both are numbered from the first real cell, so
 * padding has negative numbers, and numbers past the end.
 * Returns {reads, feeds, input: [from, to], output: [from, to]}: two functions and what there is to draw.
 */
export function connections(axis) {
  const { operation, input, kernel, stride, padding, dilation } = axis;
  const { size } = axisSize(axis);
  const taps = Array.from({ length: kernel }, (_, tap) => tap * dilation - padding);
  const forward = (cell) => taps.map((offset) => cell * stride + offset);
  const backward = (cell, count) =>
    taps.map((offset) => (cell - offset) / stride).filter((from) => Number.isInteger(from) && from >= 0 && from < count).reverse();
  if (operation === "transposed") {
    const end = (input - 1) * stride + kernelSpan(kernel, dilation) - 1 - padding;
    return {
      reads: (cell) => backward(cell, input),
      feeds: forward,
      input: [0, input - 1],
      output: [-padding, Math.max(end, size - 1)],
    };
  }
  const end = (size - 1) * stride + kernelSpan(kernel, dilation) - 1 - padding;
  return {
    reads: forward,
    feeds: (cell) => backward(cell, size),
    input: [-padding, Math.max(end, input + padding - 1)],
    output: [0, size - 1],
  };
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** How many real cells along an axis nothing reads (or, transposed, nothing feeds), without visiting each of them. */
export function idleCells(axis) {
  const { operation, input, kernel, stride, padding, dilation } = axis;
  const { size } = axisSize(axis);
  const [places, count] = operation === "transposed" ? [input, size] : [size, input];
  // A cell is met if cell + padding = place * stride + tap * dilation. Taps `period` apart differ by `leap` strides.
  const common = gcd(stride, dilation);
  const [period, leap] = [stride / common, dilation / common];
  let met = 0;
  for (let tap = 0; tap < Math.min(kernel, period); tap++) {
    const end = leap * Math.floor((kernel - 1 - tap) / period) + places;
    // How many of the strides place + leap * turn, each counted once, lie below x?
    const below = (x) => {
      const most = Math.min(Math.max(x, 0), end);
      return places >= leap ? most : Math.floor(most / leap) * places + Math.min(places, most % leap);
    };
    const from = padding - tap * dilation;
    met += below(Math.ceil((from + count) / stride)) - below(Math.ceil(from / stride));
  }
  return count - met;
}
