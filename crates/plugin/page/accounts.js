// The accounts at a glance.
import { checkInWords, checkReport } from "./check.js";
import { element, keepParts, say, show } from "./element.js";
import { icon } from "./icons.js";
import * as rest from "./rest.js";
import { duration, moment, number, plural } from "./words.js";

/** For each state its sign, its word, and what it means. */
const STATES = {
  starting: ["waiting", "Starting", "The first token is being asked for."],
  ok: ["ok", "OK", ""],
  expiring: ["warning", "Expiring", "The token is still good, but it could not be renewed."],
  failing: ["failed", "Failing", ""],
  misconfigured: ["failed", "Misconfigured", "Orthanc's configuration does not let this account be used."],
};
const SERVERS = {
  awaited: "not there yet",
  held: "there",
  refused: "refused by the DICOMweb plugin: see Orthanc's log",
  deleted: "deleted by somebody; comes back with the next token",
  withheld: "not registered, because the gateway does not work",
};
/** What they mean is shown with the details. */
const TRANSPORTS = {
  Direct: ["Direct", "the DICOMweb plugin talks to Google itself"],
  Gateway: ["Gateway", "transfers go in parallel, and what fails is sent again"],
  FallenBack: ["Direct, although the gateway is wanted", "the DICOMweb plugin talks to Google itself"],
};

/** All cards. `tell` speaks to those who cannot see, `hurry` has the page look again soon. */
export function accountCards(container, tell, hurry) {
  const parts = new Map();
  return {
    update: (accounts) => {
      const make = (account) => accountCard(account.Name, tell, hurry);
      keepParts(container, parts, worstFirst(accounts), (account) => account.Name, make);
    },
    tick: () => parts.forEach((part) => part.tick()),
    linkTo: (client, onlyServer) => parts.forEach((part) => part.linkTo(client, onlyServer)),
  };
}

/** What somebody has to see to comes first; within that, by name. */
function worstFirst(accounts) {
  const rank = ({ State }) => ({ failing: 0, misconfigured: 0, ok: 2 })[State] ?? 1;
  return [...accounts].sort((one, other) => rank(one) - rank(other) || one.Name.localeCompare(other.Name, "en", { numeric: true }));
}

/** How many there are in each state. */
export function summaryOf(accounts) {
  const words = Object.entries(STATES).map(([state, [, word]]) => {
    const count = accounts.filter((account) => account.State === state).length;
    return count > 0 && `${number(count)} ${word === "OK" ? word : word.toLowerCase()}`;
  });
  return words.filter(Boolean).join(" · ");
}

export const stateInWords = (state) => (STATES[state] ?? STATES.starting)[1];

function accountCard(name, tell, hurry) {
  const id = `account-${encodeURIComponent(name)}`;
  const title = element("h3", { id }, name);
  const state = element("p", { class: "state" });
  const trouble = element("div", { class: "trouble" });
  const facts = factList(factsAtAGlance);
  const more = factList(moreFacts);
  const report = checkReport();
  const actions = actionButtons(name, tell, hurry, report.open);
  const details = element("details", {}, element("summary", {}, "Details", element("span", { class: "unseen" }, ` of ${name}`)), more.node, actions.option);
  const node = element(
    "article",
    { "aria-labelledby": id, class: "account" },
    element("header", {}, title, state),
    trouble,
    facts.node,
    actions.node,
    details,
    report.node,
  );
  let before = null;
  const update = (account) => {
    const [sign, word, meaning] = STATES[account.State] ?? ["waiting", account.State, ""];
    node.dataset.state = account.State;
    show(state, icon(sign), element("strong", {}, word), element("span", { class: "quiet" }, ` since ${moment(account.Since)}`));
    show(trouble, meaning && element("p", {}, meaning), account.Mistakes.length > 0 && mistakeList(account.Mistakes), errorOf(account));
    facts.update(account);
    more.update(account);
    details.hidden = account.State === "misconfigured";
    actions.update(account);
    report.update(account.Check);
    announce(before, account);
    before = account;
  };
  const announce = (earlier, account) => {
    if (earlier && earlier.State !== account.State) tell(`${name}: ${stateInWords(account.State)}`);
    // One that took no time was never seen under way.
    const hasEnded = earlier && account.Check?.Ended && JSON.stringify(earlier.Check) !== JSON.stringify(account.Check);
    if (hasEnded) tell(checkInWords(name, account.Check));
  };
  return { node, update, tick: facts.tick, linkTo: actions.linkTo };
}

/** What is wrong in the configuration. */
export function mistakeList(mistakes) {
  const item = ({ Path, Severity, Message }) =>
    element(
      "li",
      { class: `mistake mistake-${Severity}` },
      icon(Severity === "error" ? "failed" : "warning"),
      element("span", {}, element("span", { class: "unseen" }, `${Severity}: `), element("code", {}, Path), ` ${Message}`),
    );
  return element("ul", { class: "mistakes" }, ...mistakes.map(item));
}

function errorOf({ LastError: error }) {
  if (!error) return null;
  const where = { store: "The store", transport: "The transport" }[error.Of] ?? "The token";
  // Since when a token fails stands beside the state; the error is the newest one.
  const lasting = error.Of === "token" ? "last attempt at" : "since";
  const when = `${where}, ${error.Healed ? "healed since; last error at" : lasting} ${moment(error.Time)}`;
  return element(
    "div",
    { class: error.Healed ? "error healed" : "error" },
    element("p", { class: "quiet" }, when),
    element("p", { class: "said" }, error.Message),
    element("p", { class: "remedy" }, error.Remedy),
    error.Option && element("p", { class: "quiet" }, "Option: ", element("code", {}, error.Option)),
  );
}

