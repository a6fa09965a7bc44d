// Tokens: the ledger as a table, one token, what somebody's digits are, and a new one.

import { get } from '../api.js';
import { exporter } from '../csv.js';
import { el, fill } from '../element.js';
import { choice, field, form } from '../form.js';
import { copier, grouped, number, time, token as digits } from '../format.js';
import { empty, listing } from '../listing.js';
import { pan } from '../meter.js';
import { may, offers } from '../session.js';
import { t } from '../texts.js';

const VENDS = ['VEND', 'MANAGE', 'CHANGE_KEYS'];

export async function show(place, [first]) {
  if (first === 'verify') return (await import('./verify.js')).show(place);
  if (first === 'keys') return (await import('./carry.js')).show(place);
  if (first === 'files') return (await import('./files.js')).show(place);
  if (first === 'issue') return (await import('./issue.js')).show(place);
  return first ? one(place, first) : list(place);
}

export function tabs(current) {
  const tab = (path, name) => el('li', {}, el('a', { href: `#/${path}`, 'aria-current': path === current ? 'page' : null }, t(name)));
  return el('nav.tabs', { 'aria-label': t('tokens.title') }, el('ul', {},
    tab('tokens', 'tokens.ledger'),
    may('VERIFY') && tab('tokens/verify', 'verify.title'),
    offers.issues && may('VEND', 'MANAGE') && tab('tokens/issue', 'issue.title'),
    tab('tokens/files', 'files.title'),
    offers.issues && may('CHANGE_KEYS') && tab('tokens/keys', 'carry.title')));
}

export function transferred({ transferred: given }) {
  return given ? `${number(given.amount)} ${given.unit ?? ''}` : '–';
}

// The bits of a block by name.
export function bits(layout) {
  return layout?.length && el('div.bits', { role: 'group', 'aria-label': t('verify.bits') },
    layout.map(({ name, bits: own }) => el('div.bit', {}, el('span.faint', {}, name), el('code', {}, own))));
}

// A time that was typed, in the zone of this machine; the API wants one with its zone.
function instant(text) {
  return text ? new Date(text).toISOString() : undefined;
}

// A time as such an input writes it.
function localText(time) {
  const minutes = new Date(time).getTimezoneOffset();
  return new Date(time - minutes * 60_000).toISOString().slice(0, 16);
}

