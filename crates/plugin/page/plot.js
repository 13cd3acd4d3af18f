// The last hour's throughput and failures, drawn minute by minute, with the same in words and as a table.
import { drawing, element, say, show } from "./element.js";
import { bytes, clock, plural, rate } from "./words.js";

const MINUTES = 60;
const HEIGHT = 150;
/** Room for the axes' words. */
const [LEFT, RIGHT, TOP, BOTTOM] = [70, 14, 20, 24];

/** The figure. */
export function throughputPlot() {
  const canvas = element("div", { class: "canvas" });
  const caption = element("figcaption", {});
  // Wider than a small window: scrolled there, also by keyboard.
  const table = element("div", { class: "minutes", tabindex: 0, role: "group", "aria-label": "The last hour, minute by minute" });
  const details = element("details", {}, element("summary", {}, "The same as a table"), table);
  const title = element("h3", {}, "The last hour");
  const node = element("section", { class: "plot", "aria-label": "The last hour" }, title, element("figure", {}, legend(), canvas, caption), details);
  let minutes = [];
  const draw = () => {
    if (canvas.clientWidth > 0) show(canvas, plotOf(minutes, canvas.clientWidth));
  };
  new ResizeObserver(draw).observe(canvas);
  const update = (latest) => {
    minutes = latest.slice(-MINUTES - 1).map(minuteOf);
    say(caption, inWords(minutes));
    show(table, tableOf(minutes));
    draw();
  };
  return { node, update };
}

function minuteOf(told) {
  // The minute under way may have just begun: a packet in its first instant is no throughput.
  const seconds = Math.max(told.Seconds, 10);
  return {
    began: told.Began,
    sent: told.BytesSent,
    received: told.BytesReceived,
    rate: (told.BytesSent + told.BytesReceived) / seconds,
    sentRate: told.BytesSent / seconds,
    failedInstances: told.InstancesFailed,
    failedTransfers: told.TransfersFailed,
  };
}

const hasFailed = (minute) => minute.failedInstances + minute.failedTransfers > 0;
const total = (minutes, count) => minutes.reduce((sum, minute) => sum + count(minute), 0);

function failuresInWords(transfers, instances) {
  return `${plural(transfers, "failed transfer")}, ${plural(instances, "failed instance")}`;
}

/** What the plot shows, in a sentence or two. */
function inWords(minutes) {
  const [sent, received] = [total(minutes, ({ sent }) => sent), total(minutes, ({ received }) => received)];
  const failed = failuresInWords(
    total(minutes, ({ failedTransfers }) => failedTransfers),
    total(minutes, ({ failedInstances }) => failedInstances),
  );
  if (sent + received === 0) return `Nothing sent or received; ${failed}.`;
  return `${bytes(sent)} sent, ${bytes(received)} received${busiest(minutes)}; ${failed}.`;
}

/** The full minute with most bytes. The running minute is left out: its mean falls as soon as a burst has ended. */
function busiest(minutes) {
  const most = minutes.slice(0, -1).reduce((best, minute) => (minute.rate > best.rate ? minute : best), { rate: 0 });
  return most.rate === 0 ? "" : `, at most ${rate(most.rate)} (the minute from ${clock(most.began)})`;
}

function legend() {
  const entry = (name, words) => element("li", {}, sample(name), words);
  return element("ul", { class: "legend", "aria-hidden": "true" }, entry("sent", "sent"), entry("received", "received"), entry("failure", "failures"));
}

function sample(name) {
  const shape = name === "failure" ? cross(8, 8) : drawing("rect", { class: name, x: 1, y: 1, width: 14, height: 14 });
  return drawing("svg", { viewBox: "0 0 16 16", class: "sample", focusable: "false" }, shape);
}

function plotOf(minutes, width) {
  const top = niceTop(Math.max(0, ...minutes.map(({ rate }) => rate)));
  const step = (width - LEFT - RIGHT) / (MINUTES + 1);
  // The newest minute is at the right end, however many there are.
  const first = MINUTES + 1 - minutes.length;
  const x = (index) => LEFT + (first + index) * step;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  return drawing(
    "svg",
    { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `Throughput and failures: ${inWords(minutes)}` },
    ...[0, top / 2, top].flatMap((value) => rule(value, y(value), width)),
    ...quarters(minutes.at(-1)?.began, step),
    ...minutes.flatMap((minute, index) => bar(minute, x(index), step, y)),
  );
}

function rule(value, y, width) {
  return [
    drawing("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
    drawing("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, value === 0 ? "0" : rate(value)),
  ];
}

/** The time under each full quarter of an hour, also where nothing is known yet. */
function quarters(newest, step) {
  const minute = new Date(newest ?? Date.now()).setSeconds(0, 0);
  return Array.from({ length: MINUTES + 1 }, (_, index) => new Date(minute - (MINUTES - index) * 60_000)).flatMap((time, index) => {
    if (time.getMinutes() % 15 !== 0) return [];
    const x = Math.min(LEFT + (index + 0.5) * step, LEFT + MINUTES * step);
    return [drawing("text", { x, y: HEIGHT - 6, "text-anchor": "middle" }, clock(time))];
  });
}

function bar(minute, x, step, y) {
  const width = Math.max(1, step - 1.5);
  const part = (name, from, to) => drawing("rect", { class: name, x, width, y: y(to), height: Math.max(0, y(from) - y(to)) });
  const drawn = [];
  if (minute.sentRate > 0) drawn.push(part("sent", 0, minute.sentRate));
  if (minute.received > 0) drawn.push(part("received", minute.sentRate, minute.rate));
  if (hasFailed(minute)) drawn.push(cross(x + width / 2, TOP - 9));
  const words = `${clock(minute.began)}: ${bytes(minute.sent)} sent, ${bytes(minute.received)} received, ${failuresInWords(minute.failedTransfers, minute.failedInstances)}`;
  return drawn.length === 0 ? [] : [drawing("g", {}, drawing("title", {}, words), ...drawn)];
}

function cross(x, y) {
  return drawing("path", { class: "failure", d: `M${x - 4} ${y - 4}l8 8M${x + 4} ${y - 4}l-8 8` });
}

/** The next of 1, 2, 5, 10, 20 … kB/s, so that the axis has plain numbers. */
function niceTop(highest) {
  for (let unit = 1000; ; unit *= 10) {
    const found = [1, 2, 5].find((factor) => factor * unit >= highest);
    if (found) return found * unit;
  }
}

function tableOf(minutes) {
  const busy = minutes.filter((minute) => minute.rate > 0 || hasFailed(minute)).reverse();
  if (busy.length === 0) return element("p", { class: "quiet" }, "Nothing happened in this hour.");
  const heads = ["Minute", "Sent", "Received", "Failed transfers", "Failed instances"];
  const row = (minute) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, clock(minute.began)),
      ...[bytes(minute.sent), bytes(minute.received), String(minute.failedTransfers), String(minute.failedInstances)].map((text) => element("td", {}, text)),
    );
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...busy.map(row)),
  );
}