/** `factsOf` gives each fact's term and words; those that mean nothing here have none, and are left out. */
function factList(factsOf) {
  const node = element("dl", { class: "facts" });
  const parts = new Map();
  let [account, received] = [null, 0];
  const tick = () => {
    // By this browser's steady clock: its wall clock may differ from Orthanc's.
    const passed = (performance.now() - received) / 1000;
    const facts = account ? factsOf(account, passed).filter(([, words]) => words) : [];
    keepParts(node, parts, facts, ([term]) => term, fact);
  };
  const update = (latest) => {
    [account, received] = [latest, performance.now()];
    tick();
  };
  return { node, update, tick };
}

function fact([term]) {
  const said = element("dd");
  return { node: element("div", {}, element("dt", {}, term), said), update: ([, text]) => say(said, text) };
}

function factsAtAGlance(account, passed) {
  if (account.State === "misconfigured") return [];
  const isHeld = account.DicomWebServer === "held";
  return [
    ["Token", account.CredentialKind === "none" ? "not needed" : countdown(account.SecondsToExpiry, passed, account.Expiry)],
    ["Next token", nextRefresh(account.SecondsToNextRefresh, passed)],
    ["Store", storeInWords(account.StoreUrl)],
    ["Transport", transportOf(account)],
    ["Server", !isHeld && (SERVERS[account.DicomWebServer] ?? account.DicomWebServer)],
  ];
}

function moreFacts(account) {
  const { Failures: failures } = account;
  const failed = failures.Transient + failures.NeedsPerson + failures.Configuration;
  return [
    ["Principal", account.Principal],
    ["Credential", account.CredentialKind],
    ["Store URL", account.StoreUrl],
    ["Transport", TRANSPORTS[account.Transport]?.[1]],
    ["Last token", account.LastRefresh && `asked for at ${moment(account.LastRefresh)}`],
    ["So far", `${plural(account.Refreshes, "token")}, ${plural(failed, "failed attempt")}`],
  ];
}

/** The four names of which the address is made. */
function storeInWords(url) {
  const parts = /projects\/([^/]+)\/locations\/([^/]+)\/datasets\/([^/]+)\/dicomStores\/([^/]+)\//.exec(url ?? "");
  return parts ? parts.slice(1).map(decoded).join(" / ") : url;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function transportOf(account) {
  const [word] = TRANSPORTS[account.Transport] ?? [account.Transport];
  return account.FallenBackBecause ? `${word}: ${account.FallenBackBecause}` : word;
}

function countdown(seconds, passed, at) {
  if (seconds === null) return "none";
  const left = seconds - passed;
  return left > 0 ? `good for ${duration(left)}, until ${moment(at)}` : `over since ${moment(at)}`;
}

function nextRefresh(seconds, passed) {
  if (seconds === null) return "";
  const left = seconds - passed;
  return left > 0 ? `in ${duration(left)}` : "now";
}

function actionButtons(name, tell, hurry, openReport) {
  const outcome = element("p", { class: "outcome", hidden: true });
  const write = element("input", { type: "checkbox" });
  const check = action("Check", "Checking …", name, () => rest.check(name, write.checked));
  const refresh = action("Refresh", "Refreshing …", name, () => rest.refresh(name));
  const client = element("a", { class: "button", href: "../../dicom-web/app/client/index.html", hidden: true }, "Search and retrieve");
  const choose = element("p", { class: "quiet", hidden: true }, "To search and retrieve, choose the server ", element("strong", {}, name), " in the DICOMweb client.");
  let [isHeld, leadsHere] = [false, false];

  check.node.addEventListener("click", () => {
    openReport();
    run(check, () => "");
  });
  refresh.node.addEventListener("click", () => run(refresh, (account) => `New token, good until ${moment(account.Expiry)}`));

  async function run(chosen, inWords) {
    if (chosen.isBusy()) return;
    say(outcome, "");
    chosen.busy(true);
    hurry();
    try {
      tellOutcome("ok", inWords(await chosen.act()));
    } catch (error) {
      tellOutcome("failed", [error.message, error.remedy].filter(Boolean).join(": "));
    } finally {
      chosen.busy(false);
      hurry();
    }
  }
  function tellOutcome(sign, words) {
    outcome.hidden = words === "";
    show(outcome, icon(sign), words);
    if (words) tell(`${name}: ${words}`);
  }

  const node = element(
    "div",
    { class: "actions" },
    element("div", { class: "buttons" }, check.node, refresh.node, client),
    choose,
    outcome,
  );
  const option = element("label", { class: "write" }, write, " Check also by storing, retrieving and deleting a test instance");
  const update = (account) => {
    node.hidden = account.State === "misconfigured";
    refresh.node.hidden = account.CredentialKind === "none";
    isHeld = account.DicomWebServer === "held";
    showWay();
  };
  /** The client begins with the first of all servers, and no address names another: it leads here if this is the only one. */
  const linkTo = (address, onlyServer) => {
    client.setAttribute("href", address);
    leadsHere = onlyServer === name;
    showWay();
  };
  const showWay = () => {
    client.hidden = !isHeld || !leadsHere;
    choose.hidden = !isHeld || leadsHere;
  };
  return { node, option, update, linkTo };
}

/** A button that stays where it is while it works: a disabled one would lose the focus. */
function action(word, busyWord, name, act) {
  const label = element("span", {}, word);
  const node = element("button", { type: "button" }, label, element("span", { class: "unseen" }, ` ${name}`));
  const isBusy = () => node.getAttribute("aria-disabled") === "true";
  const busy = (isNow) => {
    say(label, isNow ? busyWord : word);
    node.setAttribute("aria-disabled", String(isNow));
  };
  return { node, act, isBusy, busy };
}
