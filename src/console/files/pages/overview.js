// What somebody looks at first: whether all is well, and what waits for them.

import { act, all, get } from '../api.js';
import { confirm } from '../dialog.js';
import { announce, el, fill, icon } from '../element.js';
import { away, dateText, grouped, idOf, number, time } from '../format.js';
import { keyEnd } from '../attributes.js';
import { refusalBox } from '../refusal.js';
import { may, session } from '../session.js';
import { many, t } from '../texts.js';

const LOOK = 5000;
// Alarms stand in the trail; they are looked for among its last records, once in a while.
const ALARMS = { kinds: ['limit.alarm', 'rows.forged'], among: 500, every: 60_000 };
// How often it is asked what was vended.
const VENDED_EVERY = 30_000;
// Keys that end within half a year are named.
const SOON = 183 * 86_400_000;

export async function show(place) {
  const parts = { health: el('div'), facts: el('div'), work: el('div') };
  fill(place, el('h1', {}, t('overview.title')), parts.health, parts.work, parts.facts);
  const leaving = new AbortController();
  await refresh(parts, leaving.signal);
  const timer = setInterval(() => {
    if (!document.hidden) refresh(parts, leaving.signal).catch(() => {});
  }, LOOK);
  return {
    refresh: () => refresh(parts, leaving.signal),
    leave: () => {
      clearInterval(timer);
      leaving.abort();
    },
  };
}

// Nobody sees what was read for the person before.
session.addEventListener('out', () => {
  alarmsRead = { at: 0, found: [] };
  vendedRead = { at: 0, kinds: [] };
});

let alarmsRead = { at: 0, found: [] };

async function alarms(signal) {
  if (Date.now() - alarmsRead.at < ALARMS.every) return alarmsRead.found;
  const { events = [] } = await get('/v1/events', { pageSize: 1000, last: ALARMS.among }, signal);
  alarmsRead = { at: Date.now(), found: events.filter(({ kind }) => ALARMS.kinds.includes(kind)).reverse() };
  return alarmsRead.found;
}

let vendedRead = { at: 0, kinds: [] };

// What was vended since midnight, in the zone of this machine.
async function vended(signal) {
  if (Date.now() - vendedRead.at < VENDED_EVERY) return vendedRead.kinds;
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const { kinds = [] } = await get('/v1/ledger/vendingReport', { startTime: midnight.toISOString(), endTime: new Date().toISOString() }, signal);
  vendedRead = { at: Date.now(), kinds };
  return kinds;
}

async function refresh({ health, facts, work }, signal) {
  // What cannot be read is left out: how the server is shall be seen all the same.
  const soft = (reading) => reading.catch((error) => {
    if (error.name === 'AbortError') throw error;
    return null;
  });
  const when = (allowed, read) => (allowed ? soft(read()) : null);
  const ledgerSeen = may('LEDGER', 'AUDIT');
  const [state, ledger, servers, approvals, configurations, checkpoint, alarmed, today] = await Promise.all([
    get('/v1/serverState', {}, signal),
    when(ledgerSeen, () => get('/v1/ledger', {}, signal)),
    when(ledgerSeen, () => get('/v1/servers', {}, signal)),
    when(may('CONFIGURATIONS', 'PUBLIC_KEYS', 'CLIENTS', 'LEDGER', 'AUDIT'), () => all('/v1/approvals', 'approvals', {}, signal)),
    soft(all('/v1/configurations', 'configurations', {}, signal)),
    when(may('AUDIT'), () => get('/v1/checkpoint', {}, signal)),
    when(may('AUDIT'), () => alarms(signal)),
    when(may('READ_LEDGER', 'LEDGER', 'AUDIT'), () => vended(signal)),
  ]);
  // What stays the same stays where it is: somebody may be about to press a button.
  const told = JSON.stringify([state.serving, state.causes]);
  if (health.dataset.told !== told) fill(health, healthCard(state));
  health.dataset.told = told;
  fill(work, el('div.tiles', {}, today && vendedTile(today), approvals && waitingTile(approvals, state), configurations && [configurationsTile(configurations), endingTile(configurations)], alarmed && alarmsTile(alarmed)));
  fill(facts, factsCard(state, ledger, servers?.servers ?? [], checkpoint));
}

function healthCard({ serving, causes = [] }) {
  return el(serving ? 'section.card.health.good' : 'section.card.health.bad', { 'aria-labelledby': 'health' },
    el('div.sign', {}, icon(serving ? 'good' : 'bad')),
    el('div', {},
      el('h2', { id: 'health' }, t(serving ? 'health.good' : 'health.bad')),
      serving ? el('p', {}, t('health.good.text'))
        : [el('ul', {}, causes.map(({ kind, reason }) => el('li', {}, el('strong', {}, t(`cause.${kind}`)), ': ', reason))),
          may('LEDGER') && Object.keys(ACCEPTED).filter((kind) => causes.some((cause) => cause.kind === kind)).map(accept)]));
}

// What a person may accept as it is.
const ACCEPTED = { clock: 'acceptClock', checkpoint: 'acceptRestore' };

