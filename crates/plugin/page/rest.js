// Asks the plugin's routes and Orthanc's, with the session that Orthanc has given to this browser.

// Relative to the page, so that a path prefix of a reverse proxy stays.
const ROUTES = "../";
/** A browser keeps six connections to a server: what waits long must leave some for what does not. */
const LONG_ONES_AT_ONCE = 3;
const LONGEST_LOOK = 10_000;
const LONGEST_WAIT = 600_000;

/** Why there is no answer. `message` and `remedy` are sentences for people. */
export class Refusal extends Error {
  constructor(status, message, remedy) {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

/** How it stands with the accounts. */
export const accounts = () => ask("GET", `${ROUTES}accounts`, LONGEST_LOOK);
/** What goes through the gateway. */
export const transfers = () => ask("GET", `${ROUTES}transfers`, LONGEST_LOOK);
/** Another token; answers when it is there. */
export const refresh = (name) => inTurn(() => ask("POST", `${route(name)}/refresh`, LONGEST_WAIT, {}));
/** An examination; answers when it is over. */
export const check = (name, write) => inTurn(() => ask("POST", `${route(name)}/check`, LONGEST_WAIT, write ? { Write: true } : {}));
/** What Orthanc says of itself. */
export const system = () => ask("GET", "../../system", LONGEST_LOOK);
/** What Orthanc says of one of its plugins. */
export const plugin = (name) => ask("GET", `../../plugins/${name}`, LONGEST_LOOK);

/** The names of the DICOMweb plugin's servers. */
export const servers = (address) => ask("GET", address, LONGEST_LOOK);

const route = (name) => `${ROUTES}accounts/${encodeURIComponent(name)}`;

async function ask(method, path, longest, body) {
  // JSON is what a form of a foreign page cannot send without being asked.
  const content = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await send(path, { method, cache: "no-store", signal: AbortSignal.timeout(longest), ...content });
  const said = await answer.text().catch(() => "");
  const value = parsed(said);
  if (answer.ok && value !== undefined) return value;
  if (answer.status === 401) throw new Refusal(401, "Orthanc wants you to log in again", "reload this page");
  if (typeof value?.message === "string") throw new Refusal(answer.status, value.message, value.remedy);
  // Orthanc's own errors.
  throw new Refusal(answer.status, value?.Message ?? `Orthanc answered ${answer.status}`, value?.Details);
}

async function send(path, request) {
  try {
    return await fetch(path, request);
  } catch (error) {
    const isLate = error.name === "TimeoutError";
    throw new Refusal(0, isLate ? "Orthanc takes too long to answer" : "Orthanc cannot be reached");
  }
}

/** Whatever the content type: Orthanc names errors text/plain. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

let underWay = 0;
const waiting = [];

async function inTurn(task) {
  if (underWay >= LONG_ONES_AT_ONCE) await new Promise((proceed) => waiting.push(proceed));
  else underWay += 1;
  try {
    return await task();
  } finally {
    // Who waits takes the place of who leaves.
    const next = waiting.shift();
    if (next) next();
    else underWay -= 1;
  }
}