function list(place) {
  const meter = field({ name: 'meter_pan', label: t('meter'), hint: t('tokens.meter.hint'), inputmode: 'numeric' });
  const from = field({ name: 'start_time', label: t('tokens.from'), value: localText(Date.now() - 86_400_000), hint: t('zone', { zone: Intl.DateTimeFormat().resolvedOptions().timeZone }), type: 'datetime-local' });
  const until = field({ name: 'end_time', label: t('tokens.until'), type: 'datetime-local' });
  const kind = choice({ name: 'token_class', label: t('token.class'), options: [['', t('all')], ...[0, 1, 2].map((one) => [String(one), t(`class.${one}`)])] });
  const request = field({ name: 'request_id', label: t('tokens.request'), hint: t('tokens.request.hint') });
  // The rows come in the order in which they were issued, so it begins with the last day.
  let filter = { startTime: instant(from.value) };
  // How far an export can come, where that may be told: rows are named by their records.
  let last = null;
  if (may('LEDGER', 'AUDIT')) get('/v1/ledger').then(({ records }) => { last = Number(records); }, () => {});
  const found = listing({
    caption: t('tokens.ledger'),
    link: ({ name }) => `#/tokens/${name.split('/')[1]}`,
    read: async (token, signal) => {
      const page = await get('/v1/issuedTokens', { ...filter, pageSize: 50, pageToken: token }, signal);
      return { items: page.tokens ?? [], next: page.nextPageToken };
    },
    none: empty(t('tokens.none'), el('p', {}, t(offers.issues && may('VEND', 'MANAGE') ? 'tokens.none.next' : 'tokens.none.wait'))),
    columns: [
      { title: t('token.number'), kind: 'figures', cell: ({ name }) => name.split('/')[1] },
      { title: t('token.issued'), cell: ({ issueTime }) => time(issueTime) },
      { title: t('token.kind'), cell: ({ kind: words }) => words },
      { title: t('token.transfers'), kind: 'figures', cell: transferred },
      { title: t('meter'), kind: 'figures', cell: ({ drn, meterPan }) => drn || meterPan || '–' },
      { title: t('kcv'), cell: ({ kcv }) => el('code', {}, kcv || '–') },
    ],
  });
  const search = form({
    fields: [meter, from, until, kind, request].filter((one) => one !== request || may(...VENDS)), action: t('find'), inline: true,
    submit: async (signal) => {
      if (request.value) {
        const { name } = await get('/v1/issuedTokens:byRequest', { requestId: request.value }, signal);
        location.hash = `#/tokens/${name.split('/')[1]}`;
        return;
      }
      filter = {
        meterPan: meter.value && (pan(meter.value) ?? meter.value), tokenClass: kind.value,
        startTime: instant(from.value), endTime: instant(until.value),
      };
      await found.reload();
    },
  });
  const exported = exporter({
    path: '/v1/issuedTokens', query: () => filter, items: 'tokens', file: 'tokens.csv',
    columns: [
      ['number', ({ name }) => name.split('/')[1]], ['issued', ({ issueTime }) => issueTime], ['kind', ({ kind: words }) => words],
      ['class', ({ tokenClass = 0 }) => tokenClass], ['subclass', ({ tokenSubclass = 0 }) => tokenSubclass],
      ['amount', (row) => row.transferred?.amount], ['unit', (row) => row.transferred?.unit], ['drn', ({ drn }) => drn],
      ['pan', ({ meterPan }) => meterPan], ['tid', ({ tid }) => tid?.value], ['configuration', (row) => row.configuration],
      ['kcv', ({ kcv }) => kcv], ['request_id', ({ requestId }) => requestId],
    ],
    share: ({ name }) => (last ? Number(name.split('/')[1]) / last : null),
  });
  fill(place, el('h1', {}, t('tokens.title')), tabs('tokens'), !offers.issues && may(...VENDS) && el('div.box.note', {}, t('tokens.elsewhere')),
    el('section.card.search', { 'aria-label': t('find') }, search.whole), found.whole, exported);
  found.reload(false);
  return { refresh: found.refresh };
}

async function one(place, id) {
  const shown = await get(`/v1/issuedTokens/${id}`);
  const row = (name, ...value) => value[0] !== undefined && value[0] !== '' && [el('dt', {}, name), el('dd', {}, value)];
  fill(place, el('p.back', {}, el('a', { href: '#/tokens' }, t('tokens.back'))),
    el('h1', {}, t('token.title', { number: id })),
    shown.token && el('section.card', { 'aria-labelledby': 'digits' }, el('h2', { id: 'digits' }, t('token.digits')),
      el('p.large', {}, digits(shown.token)), copier(shown.token, t('token.digits'))),
    el('section.card', { 'aria-labelledby': 'token' }, el('h2', { id: 'token' }, shown.kind), el('dl.facts', {},
      row(t('token.transfers'), transferred(shown), shown.transferred?.roundedUp && el('span.faint', {}, ` ${t('token.rounded')}`)),
      row(t('token.class'), t('token.class.both', { class: shown.tokenClass ?? 0, subclass: shown.tokenSubclass ?? 0 })),
      row(t('meter'), shown.drn && el('span.figures', {}, shown.drn)),
      row(t('meter.pan'), shown.meterPan && el('span.figures', {}, grouped(shown.meterPan))),
      shown.tid && row(t('token.tid'), el('span.figures', {}, String(shown.tid.value ?? 0)), ' · ', time(shown.tid.time)),
      row(t('token.register'), shown.register),
      row(t('token.control'), shown.control),
      shown.configuration && row(t('configuration'), el('a', { href: `#/${shown.configuration}` }, shown.configuration)),
      row(t('kcv'), shown.kcv),
      row(t('tokens.request'), el('code.long', {}, shown.requestId)),
      row(t('token.issued'), time(shown.issueTime)))),
    shown.bitLayout?.length && el('section.card', { 'aria-labelledby': 'bits' }, el('h2', { id: 'bits' }, t('verify.bits')),
      el('p.faint', {}, t('token.bits.text')), bits(shown.bitLayout)));
  return {};
}
