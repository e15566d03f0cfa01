// Drawings over a picture: arrows where a flow moves each point, the path of one point, and a ring to drag.
// Book: chapters 8 and 9.
import { asField } from "./warp.mjs";
import { arrowTarget, freshId, make } from "./widgets.mjs";

/** An SVG drawing over a picture of this size, with its origin in the middle. */
export const overlay = ({ height, width }, content) =>
  `<svg viewBox="${-width / 2} ${-height / 2} ${width} ${height}" aria-hidden="true">${content}</svg>`;

/**
 * Arrows of the motion that the eye sees under a generator, its six numbers or a field: against (P, Q), since
 * P dx + Q dy fetches each value from where (P, Q) points. `sign` turns them round for a negative time.
 * @param {{height: number, width: number}} picture
 * @param {number[][] | import("./warp.mjs").Field} generator
 */
export function arrows({ height, width }, generator, sign = 1) {
  const { velocity } = asField(generator);
  const spacing = Math.max(height, width) / 10;
  const places = [];
  for (let y = -Math.floor(height / 2 / spacing) * spacing; y <= height / 2; y += spacing) {
    for (let x = -Math.floor(width / 2 / spacing) * spacing; x <= width / 2; x += spacing) {
      const [P, Q] = velocity(x, y);
      places.push([x, y, -sign * P, -sign * Q]);
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

/** The path of a point as part of an `overlay`, with a dot at its end; `thick` is in pixels of the picture. */
export function pathOf(places, thick) {
  const short = (value) => Number(value.toFixed(1));
  const line = places.map(([x, y], i) => `${i ? "L" : "M"}${short(x)} ${short(y)}`).join("");
  const [x, y] = places.at(-1).map(short);
  const stroke = (colour, width) => `<path class="ct-trail" d="${line}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round"/>`;
  return `${stroke("#000", 2 * thick)}${stroke("#fff", thick)}<circle class="ct-end" cx="${x}" cy="${y}" r="${2 * thick}" fill="#fff" stroke="#000" stroke-width="${thick / 2}"/>`;
}

export const RING_STYLE = `
.ct-handle { position: absolute; width: 2.75rem; height: 2.75rem; transform: translate(-50%, -50%); border-radius: 50%; cursor: grab; touch-action: none; background: radial-gradient(circle, #fff 0 0.2rem, #000 0.2rem 0.32rem, transparent 0.32rem 0.72rem, #000 0.72rem 0.8rem, #fff 0.8rem 0.98rem, #000 0.98rem 1.06rem, transparent 1.06rem); }
.ct-handle:active { cursor: grabbing; }
`;

/**
 * A picture with a ring to drag: {photo, help, canvas, over, show()}. `size()` is the picture's {height, width}, `place()`
 * the ring's [x, y] from the top left corner, in its pixels; `moveTo(x, y)` gets where the reader puts it.
 */
export function ringPicker({ picture, label, purpose, size, place, moveTo }) {
  const canvas = make("canvas", { role: "img", "aria-label": picture });
  const over = make("div");
  const handle = make("span", { class: "ct-handle" });
  const put = (x, y) => moveTo(Math.min(size().width, Math.max(0, x)), Math.min(size().height, Math.max(0, y)));
  const follow = (event) => {
    const box = canvas.getBoundingClientRect();
    put(((event.clientX - box.left) / box.width) * size().width, ((event.clientY - box.top) / box.height) * size().height);
  };
  const help = make("p", { class: "ct-note", id: freshId() }, `Drag the ring, tap where ${purpose} should be, or use the arrow keys (with Shift for longer steps).`);
  const photo = make(
    "div",
    {
      class: "ct-photo ct-over", tabindex: "0", role: "application", "aria-label": label, "aria-describedby": help.id,
      on: {
        click: follow,
        pointerdown(event) {
          if (event.target !== handle && event.pointerType !== "mouse") return; // a finger beside the ring scrolls the page
          photo.setPointerCapture(event.pointerId);
          follow(event);
        },
        pointermove: (event) => photo.hasPointerCapture(event.pointerId) && follow(event),
        keydown(event) {
          const { height, width } = size();
          const [x, y] = place();
          const target = arrowTarget(event, y, x, height + 1, width + 1, event.shiftKey ? 16 : 4);
          if (!target) return;
          event.preventDefault();
          put(target[1], target[0]);
        },
      },
    },
    canvas, over, handle,
  );
  return {
    photo, help, canvas, over,
    show() {
      const [x, y] = place();
      handle.style.left = `${(100 * x) / size().width}%`;
      handle.style.top = `${(100 * y) / size().height}%`;
    },
  };
}
