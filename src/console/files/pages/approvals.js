// Approvals: what exactly will happen, who asked, who agreed.

import { act, get } from '../api.js';
import { badge } from '../badge.js';
import { confirm } from '../dialog.js';
import { announce, el, fill } from '../element.js';
import { tick } from '../form.js';
import { away, fingerprint, time, timeText } from '../format.js';
import { empty, listing } from '../listing.js';
import { refusalBox } from '../refusal.js';
import { client, may } from '../session.js';
import { many, t } from '../texts.js';

export async function show(place, [first]) {
  return first ? one(place, first) : list(place);
}

function list(place) {
  const ended = tick({ label: t('approvals.ended') });
  const found = listing({
    caption: t('approvals.title'),
    link: ({ name }) => `#/${name}`,
    read: async (token, signal) => {
      const page = await get('/v1/approvals', { pageSize: 50, pageToken: token, ended: ended.input.checked }, signal);
      return { items: page.approvals ?? [], next: page.nextPageToken };
    },
    none: empty(t('approvals.none'), el('p', {}, t('approvals.none.next'))),
    columns: [
      { title: t('approval.what'), cell: ({ summary }) => summary },
      { title: t('state'), cell: ({ state }) => badge(state) },
      { title: t('approval.requester'), cell: ({ requesterDisplayName }) => requesterDisplayName },
      { title: t('approval.missing'), kind: 'figures', cell: ({ missing = 0, state }) => (state === 'PENDING' ? String(missing) : '–') },
      { title: t('approval.expires'), cell: ({ expireTime }) => time(expireTime) },
    ],
  });
  ended.input.addEventListener('change', () => found.reload());
  fill(place, el('h1', {}, t('approvals.title')), ended.whole, found.whole);
  found.reload(false);
  return { refresh: found.refresh };
}

async function one(place, id) {
  const outcome = el('div.outcome');
  const read = async () => draw(await get(`/v1/approvals/${id}`));
  const draw = (approval) => {
    const { state, summary, votes = [], missing = 0, contentSha256 } = approval;
    const own = approval.requester === client().name;
    const voted = votes.some((vote) => vote.client === client().name);
    fill(place, el('p.back', {}, el('a', { href: '#/approvals' }, t('approvals.title'))),
      el('div.heading', {}, el('h1', {}, t('approval.title')), badge(state)),
      el('section.card', { 'aria-labelledby': 'what' }, el('h2', { id: 'what' }, t('approval.will')), el('p.summary', {}, summary),
        state === 'PENDING' && el('p.faint', {}, many('approval.still', missing), ' ', t('approval.until', { time: timeText(approval.expireTime), away: away(approval.expireTime) })),
        approval.outcome && el('p', {}, t(state === 'FAILED' ? 'approval.failed' : 'approval.came'), ' ', outcomeText(approval.outcome))),
      state === 'PENDING' && may('CONFIGURATIONS', 'PUBLIC_KEYS', 'CLIENTS', 'LEDGER') && el('div', {},
        own && el('p.faint', {}, t('approval.own')),
        el('div.actions', {},
          !own && !voted && vote('approve', 'main', approval),
          vote(own ? 'withdraw' : 'reject', 'grave', approval))),
      outcome,
      el('section.card', { 'aria-labelledby': 'who' }, el('h2', { id: 'who' }, t('approval.who')), el('ol.votes', {},
        el('li', {}, el('strong', {}, approval.requesterDisplayName), ` ${t('approval.asked.for')} · `, time(approval.createTime)),
        votes.map((given) => el('li', {}, el('strong', {}, given.displayName), ` ${t(given.approves ? 'approval.agreed' : 'approval.against')} · `, time(given.time))))),
      el('section.card', { 'aria-labelledby': 'exactly' }, el('h2', { id: 'exactly' }, t('approval.exactly')),
        approval.act ? el('pre', { tabindex: '0', 'aria-label': t('approval.exactly') }, JSON.stringify(JSON.parse(approval.act), null, 2)) : el('p', {}, t('approval.old')),
        el('h3', {}, t('approval.hash')), el('p', {}, fingerprint(contentSha256)), el('p.faint', {}, t('approval.hash.text'))));
  };
  const vote = (verb, kind, { name, summary, contentSha256 }) => el('button', {
    type: 'button', class: kind, onclick: async (event) => {
      const pressed = event.currentTarget;
      if (!(await confirm({ title: t(`approval.${verb}.title`), text: summary, action: t(`approval.${verb}`), grave: kind === 'grave' }))) return;
      pressed.disabled = true;
      fill(outcome);
      try {
        // Nothing but what stands on this page is approved.
        draw(verb === 'approve' ? await act('POST', `/v1/${name}:approve`, { contentSha256 }) : await act('POST', `/v1/${name}:reject`));
        announce(t(`approval.${verb}.done`));
      } catch (error) {
        fill(outcome, refusalBox(error, () => pressed.click()));
      } finally {
        pressed.disabled = false;
      }
    },
  }, t(`approval.${verb}`));
  await read();
  return { refresh: () => read().catch(() => {}) };
}

function outcomeText(text) {
  return /^[a-zA-Z]+\/[\w:.-]+$/.test(text) ? el('a', { href: `#/${text}` }, text) : text;
}
