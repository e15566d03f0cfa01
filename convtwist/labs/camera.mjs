// The reader's camera as a picture that keeps changing; it stays on this page, as every picture does.
// Book: chapter 6.
import { reduce } from "./picture.mjs";
import { button, make } from "./widgets.mjs";

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera. A photograph will do as well.",
  NotFoundError: "No camera was found. A photograph will do as well.",
};

/**
 * A button that starts and stops the camera, if the browser has one to offer: {element, stop()}. Nothing is asked before
 * it is pressed. The camera stops when the lab leaves the page and when the page is hidden.
 * @param {Partial<import("./widgets.mjs").Lab>} lab
 * @param {(pixels: ImageData) => void} onPicture
 */
export function cameraButton({ whileShown }, onPicture) {
  if (!navigator.mediaDevices?.getUserMedia) return { element: null, stop() {} };
  const video = make("video", { muted: "", playsinline: "" });
  const status = make("p", { class: "ct-note", role: "status" });
  let stream = null, wanted = 0;
  const stop = () => {
    wanted++;
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
    toggle.textContent = "Use the camera";
  };
  const frame = (turn) => {
    if (turn !== wanted) return;
    if (video.readyState >= 2) onPicture(reduce(video, video.videoWidth, video.videoHeight));
    requestAnimationFrame(() => frame(turn));
  };
  const start = async () => {
    const turn = ++wanted;
    status.textContent = "";
    toggle.textContent = "Stop the camera";
    try {
      const found = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } } });
      if (turn !== wanted) return void found.getTracks().forEach((track) => track.stop());
      video.srcObject = stream = found;
      video.muted = true;
      await video.play();
      frame(turn);
    } catch (error) {
      if (turn !== wanted) return;
      stop();
      status.textContent = REASONS[error.name] ?? "The camera could not be started. A photograph will do as well.";
    }
  };
  const toggle = button("Use the camera", () => (toggle.textContent === "Use the camera" ? start() : stop()));
  whileShown((signal) => {
    document.addEventListener("visibilitychange", () => document.hidden && stop(), { signal });
    signal.addEventListener("abort", stop);
  });
  return { element: make("div", { class: "ct-camera" }, toggle, status), stop };
}
