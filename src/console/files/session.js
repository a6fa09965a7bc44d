// Who is signed in, what they may do, and when they were last there.

import { get, hold, events } from './api.js';

// A person who is away for so long is signed out; some time before they are warned.
let idleAfter = 15 * 60_000;
const WARNING = 60_000;

let caller = null;
let lastSeen = 0;
let watch = null;
// What is done at this address.
export let offers = { issues: true };

// "in", "out" (with a detail that says why), "warning", "stayed".
export const session = new EventTarget();

export function client() {
  return caller?.client ?? null;
}

export function credentialOf() {
  return caller?.credential ?? null;
}

// Whether the person may do any of these groups of methods.
export function may(...groups) {
  const granted = caller?.client?.rights?.mayDo ?? [];
  return groups.some((group) => granted.includes(group));
}

export function mayGrant() {
  return caller?.client?.rights?.mayGrant ?? [];
}

let offered = null;

// Asks for it. Who signs in meanwhile waits for the answer.
export function readOffers() {
  offered = get('/console/offers.json').then((told) => {
    offers = told;
    idleAfter = told.idleMinutes * 60_000;
  }, () => {});
}

// Signs in with a credential, or with the certificate that the browser has. Throws what the server
// says against it, and holds nothing then.
export async function signIn(text) {
  hold(text);
  try {
    [caller] = await Promise.all([get('/v1/caller'), offered]);
  } catch (error) {
    hold(null);
    throw error;
  }
  seen();
  clearInterval(watch);
  watch = setInterval(look, 1000);
  session.dispatchEvent(new Event('in'));
}

// Reads again what the person may do: it may have changed.
export async function renew() {
  caller = await get('/v1/caller');
}

export function signOut(why = 'left') {
  if (!caller) return;
  caller = null;
  hold(null);
  clearInterval(watch);
  session.dispatchEvent(new CustomEvent('out', { detail: why }));
}

export function seen() {
  lastSeen = Date.now();
  session.dispatchEvent(new Event('stayed'));
}

function look() {
  const left = lastSeen + idleAfter - Date.now();
  if (left <= 0) signOut('idle');
  else if (left <= Math.min(WARNING, idleAfter / 2)) {
    session.dispatchEvent(new CustomEvent('warning', { detail: Math.ceil(left / 1000) }));
  }
}

for (const kind of ['pointerdown', 'keydown', 'wheel']) {
  addEventListener(kind, () => { if (caller) lastSeen = Date.now(); }, { passive: true });
}
events.addEventListener('refused', () => signOut('refused'));
