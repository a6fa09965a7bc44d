// The way of a call: HTTP with JSON, with the credential that is held here and nowhere else.

// What a server refused: google.rpc.Status as JSON.
export class Refusal extends Error {
  constructor(status, body, retryAfter) {
    super(body.message || `HTTP ${status}`);
    const details = body.details ?? [];
    const info = details.find((detail) => detail['@type']?.endsWith('ErrorInfo')) ?? {};
    const bad = details.find((detail) => detail['@type']?.endsWith('BadRequest')) ?? {};
    this.status = status;
    this.reason = info.reason ?? `HTTP_${status}`;
    this.metadata = info.metadata ?? {};
    this.fields = bad.fieldViolations ?? [];
    this.retryAfter = retryAfter;
  }
}

// No answer came. What was asked for may have been done.
export class Away extends Error {
  constructor() {
    super('no answer');
    this.reason = 'NO_ANSWER';
    this.fields = [];
    this.metadata = {};
  }
}

// "away" and "back" are told here; "refused" when a credential does not count any more.
export const events = new EventTarget();

let credential = null;
let away = null;

// Holds a credential until the page is left; null: calls go with the certificate of the browser.
export function hold(text) {
  credential = text;
}

async function send(verb, path, { query, body, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) {
      if (one !== undefined && one !== null && one !== '') url.searchParams.append(name, one);
    }
  }
  const headers = {};
  if (credential) headers.authorization = `Bearer ${credential}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const request = {
    method: verb, headers, signal, credentials: 'same-origin', cache: 'no-store', redirect: 'error',
    referrerPolicy: 'no-referrer', body: body === undefined ? undefined : JSON.stringify(body),
  };
  let answer;
  let text;
  try {
    answer = await fetch(url, request);
    text = await answer.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Away();
  }
  let json = {};
  try {
    json = text ? JSON.parse(text) : {};
  } catch {
    json = { message: text.trim() };
  }
  if (answer.ok) return json;
  const after = Number(answer.headers.get('retry-after')) || null;
  const refusal = new Refusal(answer.status, json, after);
  if (refusal.status === 401 && credential) events.dispatchEvent(new Event('refused'));
  throw refusal;
}

// Asks until somebody answers, whatever they say.
function untilBack() {
  if (away) return away;
  events.dispatchEvent(new Event('away'));
  away = (async () => {
    for (let pause = 250; ; pause = Math.min(pause * 2, 4000)) {
      await new Promise((done) => setTimeout(done, pause));
      try {
        await send('GET', '/v1/serverState');
        break;
      } catch (error) {
        if (!(error instanceof Away)) break;
      }
    }
    away = null;
    events.dispatchEvent(new Event('back'));
  })();
  return away;
}

// Reads. While the server is away it waits, and asks again.
export async function get(path, query, signal) {
  for (;;) {
    try {
      return await send('GET', path, { query, signal });
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      await untilBack();
      signal?.throwIfAborted();
    }
  }
}

// Does something. Without an answer it is not known whether it was done: who asked asks again.
export async function act(verb, path, body = {}, signal) {
  try {
    return await send(verb, path, { body, signal });
  } catch (error) {
    if (error instanceof Away) untilBack();
    throw error;
  }
}

// Every page of a list, one after the other.
export async function* pages(path, query, signal) {
  let token = '';
  do {
    const page = await get(path, { ...query, pageToken: token }, signal);
    yield page;
    token = page.nextPageToken ?? '';
  } while (token);
}

// All items of a list that is short by its nature.
export async function all(path, field, query = {}, signal) {
  const found = [];
  for await (const page of pages(path, { pageSize: 1000, ...query }, signal)) found.push(...(page[field] ?? []));
  return found;
}

// A UUID of version 7: ids of requests in the order in which they were made.
export function requestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const now = Date.now();
  for (let place = 0; place < 6; place += 1) bytes[place] = Math.floor(now / 2 ** (8 * (5 - place))) % 256;
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
