// What goes through the gateway now, and the last hundred that did.
import { element, keepParts, say, show } from "./element.js";
import { icon } from "./icons.js";
import { throughputPlot } from "./plot.js";
import { bytes, duration, moment, number, plural, rate, shortDuration } from "./words.js";

const KINDS = { store: "Upload", retrieve: "Retrieval" };
const STATES = {
  succeeded: ["ok", "Succeeded"],
  failed: ["failed", "Failed"],
  cancelled: ["skipped", "Cancelled"],
};
/** Shown at first: a hundred are a long way to whatever comes behind. */
const FEW = 10;
/** The rate that is shown follows the last seconds. */
const MEMORY = 10_000;

/** Orthanc counts from 1 again whenever it starts; this page may have been open since yesterday. */
const keyOf = ({ Id, Began }) => `${Id}-${Began}`;

/** The whole section. `tell` speaks to those who cannot see. */
export function transferList(container, summary, tell) {
  const nobody = element("p", { class: "quiet", hidden: true });
  const running = element("div", { class: "running" });
  const plot = throughputPlot();
  const ended = endedList();
  container.append(nobody, running, plot.node, ended.node);
  const parts = new Map();
  let known = null;
  const update = (transfers, accounts) => {
    nobody.hidden = transfers.Gateway;
    show(nobody, ...(accounts.some(isWithoutItsGateway) ? brokenGateway() : withoutGateway()));
    plot.node.hidden = ended.node.hidden = !transfers.Gateway;
    const count = transfers.Running.length;
    say(summary, transfers.Gateway ? (count > 0 ? `${number(count)} under way` : "None under way") : "");
    keepParts(running, parts, transfers.Running, keyOf, runningTransfer);
    plot.update(transfers.LastHour);
    ended.update(transfers.Ended);
    known = tellEnds(known, transfers.Ended, tell);
  };
  return { update };
}

function withoutGateway() {
  return [
    "No account uses the gateway, so the DICOMweb plugin transfers by itself, and nothing of it is seen here. With ",
    element("code", {}, '"Gateway": true'),
    " in ",
    element("code", {}, "GoogleCloudPlatform"),
    " of Orthanc's configuration, transfers go in parallel, are repeated where that helps, and are shown.",
  ];
}

const isWithoutItsGateway = ({ Transport, DicomWebServer }) => Transport === "FallenBack" || DicomWebServer === "withheld";

/** Why it does not work stands with each account that wants it. */
function brokenGateway() {
  return ["The gateway is wanted but does not work: see the account. Nothing is seen here of what the DICOMweb plugin transfers by itself."];
}

/** Only what fails is worth interrupting somebody for. */
function tellEnds(known, ended, tell) {
  // Those that were over when the page was opened are no news.
  const seen = known ?? new Set(ended.map(keyOf));
  for (const transfer of ended.filter((one) => !seen.has(keyOf(one)))) {
    seen.add(keyOf(transfer));
    if (transfer.State === "failed") tell(`${titleOf(transfer)} failed: ${transfer.Failures[0] ?? "no reason is known"}`);
  }
  return seen;
}

const titleOf = (transfer) => `${KINDS[transfer.Kind] ?? transfer.Kind}, ${transfer.Account}`;

function subject({ StudyInstanceUID: study, SeriesInstanceUID: series }) {
  if (!study) return "study not yet known";
  return series ? `series ${series} of study ${study}` : `study ${study}`;
}

function runningTransfer(first) {
  const id = `transfer-${keyOf(first)}`;
  const title = element("h3", { id }, icon(first.Kind), titleOf(first));
  const about = element("p", { class: "uid" });
  const bar = element("progress", { "aria-labelledby": id });
  const done = element("p", { class: "done" });
  const pace = element("p", { class: "quiet" });
  const heldUp = element("p", { class: "quiet" });
  const failures = element("div");
  const node = element("article", { class: "transfer", "aria-labelledby": id }, title, about, bar, done, pace, heldUp, failures);
  const meter = speedometer();
  const update = (transfer) => {
    say(about, subject(transfer));
    progress(bar, transfer);
    say(done, doneInWords(transfer));
    say(pace, paceInWords(transfer, meter(transfer.BytesDone) ?? transfer.BytesPerSecond));
    heldUp.hidden = !transfer.HeldUpBy;
    say(heldUp, transfer.HeldUpBy ? `Held up: ${transfer.HeldUpBy}` : "");
    show(failures, failureList(transfer));
  };
  return { node, update };
}

/** Without a value the bar shows that nobody knows how much there is. */
function progress(bar, transfer) {
  const share = shareDone(transfer);
  bar.max = 100;
  if (share === null) bar.removeAttribute("value");
  else bar.value = Math.round(share * 100);
}