function accept(kind) {
  const verb = ACCEPTED[kind];
  const outcome = el('div.outcome');
  const button = el('button', {
    type: 'button', onclick: async () => {
      if (!(await confirm({ title: t(`${verb}.title`), text: t(`${verb}.text`), action: t(verb), grave: true }))) return;
      try {
        await act('POST', `/v1/ledger:${verb}`);
        announce(t('accepted'));
        fill(outcome, el('p', {}, t('accepted')));
      } catch (error) {
        fill(outcome, refusalBox(error));
      }
    },
  }, t(verb));
  return [el('p', {}, button), outcome];
}

function tile(title, figure, text, link) {
  return el('section.card.tile', {}, el('h2', {}, title), el('p.figure', {}, figure), text && el('div.faint', {}, text), link && el('p', {}, link));
}

function waitingTile(approvals, { approvalsNeeded = 1 }) {
  const text = approvals.length ? el('ul.plain', {}, approvals.slice(0, 3).map((one) => el('li', {}, el('a', { href: `#/${one.name}` }, one.summary))))
    : t(approvalsNeeded > 1 ? 'overview.nothing.waits' : 'overview.alone');
  return tile(t('overview.waits'), number(approvals.length), text);
}

function configurationsTile(configurations) {
  const enabled = configurations.filter((one) => one.state === 'ENABLED').length;
  const text = configurations.length ? many('overview.of.configurations', configurations.length) : t('overview.no.configurations');
  return tile(t('overview.enabled'), number(enabled), text, el('a', { href: '#/configurations' }, t('overview.see.configurations')));
}

function vendedTile(kinds) {
  const tokens = kinds.reduce((all, one) => all + Number(one.tokens), 0);
  const units = [...new Set(kinds.filter(({ amount }) => amount).map(({ unit = '' }) => unit))];
  const sums = units.map((unit) => `${number(kinds.filter((one) => (one.unit ?? '') === unit).reduce((all, { amount }) => all + Number(amount || 0), 0))} ${unit || t('reports.currency')}`);
  return tile(t('overview.today'), number(tokens), sums.join(' · ') || t('overview.today.none'), el('a', { href: '#/reports' }, t('overview.see.reports')));
}

function alarmsTile(found) {
  const text = found.length ? el('ul.plain', {}, found.slice(0, 3).map(({ kind, time: at }) => el('li', {}, t(`event.${kind}`), ' · ', time(at))))
    : t('overview.no.alarms', { count: number(ALARMS.among) });
  return tile(t('overview.alarms'), number(found.length), text, el('a', { href: '#/trail' }, t('overview.see.trail')));
}

function endingTile(configurations) {
  const ends = configurations.filter((one) => ['ENABLED', 'DISABLED'].includes(one.state))
    .map((one) => ({ one, end: keyEnd(one.attributes) })).filter(({ end }) => end - Date.now() < SOON)
    .sort((a, b) => a.end - b.end);
  const text = ends.length ? el('ul.plain', {}, ends.slice(0, 5).map(({ one, end }) =>
    el('li', {}, el('a', { href: `#/${one.name}` }, one.displayName), ` · ${dateText(end)}, ${away(end)}`))) : t('overview.none.ends');
  return tile(t('overview.ends'), number(ends.length), text);
}

function fact(name, ...value) {
  return [el('dt', {}, name), el('dd', {}, value)];
}

function factsCard(state, ledger, servers, checkpoint) {
  const own = servers.find((server) => server.answering);
  const signed = checkpoint?.text?.match(/^time (\d+)$/m)?.[1];
  return el('section.card', { 'aria-labelledby': 'server' },
    el('h2', { id: 'server' }, t('overview.server')),
    el('dl.facts', {},
      fact(t('server.name'), state.displayName, ' ', el('span.faint', {}, `Vendkey ${state.version}`)),
      fact(t('server.time'), time(state.time)),
      own && fact(t('server.hsm'), el('code', {}, own.hsmToken)),
      ledger && fact(t('ledger.records'), number(ledger.records ?? 0)),
      ledger && fact(t('ledger.chain'), el('code.long', {}, grouped(ledger.chain, 8)), ' ', el('span.faint', {}, t('ledger.position', { position: number(ledger.position ?? 0) }))),
      checkpoint && fact(t('checkpoint.last'), checkpoint.text ? time(new Date(Number(signed)).toISOString()) : t('checkpoint.none')),
      state.approvalsNeeded > 1 && fact(t('approvals.needed'), many('persons', state.approvalsNeeded))),
    servers.length > 1 && el('div.scroll', {}, el('table', {}, el('caption.unseen', {}, t('servers')),
      el('thead', {}, el('tr', {}, ['server.name', 'server.version', 'server.hsm', 'server.life', 'ledger.records'].map((name) => el('th', { scope: 'col' }, t(name))))),
      el('tbody', {}, servers.map((server) => el('tr', {},
        el('th', { scope: 'row', 'data-title': t('server.name') }, server.displayName),
        el('td', { 'data-title': t('server.version') }, server.version || '–'),
        el('td', { 'data-title': t('server.hsm') }, el('code', {}, server.hsmToken || '–')),
        el('td', { 'data-title': t('server.life') }, time(server.lastLifeTime)),
        el('td.figures', { 'data-title': t('ledger.records') }, number(server.position ?? 0))))))));
}
