// What stands beside a word, for those who see it. Colour comes from the style sheet.
import { drawing } from "./element.js";

const PATHS = {
  ok: "M5 10.5l3.3 3.3L15 6.8",
  warning: "M10 5v6M10 14.3v.4",
  failed: "M6 6l8 8M14 6l-8 8",
  waiting: "M10 5.5V10l3 2",
  skipped: "M6 10h8",
  store: "M10 15V5M6 9l4-4 4 4",
  retrieve: "M10 5v10M6 11l4 4 4-4",
};

/** One of them; nothing that a screen reader speaks of. */
export function icon(name) {
  return drawing(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    drawing("circle", { cx: 10, cy: 10, r: 9 }),
    drawing("path", { d: PATHS[name] ?? PATHS.waiting }),
  );
}
