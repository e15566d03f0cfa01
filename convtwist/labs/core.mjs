// The numbers behind the page labs: cross-correlation, coordinates and output sizes.
// Book: chapters 1, 3 and 5. Nothing here touches the page, so a browser test can compare it with PyTorch.
// A "plane" is {height, width, data}, with data a typed array in row order.

export const pair = (value) => (Array.isArray(value) ? value : [value, value]);

/**
 * @typedef {{height: number, width: number, data: Float64Array | Float32Array | Uint8Array}} Plane
 * @param {number} height
 * @param {number} width
 * @param {Float64Array | Float32Array | Uint8Array} data
 * @returns {Plane}
 */
export const plane = (height, width, data = new Float64Array(height * width)) => ({ height, width, data });

export const planeFromRows = (rows) => plane(rows.length, rows[0].length, Float64Array.from(rows.flat()));

/** Cells that a kernel of `kernel` taps covers once dilation has spread them out. */
export const kernelSpan = (kernel, dilation = 1) => dilation * (kernel - 1) + 1;

export const convolutionSize = (input, kernel, stride = 1, padding = 0, dilation = 1) =>
  Math.floor((input + 2 * padding - kernelSpan(kernel, dilation)) / stride) + 1;

export const transposedSize = (input, kernel, stride = 1, padding = 0, dilation = 1, outputPadding = 0) =>
  (input - 1) * stride - 2 * padding + kernelSpan(kernel, dilation) + outputPadding;

/** Pooling rounds up on request, but PyTorch drops a last window that would begin in the right padding. */
export function poolingSize(input, kernel, stride = 1, padding = 0, dilation = 1, ceilMode = false) {
  const round = ceilMode ? Math.ceil : Math.floor;
  const size = round((input + 2 * padding - kernelSpan(kernel, dilation)) / stride) + 1;
  return ceilMode && (size - 1) * stride >= input + padding ? size - 1 : size;
}

/** Cross-correlation of one plane with one kernel; `flip` turns the kernel by 180 degrees (true convolution). */
export function correlate(input, kernel, { stride = 1, padding = 0, dilation = 1, flip = false } = {}) {
  const [strideY, strideX] = pair(stride);
  const [padY, padX] = pair(padding);
  const [dilateY, dilateX] = pair(dilation);
  const height = convolutionSize(input.height, kernel.height, strideY, padY, dilateY);
  const width = convolutionSize(input.width, kernel.width, strideX, padX, dilateX);
  if (height < 1 || width < 1) throw new RangeError("the kernel is larger than the padded input");
  const sums = new Float64Array(height * width);
  const taps = kernel.data.length;
  // One tap at a time over whole rows: the inner loop is then a plain multiply and add.
  for (let tap = 0; tap < taps; tap++) {
    const weight = kernel.data[flip ? taps - 1 - tap : tap];
    if (weight === 0) continue;
    const offsetY = Math.floor(tap / kernel.width) * dilateY - padY;
    const offsetX = (tap % kernel.width) * dilateX - padX;
    const first = Math.max(0, Math.ceil(-offsetX / strideX));
    const last = Math.min(width - 1, Math.floor((input.width - 1 - offsetX) / strideX));
    for (let row = 0; row < height; row++) {
      const y = row * strideY + offsetY;
      if (y < 0 || y >= input.height) continue;
      const from = y * input.width + offsetX;
      const to = row * width;
      for (let column = first; column <= last; column++) {
        sums[to + column] += weight * input.data[from + column * strideX];
      }
    }
  }
  const keepsPrecision = input.data instanceof Float64Array;
  return plane(height, width, keepsPrecision ? sums : Float32Array.from(sums));
}

/** Pixel-centred coordinates in units of half the longer side; y grows downward. */
export function grid(height, width) {
  const scale = Math.max(height, width);
  return {
    x: Float64Array.from({ length: width }, (_, j) => (2 * j + 1 - width) / scale),
    y: Float64Array.from({ length: height }, (_, i) => (2 * i + 1 - height) / scale),
  };
}

/** Largest magnitude in a plane: the ends of a colour scale centred on zero. */
export function magnitude(input) {
  let largest = 0;
  for (const value of input.data) largest = Math.max(largest, Math.abs(value));
  return largest;
}
