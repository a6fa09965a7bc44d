// Clients: tills, administrators and auditors, with what they may do and how much.

import { act, all, get, requestId } from '../api.js';
import { enabledBadge } from '../badge.js';
import { el, fill } from '../element.js';
import { faults, field, form } from '../form.js';
import { idOf, time } from '../format.js';
import { empty, listing } from '../listing.js';
import { presetChoice, rightsForm } from '../rights.js';
import { secretCard, newSecret } from '../secret.js';
import { may, mayGrant } from '../session.js';
import { t } from '../texts.js';

export async function show(place, [first, second]) {
  if (first === 'new') return create(place);
  if (first) return (await import('./client.js')).show(place, first, second);
  return list(place);
}

function list(place) {
  const found = listing({
    caption: t('clients.title'),
    link: ({ name }) => `#/${name}`,
    read: async (token, signal) => {
      const page = await get('/v1/clients', { pageSize: 50, pageToken: token }, signal);
      return { items: page.clients ?? [], next: page.nextPageToken };
    },
    none: empty(t('clients.none')),
    columns: [
      { title: t('name'), cell: ({ displayName }) => displayName },
      { title: t('state'), cell: ({ enabled }) => enabledBadge(enabled) },
      { title: t('rights.do'), cell: ({ rights = {} }) => (rights.mayDo ?? []).map((group) => t(`group.${group}`)).join(', ') || t('none') },
      { title: t('created'), cell: ({ createTime }) => time(createTime) },
    ],
  });
  fill(place, el('div.heading', {}, el('h1', {}, t('clients.title')), may('CLIENTS') && el('a.button.main', { href: '#/clients/new' }, t('clients.new'))), found.whole);
  found.reload(false);
  return { refresh: found.refresh };
}

async function create(place) {
  const configurations = await all('/v1/configurations', 'configurations');
  const name = field({ name: 'display_name', label: t('name'), hint: t('clients.name.hint'), required: true });
  const rights = rightsForm({ configurations, grantable: mayGrant(), rights: { mayDo: ['VEND', 'VERIFY'] } });
  const preset = presetChoice(rights.preset);
  // The same form asks for the same client under the same secret until it is done.
  let id = requestId();
  const secret = await newSecret();
  const made = form({
    fields: [name, ...[preset]], more: [rights.whole], action: t('clients.create'),
    draft: { name: 'client', inputs: [name.input, preset.input, ...rights.inputs], held: () => id, hold: (before) => { id = before; } },
    submit: async (signal) => {
      if (!name.value) throw faults([['display_name', t('missing')]]);
      const client = await act('POST', '/v1/clients', { requestId: id, displayName: name.value, ...rights.value() }, signal);
      try {
        await act('POST', `/v1/clients/${idOf(client.name)}/credentials`, { heldSecret: secret.held }, signal);
      } catch (error) {
        // It was made before, and the answer was lost; or others must agree to it too.
        if (error.reason === 'APPROVAL_PENDING') return { client, waits: error };
        if (error.reason !== 'NAME_TAKEN') throw error;
      }
      return { client };
    },
    done: ({ client, waits }, outcome) => {
      fill(place, el('p.back', {}, el('a', { href: '#/clients' }, t('clients.title'))),
        el('h1', { tabindex: '-1' }, t('clients.created', { name: client.displayName })),
        secretCard(secret, client.displayName, waits),
        waits && el('p', {}, el('a', { href: `#/${waits.metadata.approval}` }, t('approval.open'))),
        el('p', {}, el('a', { href: `#/${client.name}` }, t('clients.open'))), outcome);
      place.querySelector('h1').focus();
    },
  });
  // The form must find the inputs of the limits too.
  made.fields.push(...rights.fields);
  fill(place, el('p.back', {}, el('a', { href: '#/clients' }, t('clients.title'))), el('h1', {}, t('clients.new')),
    el('p.lead', {}, t('clients.new.text')), el('section.card', {}, made.whole));
  return {};
}
