// The page: asks, shows, and asks again, as long as somebody looks at it.
import { accountCards, mistakeList, summaryOf } from "./accounts.js";
import { element, say, show } from "./element.js";
import { dicomwebClient, onlyServer, orthancName } from "./orthanc.js";
import * as rest from "./rest.js";
import { transferList } from "./transfers.js";
import { moment } from "./words.js";

/** Between two looks, in milliseconds: something happens; nothing happens; nobody answers. */
const [BUSY, IDLE, LOST] = [500, 4000, 3000];
/** After somebody has pressed a button, what that leads to is awaited for so long. */
const HURRY = 2000;

const part = (id) => document.getElementById(id);
const cards = accountCards(part("accounts"), announce, hurry);
const transfers = transferList(part("transfers"), part("transfers-summary"), announce);
let timer = null;
let hurriesUntil = 0;
let isLooking = false;
let lastSeen = null;

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
setInterval(() => document.hidden || cards.tick(), 1000);
orthancName().then((name) => nameIt(name));
dicomwebClient().then((client) => linkTo(client));
look();

async function look() {
  if (isLooking) return;
  isLooking = true;
  clearTimeout(timer);
  let pause;
  try {
    const client = part("client").getAttribute("href");
    pause = tellAll(await Promise.all([rest.accounts(), rest.transfers(), onlyServer(client)]));
  } catch (error) {
    tellLoss(error);
    pause = LOST;
  }
  isLooking = false;
  // Nobody is asked while nobody looks.
  if (!document.hidden) timer = setTimeout(look, pause);
}

/** Shows what there is; how long it will do. */
function tellAll([{ Accounts: accounts, Mistakes: mistakes }, going, only]) {
  if (!part("connection").hidden) announce("Orthanc answers again");
  part("connection").hidden = true;
  lastSeen = new Date();
  say(part("summary"), accounts.length > 0 ? summaryOf(accounts) : "None");
  show(part("notices"), mistakes.length > 0 && notice(mistakes), accounts.length === 0 && firstSteps());
  cards.update(accounts);
  transfers.update(going, accounts);
  cards.linkTo(part("client").getAttribute("href"), only);
  const isBusy =
    going.Running.length > 0 ||
    performance.now() < hurriesUntil ||
    accounts.some(({ State, Check }) => State === "starting" || Check?.State === "running");
  return isBusy ? BUSY : IDLE;
}

function tellLoss(error) {
  const since = lastSeen ? ` What you see is from ${moment(lastSeen)}.` : "";
  const remedy = error.remedy ? `: ${error.remedy}` : "";
  // A defect of this page is not Orthanc's silence.
  const words = error instanceof rest.Refusal ? `${error.message}${remedy}` : `This page has a defect (${error.message})`;
  const text = `${words}. Trying again every few seconds.${since}`;
  if (part("connection").hidden) announce(text);
  part("connection").hidden = false;
  say(part("connection"), text);
}

function notice(mistakes) {
  const title = element("h3", {}, "In Orthanc's configuration");
  return element("div", { class: "notice" }, title, mistakeList(mistakes));
}

/** What to do where there is nothing yet. */
function firstSteps() {
  const example = {
    GoogleCloudPlatform: {
      Accounts: {
        "my-google": {
          Project: "my-project",
          Location: "europe-west2",
          Dataset: "my-dataset",
          DicomStore: "my-store",
          ServiceAccountFile: "/etc/orthanc-gcp/key.json",
        },
      },
    },
  };
  return element(
    "div",
    { class: "notice" },
    element("h3", {}, "No account is configured"),
    element("p", {}, "Name a DICOM store and a credential for it in Orthanc's configuration, for example in ", element("code", {}, "/etc/orthanc/google.json"), ", and restart Orthanc:"),
    element("pre", { tabindex: 0, role: "group", "aria-label": "Example of a configuration" }, element("code", {}, JSON.stringify(example, null, 2))),
  );
}

function nameIt(name) {
  if (!name) return;
  say(part("orthanc"), name);
  document.title = `Google Cloud Platform – ${name}`;
}

function linkTo(client) {
  part("client").setAttribute("href", client);
}

/** Looks more often for a while. */
function hurry() {
  hurriesUntil = performance.now() + HURRY;
  clearTimeout(timer);
  timer = setTimeout(look, 50);
}

/** To those who listen instead of looking. */
function announce(words) {
  const place = part("announcements");
  // Several at once are said one after the other; what was said a while ago is taken away.
  const sentence = element("span", {}, `${words}. `);
  place.append(sentence);
  setTimeout(() => sentence.remove(), 10_000);
}
