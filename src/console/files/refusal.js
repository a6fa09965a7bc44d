// What a server refused, as a person needs it: what happened, why, and the way on.

import { Away } from './api.js';
import { el } from './element.js';
import { number } from './format.js';
import { has, t } from './texts.js';

// A box with the refusal. `again`: what a button does that tries once more.
export function refusalBox(error, again) {
  if (error.reason === 'APPROVAL_PENDING') return waiting(error);
  console.assert(error.reason, error);
  const known = error.reason !== undefined;
  const message = error instanceof Away ? t('away.doubt') : known ? error.message : t('fault', { message: error.message });
  const advice = `advice.${error.reason}`;
  const retry = again && (error instanceof Away || error.retryAfter || error.status >= 500 || error.status === 429);
  return el('div.box.bad', { role: 'alert' },
    el('p.strong', {}, message),
    has(advice) && el('p', {}, t(advice)),
    error.metadata?.issued === 'maybe' && el('p', {}, t('issued.maybe')),
    error.retryAfter && el('p', {}, t('retry.after', { seconds: number(error.retryAfter) })),
    known && el('p.faint', {}, t('reason'), ' ', el('code', {}, error.reason)),
    retry && el('p', {}, el('button', { type: 'button', onclick: again }, t('again'))));
}

// An act that others must agree to is no failure.
function waiting(error) {
  const name = error.metadata.approval ?? '';
  return el('div.box.note', { role: 'status' },
    el('p.strong', {}, t('approval.asked')),
    el('p', {}, error.message),
    name && el('p', {}, el('a', { href: `#/${name}` }, t('approval.open'))));
}
