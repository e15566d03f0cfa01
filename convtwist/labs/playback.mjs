// Steps applied to a picture again and again: one at a time, as a film, or to the end while the page stays alive.
// Book: chapters 8 and 9.
import { magnitude, plane } from "./core.mjs";
import { button, make } from "./widgets.mjs";

const HOPELESS = 1e30; // beyond this the picture is lost, and soon after the numbers overflow
const SLICE = 12; // milliseconds of work at a time
const PATIENCE = 400; // milliseconds that a change of settings waits for the run under way, so that a drag shows something
const FILM = 200; // frames of a film, at most

/**
 * `ready()` tells whether there is a picture, and `begin()` returns {start, step, steps, ...} for the settings as they are;
 * `draw(run)` shows run = {u, done, halted, start, steps, ...}, and `working(run)` what changes within a long run. `said` is the paragraph
 * that must not be read aloud while a film plays. Returns {element(...more), run, changed(), toStart(), play()}.
 */
export function playback({ root, what, once, ready, begin, draw, working = (_run) => {}, said }) {
  const run = { u: null, start: null, step: null, steps: 0, done: 0, halted: false };
  let mode = "rest"; // or "run", to the end, or "film"
  let busy = false, stale = false, began = 0;

  const finished = () => run.halted || run.done >= run.steps;
  const rewind = () => {
    const settings = begin();
    const { height, width, data } = settings.start;
    stale = false;
    began = performance.now();
    Object.assign(run, settings, { u: plane(height, width, data.slice()), done: 0, halted: false });
  };
  const advance = () => {
    run.step(run.u);
    run.done++;
    if (!(magnitude(run.u) < HOPELESS)) run.halted = true;
  };
  const enter = (next) => {
    mode = next;
    film.textContent = mode === "film" ? "Pause" : "Play";
    said.setAttribute("aria-live", mode === "film" ? "off" : "polite");
  };
  const frame = () => {
    if (!root.isConnected) enter("rest");
    if (mode === "rest") return void (busy = false);
    const until = performance.now() + SLICE;
    for (let left = mode === "film" ? Math.max(1, Math.round(run.steps / FILM)) : Infinity; left > 0 && !finished(); left--) {
      advance();
      if (performance.now() > until) break;
    }
    if (mode === "film" || finished()) show();
    else working(run);
    if (finished()) {
      if (stale) rewind();
      else enter("rest");
    }
    requestAnimationFrame(frame);
  };
  const go = (next) => {
    enter(next);
    if (!busy) requestAnimationFrame(frame);
    busy = true;
  };
  const show = () => {
    draw(run);
    for (const one of [single, toEnd]) one.setAttribute("aria-disabled", String(finished()));
  };
  const whenReady = (act) => () => ready() && act();
  const rest = () => {
    enter("rest");
    if (stale) rewind();
  };

  const toStart = whenReady(() => {
    enter("rest");
    rewind();
    show();
  });
  const play = whenReady(() => {
    if (mode === "film") {
      rest();
      return show();
    }
    if (finished() || stale) rewind();
    go("film");
  });
  const film = button("Play", play, "ct-play");
  const single = button(once, whenReady(() => {
    rest();
    if (!finished()) advance();
    show();
  }));
  const toEnd = button("To the end", whenReady(() => {
    rest();
    go("run");
  }));
  return {
    element: (...more) => make("div", { class: "ct-line", role: "group", "aria-label": what },
      film, single, toEnd, button("Back to the start", toStart), ...more),
    run,
    toStart,
    play,
    /** The settings are others now: start again and run to the end. */
    changed: whenReady(() => {
      if (mode === "run" && performance.now() - began < PATIENCE) stale = true;
      else rewind();
      go("run");
    }),
  };
}
