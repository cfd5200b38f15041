// The requests of the page: to the sandbox's own routes, and to Drive as anybody.

const tokens = new Map();

/** A request that was refused, in words for a person. */
export class Refused extends Error {}

async function answered(response) {
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // A fault may answer with anything.
  }
  if (response.ok) return body;
  throw new Refused(body?.error?.message ?? body?.error_description ?? `The answer was ${response.status}.`);
}

function sent(method, url, body, headers = {}) {
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  return fetch(url, {
    method,
    headers: { ...type, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
  });
}

async function reached(sending) {
  try {
    return await sending;
  } catch {
    throw new Refused("The sandbox did not answer.");
  }
}

/** One of the sandbox's own routes. */
export async function sandbox(method, path, body) {
  return answered(await reached(sent(method, `/sandbox/${path}`, body)));
}

async function tokenOf(email) {
  if (!tokens.has(email)) tokens.set(email, (await sandbox("POST", "token", { email })).access_token);
  return tokens.get(email);
}

/** A method of Drive, as this person. Google's own paths and parameters. */
export async function drive(email, method, path, { query = {}, body } = {}) {
  const url = `/drive/v3/${path}?${new URLSearchParams({ supportsAllDrives: "true", ...query })}`;
  const ask = async () =>
    reached(sent(method, url, body, { Authorization: `Bearer ${await tokenOf(email)}` }));
  let response = await ask();
  if (response.status === 401) {
    // The token is over, or somebody revoked it on this very page.
    tokens.delete(email);
    response = await ask();
  }
  return answered(response);
}

/** A path with its ids quoted. */
export function path(strings, ...ids) {
  return strings.reduce((whole, part, place) => whole + encodeURIComponent(ids[place - 1]) + part);
}
