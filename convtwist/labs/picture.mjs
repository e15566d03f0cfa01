// A reader's own picture, in and out: chosen, dropped or pasted; it is decoded here and never leaves the page.
// Book: every chapter with a photograph.
import { plane } from "./core.mjs";
import { freshId, make } from "./widgets.mjs";

const LONGEST_SIDE = 256; // what a lab can redraw within one frame
const MOST_MEGAPIXELS = 64; // beyond this, decoding alone can freeze a phone
const MOST_MEGABYTES = 64;

/** Width and height as a file's header declares them, or null: read before any decoding is attempted. */
export function declaredSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = String.fromCharCode(...bytes.subarray(0, 512));
  const three = (at) => 1 + (view.getUint32(at, true) & 0xffffff);
  if (bytes.length >= 30) {
    if (text.startsWith("\u0089PNG")) return [view.getUint32(16), view.getUint32(20)];
    if (text.startsWith("GIF8")) return [view.getUint16(6, true), view.getUint16(8, true)];
    if (text.startsWith("BM")) return [18, 22].map((at) => Math.abs(view.getInt32(at, true)));
    const box = text.slice(4, 8) === "ftyp" ? text.indexOf("ispe") : 0; // of AVIF
    if (box > 0 && box + 16 <= bytes.length) return [view.getUint32(box + 8), view.getUint32(box + 12)];
    const kind = text.slice(8, 16); // of WebP
    if (kind === "WEBPVP8X") return [three(24), three(27)];
    if (kind === "WEBPVP8 ") return [26, 28].map((at) => view.getUint16(at, true) & 0x3fff);
    if (kind === "WEBPVP8L") return [view.getUint32(21, true), view.getUint32(21, true) >>> 14].map((side) => 1 + (side & 0x3fff));
  }
  if (!text.startsWith("\u00ff\u00d8")) return null;
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2); // the standard allows more than one 0xff
  }
  return null;
}

/** Does a header tell of more than one frame? */
const moves = (head) => /^GIF8.*NETSCAPE2\.0|^\u0089PNG.*acTL|^RIFF.{4}WEBPVP8X.{14}ANIM/s.test(String.fromCharCode(...head.subarray(0, 2048)));

/** Draw a decoded picture on white, at most 256 pixels on its longer side. */
export function reduce(source, width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = make("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Brightness as whole numbers from 0 (black) to 255 (white), with the weights Pillow and OpenCV use. */
export function greyPlane({ data, width, height }) {
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = Math.round(0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]);
  }
  return plane(height, width, grey);
}

