// The connection check of an account: its steps, as they finish.
import { element, show } from "./element.js";
import { icon } from "./icons.js";
import { moment, shortDuration } from "./words.js";

const NAMES = {
  credential: "Credential",
  proxy: "Proxy",
  dns: "Name",
  tcp: "Connection",
  tls: "Certificate",
  clock: "Clock",
  token: "Token",
  store: "DICOM store",
  write: "Write",
  speed: "Speed",
};
const OUTCOMES = {
  ok: ["ok", "OK"],
  warning: ["warning", "Warning"],
  failed: ["failed", "Failed"],
  skipped: ["skipped", "Skipped"],
};

/** What the newest check has found. */
export function checkReport() {
  const title = element("summary");
  const steps = element("ol", { class: "steps" });
  const node = element("details", { class: "check", hidden: true }, title, steps);
  let shown = null;
  let isAwaited = false;
  const update = (check) => {
    node.hidden = !check;
    if (!check) return;
    // What was well and was over before need not be seen.
    if (check.Began !== shown) node.open = isAwaited || check.State !== "passed";
    if (check.Began !== shown) isAwaited = false;
    shown = check.Began;
    show(title, ...titleOf(check));
    show(steps, ...check.Steps.map(stepOf), check.State === "running" && nextStep());
  };
  /** Somebody here has begun one, and wants to see it. */
  const open = () => {
    isAwaited = true;
    node.open = true;
  };
  return { node, update, open };
}

/** One sentence, for the ears. */
export function checkInWords(name, check) {
  const failed = check.Steps.filter((step) => step.Outcome === "failed").map((step) => NAMES[step.Name] ?? step.Name);
  if (failed.length > 0) return `Check of ${name}: failed at ${failed.join(", ")}`;
  return `Check of ${name}: passed`;
}

function titleOf(check) {
  if (check.State === "running") return [icon("waiting"), "Checking …"];
  const warnings = check.Steps.some((step) => step.Outcome === "warning");
  const at = element("span", { class: "quiet" }, ` at ${moment(check.Ended)}`);
  if (check.State === "failed") return [icon("failed"), "Check failed", at];
  return [icon(warnings ? "warning" : "ok"), warnings ? "Check passed, with warnings" : "Check passed", at];
}

function stepOf(step) {
  const [sign, word] = OUTCOMES[step.Outcome] ?? ["warning", step.Outcome];
  return element(
    "li",
    { class: `step step-${sign}` },
    icon(sign),
    element("span", { class: "step-name" }, NAMES[step.Name] ?? step.Name, element("span", { class: "unseen" }, `: ${word}. `)),
    element("span", { class: "step-said" }, step.Message, step.Remedy && element("span", { class: "remedy" }, step.Remedy)),
    element("span", { class: "quiet step-took" }, step.Outcome === "skipped" ? "" : shortDuration(step.Seconds)),
  );
}

function nextStep() {
  return element("li", { class: "step step-waiting" }, icon("waiting"), element("span", { class: "step-name" }, "…"));
}
