// The trail: what was done, by whom, in the order in which it is on record.

import { all, get } from '../api.js';
import { el, fill } from '../element.js';
import { choice } from '../form.js';
import { copier, fingerprint, number, time } from '../format.js';
import { empty, listing } from '../listing.js';
import { may } from '../session.js';
import { has, t } from '../texts.js';

const SIZE = 50;

export async function show(place, [first]) {
  if (first === 'checkpoint') return checkpoint(place);
  if (first === 'proof') return (await import('./proof.js')).show(place);
  return list(place);
}

// The pages of this subject.
export function tabs(current) {
  const tab = (path, name) => el('li', {}, el('a', { href: `#/${path}`, 'aria-current': path === current ? 'page' : null }, t(name)));
  return el('nav.tabs', { 'aria-label': t('trail.title') }, el('ul', {}, tab('trail', 'trail.events'), tab('trail/checkpoint', 'checkpoint.last'), tab('trail/proof', 'proof.title')));
}

async function list(place) {
  const clients = may('CLIENTS', 'AUDIT') ? await all('/v1/clients', 'clients') : [];
  const nameOf = (name) => clients.find((one) => one.name === name)?.displayName ?? name;
  const from = choice({ label: t('trail.from'), options: [[50, 500].map((count) => [String(count), t('trail.last', { count: number(count) })]), [['', t('trail.first')]]].flat() });
  const found = listing({
    caption: t('trail.title'),
    read: async (token, signal) => {
      if (!from.value) {
        const page = await get('/v1/events', { pageSize: SIZE, pageToken: token }, signal);
        return { items: page.events ?? [], next: page.more ? page.nextPageToken : '' };
      }
      // The newest stand first.
      const { events = [] } = await get('/v1/events', { pageSize: 1000, last: from.value }, signal);
      return { items: events.slice(-Number(from.value)).reverse(), next: '' };
    },
    none: empty(t('trail.none')),
    columns: [
      { title: t('trail.position'), kind: 'figures', cell: ({ position }) => position },
      { title: t('trail.time'), cell: (event) => time(event.time) },
      { title: t('trail.what'), cell: (event) => what(event) },
      { title: t('trail.who'), cell: ({ actor, credential }) => (actor ? [el('a', { href: `#/${actor}` }, nameOf(actor)), credential && el('div.faint', {}, el('code.long', {}, credential))] : t('trail.server')) },
    ],
  });
  from.input.addEventListener('change', () => found.reload());
  fill(place, el('h1', {}, t('trail.title')), tabs('trail'), from.whole, found.whole);
  found.reload(false);
  return { refresh: found.refresh };
}

// An act in words, and its record whole.
function what({ kind, record }) {
  const name = `event.${kind}`;
  return el('details.record', {}, el('summary', {}, has(name) ? t(name) : el('code', {}, kind)), el('pre', { tabindex: '0', 'aria-label': t('trail.record') }, pretty(record)));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function checkpoint(place) {
  const { text, auditKeyPem, auditKeyFingerprint } = await get('/v1/checkpoint');
  fill(place, el('h1', {}, t('checkpoint.last')), tabs('trail/checkpoint'), el('p.lead', {}, t('checkpoint.text')),
    text ? el('section.card', { 'aria-labelledby': 'signed' }, el('h2', { id: 'signed' }, t('checkpoint.signed')), el('pre', { tabindex: '0', 'aria-label': t('checkpoint.signed') }, text), copier(text, t('checkpoint.signed')))
      : empty(t('checkpoint.none')),
    el('section.card', { 'aria-labelledby': 'audit-key' }, el('h2', { id: 'audit-key' }, t('checkpoint.key')), el('p', {}, fingerprint(auditKeyFingerprint)), el('p.faint', {}, t('checkpoint.key.text')), copier(auditKeyPem, t('checkpoint.key'))));
  return {};
}
