// Arrows over a picture: where a flow moves each point.
// Book: chapters 8 and 9.

/** An SVG drawing over a picture of this size, with its origin in the middle. */
export const overlay = ({ height, width }, content) =>
  `<svg viewBox="${-width / 2} ${-height / 2} ${width} ${height}" aria-hidden="true">${content}</svg>`;

/**
 * Arrows of the motion that the eye sees under a generator [[px, py, p1], [qx, qy, q1]]: against (P, Q), since
 * P dx + Q dy fetches each value from where (P, Q) points. `sign` turns them round for a negative time.
 * @param {{height: number, width: number}} picture
 * @param {number[][]} generator
 */
export function arrows({ height, width }, generator, sign = 1) {
  const [[px, py, p1], [qx, qy, q1]] = generator;
  const spacing = Math.max(height, width) / 10;
  const places = [];
  for (let y = -Math.floor(height / 2 / spacing) * spacing; y <= height / 2; y += spacing) {
    for (let x = -Math.floor(width / 2 / spacing) * spacing; x <= width / 2; x += spacing) {
      places.push([x, y, -sign * (px * x + py * y + p1), -sign * (qx * x + qy * y + q1)]);
    }
  }
  const fastest = Math.max(...places.map(([, , u, v]) => Math.hypot(u, v)), 1e-12);
  const path = places.map(([x, y, u, v]) => {
    const [ex, ey] = [(u / fastest) * spacing * 0.85, (v / fastest) * spacing * 0.85];
    const length = Math.hypot(ex, ey);
    if (length < spacing * 0.06) return `M${x - 0.5} ${y}h1`;
    const head = Math.min(spacing * 0.2, length / 2) / length;
    const [cx, cy, tx, ty] = [ex * head, ey * head, x + ex / 2, y + ey / 2];
    return `M${x - ex / 2} ${y - ey / 2}L${tx} ${ty}M${tx - cx - cy} ${ty - cy + cx}L${tx} ${ty}L${tx - cx + cy} ${ty - cy - cx}`;
  }).join("").replace(/\d+\.\d+/g, (number) => Number(number).toFixed(1));
  const stroke = (colour, thick) => `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${spacing * thick}" stroke-linecap="round"/>`;
  return overlay({ height, width }, stroke("#000", 0.13) + stroke("#ffd24a", 0.06));
}