/** Decode a file. Throws an Error whose message can be shown to the reader as it stands. */
export async function readPicture(file) {
  const name = file.name ? `\u201c${file.name}\u201d` : "That picture";
  if (file.size === 0) throw new Error(`${name} is empty. Choose another file.`);
  if (file.size > MOST_MEGABYTES * 2 ** 20) {
    throw new Error(`${name} is over ${MOST_MEGABYTES} MB. Save a smaller copy and try that.`);
  }
  if (/^(?!image\/)|svg/.test(file.type || "image/")) {
    throw new Error(`${name} is ${/svg/.test(file.type) ? "a drawing" : "not a picture"}. A JPEG, PNG, WebP or GIF file will do.`);
  }
  let head;
  try {
    // A camera may put large notes before the size, hence half a megabyte.
    head = new Uint8Array(await file.slice(0, 2 ** 19).arrayBuffer());
  } catch {
    throw new Error(`${name} could not be opened: it is a folder, or has moved. Choose another file.`);
  }
  const size = declaredSize(head);
  const megapixels = size ? (size[0] * size[1]) / 1e6 : 0;
  if (megapixels > MOST_MEGAPIXELS) {
    throw new Error(
      `${name} has ${Math.round(megapixels)} megapixels; this page stops at ${MOST_MEGAPIXELS} ` +
        "so that it does not freeze. Save a smaller copy and try that.",
    );
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${name} could not be read: it is damaged, or a kind this browser does not know. Try a JPEG or PNG.`);
  }
  const { width, height } = bitmap;
  const pixels = reduce(bitmap, width, height);
  bitmap.close();
  const shrunk = pixels.width < width ? `, reduced from ${width} \u00d7 ${height}` : "";
  return {
    pixels,
    message: `${name}${moves(head) ? ", its first frame," : ""} is shown at ${pixels.width} \u00d7 ${pixels.height}${shrunk}. It stays on this page.`,
  };
}

/** The picture that came with the lab, already decoded by the browser. */
export async function readStill(image) {
  await image.decode();
  return reduce(image, image.naturalWidth, image.naturalHeight);
}

/**
 * A button, a drop target (the whole lab) and paste; calls `onPicture(ImageData)`.
 * @param {Partial<import("./widgets.mjs").Lab>} lab
 * @param {(pixels: ImageData) => void} onPicture
 */
export function picturePicker({ host, whileShown }, onPicture) {
  const status = make("p", { class: "ct-note", role: "status" });
  const hint = make("span", { class: "ct-note", id: freshId() }, "or drop one here, or paste it");
  let latest = 0;
  const take = async (file) => {
    const turn = ++latest;
    try {
      const { pixels, message } = await readPicture(file);
      if (turn !== latest) return; // a later choice was quicker
      status.textContent = message;
      status.classList.remove("ct-fault");
      onPicture(pixels);
    } catch (error) {
      if (turn !== latest) return;
      status.textContent = error.message;
      status.classList.add("ct-fault");
    }
  };
  const chooser = make("input", {
    type: "file",
    accept: "image/*",
    class: "ct-file",
    "aria-describedby": hint.id,
    on: {
      change: () => {
        if (chooser.files[0]) take(chooser.files[0]);
        chooser.value = ""; // so that the same file can be chosen again
      },
    },
  });
  const label = make("label", { class: "ct-button" }, "Your own photograph", chooser);
  const hover = (on) => (event) => {
    event.preventDefault();
    host.classList.toggle("ct-drop", on);
  };
  host.addEventListener("dragover", hover(true));
  host.addEventListener("dragleave", hover(false));
  host.addEventListener("drop", (event) => {
    hover(false)(event);
    const file = event.dataTransfer.files[0];
    if (file) return void take(file);
    status.textContent = "That was a link or text, not a file, and this page fetches nothing. Save the picture, then drop the file.";
    status.classList.add("ct-fault");
  });
  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file) return; // pasted text belongs to the number fields
    event.preventDefault();
    event.stopPropagation();
    take(file);
  };
  host.addEventListener("paste", paste);
  // With nothing focused the page's body receives the paste: listen there while the pointer rests on the lab.
  whileShown((signal) => {
    host.addEventListener("pointerenter", () => document.addEventListener("paste", paste, { signal }), { signal });
    host.addEventListener("pointerleave", () => document.removeEventListener("paste", paste), { signal });
  });
  return make("div", { class: "ct-picker" }, make("div", { class: "ct-line" }, label, hint), status);
}

// Blue is negative, red positive, near-white zero: distinct to every kind of colour vision.
const COLOURS = (() => {
  const ends = [[33, 102, 172], [247, 247, 247], [178, 24, 43]];
  const table = new Uint32Array(511);
  for (let i = 0; i < 511; i++) {
    const share = Math.abs(i - 255) / 255;
    const end = ends[i < 255 ? 0 : 2];
    const [r, g, b] = end.map((value, channel) => Math.round(ends[1][channel] + share * (value - ends[1][channel])));
    table[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return table;
})();

const AMBER = 0xff00a4e6; // as in the book's figures

/** Paint a signed plane, zero in the middle of the colours, `scale` and all beyond at their ends; NaN is amber. */
export function paintSigned(canvas, values, scale) {
  if (canvas.width !== values.width) canvas.width = values.width;
  if (canvas.height !== values.height) canvas.height = values.height;
  const image = new ImageData(values.width, values.height);
  const words = new Uint32Array(image.data.buffer);
  const factor = scale > 1e-300 ? 255 / scale : 0; // below it the quotient overflows
  for (let i = 0; i < words.length; i++) {
    words[i] = COLOURS[Math.round(255 + Math.max(-255, Math.min(255, values.data[i] * factor)))] ?? AMBER;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Paint brightness from 0 to 255 as grey, in one word for each pixel: some labs do it at every step. */
export function paintGrey(canvas, { height, width, data }) {
  Object.assign(canvas, { height, width });
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i++) {
    words[i] = 0xff000000 | (0x010101 * Math.max(0, Math.min(255, Math.round(data[i]))));
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