/** From 0 to 1. By instances, since those that the store has already take no bytes. */
function shareDone({ InstancesTotal: instances, InstancesDone: done, InstancesFailed: failed, BytesTotal: bytes, BytesDone: bytesDone }) {
  if (instances) return Math.min(1, (done + failed) / instances);
  return bytes ? Math.min(1, bytesDone / bytes) : null;
}

function doneInWords(transfer) {
  const { InstancesTotal: total, InstancesDone: done, BytesTotal: bytesTotal } = transfer;
  const parts = [total === null ? plural(done, "instance") : `${number(done)} of ${plural(total, "instance")}`];
  const isPart = bytesTotal !== null && bytesTotal > transfer.BytesDone;
  parts.push(isPart ? `${bytes(transfer.BytesDone)} of ${bytes(bytesTotal)}` : bytes(transfer.BytesDone));
  if (transfer.InstancesPresent > 0) parts.push(`${number(transfer.InstancesPresent)} there already`);
  if (transfer.InstancesFailed > 0) parts.push(`${number(transfer.InstancesFailed)} failed`);
  return parts.join(" · ");
}

function paceInWords(transfer, bytesPerSecond) {
  const parts = [rate(bytesPerSecond)];
  const share = shareDone(transfer);
  if (share) parts.push(`about ${duration((transfer.Seconds * (1 - share)) / share)} left`);
  parts.push(`for ${duration(transfer.Seconds)} so far`);
  if (transfer.Retries > 0) parts.push(`${number(transfer.Retries)} sent again`);
  return parts.join(" · ");
}

/** Bytes a second over the last seconds, of the counts that it is told one after the other. */
function speedometer() {
  const seen = [];
  return (count) => {
    const now = performance.now();
    seen.push([now, count]);
    while (seen.length > 2 && seen[1][0] < now - MEMORY) seen.shift();
    const [[began, before]] = seen;
    return now - began < 1000 ? null : ((count - before) * 1000) / (now - began);
  };
}

function failureList({ Failures: failures, Remedy: remedy, FailedSOPInstanceUIDList: instances }) {
  if (failures.length === 0) return null;
  const items = failures.map((words) => element("li", {}, words));
  if (remedy) items.push(element("li", {}, `what to do: ${remedy}`));
  if (instances.length > 0) items.push(element("li", { class: "uid" }, `${instances.length > 1 ? "instances" : "instance"} ${instances.join(", ")}`));
  return element("ul", { class: "failures" }, ...items);
}

function endedList() {
  const title = element("h3", {}, "The last hundred");
  const onlyFailed = element("input", { type: "checkbox", id: "only-failed" });
  const filter = element("label", {}, onlyFailed, " Only what failed");
  const none = element("p", { class: "quiet" });
  const list = element("ol", { class: "ended" });
  const more = element("button", { type: "button", class: "more" });
  const node = element("section", { "aria-label": "Ended transfers" }, element("div", { class: "title" }, title, filter), none, list, more);
  const parts = new Map();
  let [latest, showsAll] = [[], false];
  const draw = () => {
    const wanted = latest.filter(({ State }) => !onlyFailed.checked || State === "failed");
    const shown = showsAll ? wanted : wanted.slice(0, FEW);
    keepParts(list, parts, shown, keyOf, endedTransfer);
    none.hidden = wanted.length > 0;
    say(none, latest.length === 0 ? "Nothing has gone through the gateway since Orthanc started." : "Nothing failed.");
    more.hidden = wanted.length <= FEW;
    say(more, showsAll ? `Show the newest ${FEW}` : `Show all ${number(wanted.length)}`);
  };
  onlyFailed.addEventListener("change", draw);
  more.addEventListener("click", () => {
    showsAll = !showsAll;
    draw();
  });
  const update = (ended) => {
    latest = ended;
    draw();
  };
  return { node, update };
}

/** What is over stays as it is. */
function endedTransfer(transfer) {
  const [sign, word] = STATES[transfer.State] ?? ["warning", transfer.State];
  const pace = transfer.Retries > 0 ? ` · ${number(transfer.Retries)} sent again` : "";
  const node = element(
    "li",
    { class: `transfer ended-${transfer.State}` },
    element("p", { class: "state" }, icon(sign), element("strong", {}, word), ` ${titleOf(transfer)}`, element("span", { class: "quiet" }, ` at ${moment(transfer.Ended)}`)),
    element("p", { class: "uid" }, subject(transfer)),
    element("p", {}, `${doneInWords(transfer)} · ${shortDuration(transfer.Seconds)} · ${rate(transfer.BytesPerSecond)}${pace}`),
    failureList(transfer),
    transfer.State === "failed" && transfer.Failures.length === 0 && element("p", { class: "quiet" }, "No reason is known."),
  );
  return { node, update: () => {} };
}
