// One client: its rights, its limits and its credentials.

import { act, all, get } from '../api.js';
import { enabledBadge } from '../badge.js';
import { confirm } from '../dialog.js';
import { announce, el, fill } from '../element.js';
import { choice, faults, field, form } from '../form.js';
import { idOf, time, timeText } from '../format.js';
import { empty, table } from '../listing.js';
import { refusalBox } from '../refusal.js';
import { rightsForm, rightsList } from '../rights.js';
import { newSecret, secretCard } from '../secret.js';
import { client as self, may, mayGrant } from '../session.js';
import { t } from '../texts.js';

export async function show(place, id, part) {
  const path = `/v1/clients/${id}`;
  const configurations = await all('/v1/configurations', 'configurations');
  if (part === 'edit') return edit(place, path, await get(path), configurations);
  const outcome = el('div.outcome');
  const nameOf = (name) => configurations.find((one) => one.name === name)?.displayName ?? name;
  const read = async () => {
    const [client, credentials] = await Promise.all([get(path), all(`${path}/credentials`, 'credentials')]);
    draw(client, credentials);
  };
  // One act, said and asked about, then the page as it is afterwards.
  const button = (words, kind, question, does, done) => el('button', {
    type: 'button', class: kind, onclick: async (event) => {
      const pressed = event.currentTarget;
      if (question && !(await confirm({ action: words, grave: kind === 'grave', ...question }))) return;
      pressed.disabled = true;
      fill(outcome);
      try {
        await does();
        announce(done);
        await read();
      } catch (error) {
        fill(outcome, refusalBox(error, () => pressed.click()));
        outcome.scrollIntoView({ block: 'nearest' });
      } finally {
        pressed.disabled = false;
      }
    },
  }, words);
  const draw = (client, credentials) => {
    const { name, displayName, enabled } = client;
    const administers = may('CLIENTS');
    const own = name === self().name;
    fill(place, el('p.back', {}, el('a', { href: '#/clients' }, t('clients.title'))),
      el('div.heading', {}, el('h1', {}, displayName), enabledBadge(enabled)),
      administers && el('div.actions', {},
        enabled ? button(t('disable'), 'grave', { title: t('client.disable.title', { name: displayName }), text: t('client.disable.text') }, () => act('POST', `/v1/${name}:disable`), t('client.disabled'))
          : button(t('enable'), 'main', null, () => act('POST', `/v1/${name}:enable`), t('client.enabled')),
        !own && el('a.button', { href: `#/${name}/edit` }, t('client.edit'))),
      outcome,
      el('section.card', { 'aria-labelledby': 'rights' }, el('h2', { id: 'rights' }, t('client.rights')), rightsList(client, nameOf)),
      el('section', { 'aria-labelledby': 'credentials' }, el('h2', { id: 'credentials' }, t('credentials')),
        credentials.length ? credentialTable(client, credentials, administers) : empty(t('credentials.none'), administers && el('p', {}, t('credentials.none.next')))),
      administers && newCredential(client, read));
  };
  const credentialTable = (client, credentials, administers) => table({
    caption: t('credentials'), items: credentials,
    columns: [
      { title: t('credential.id'), cell: ({ name }) => el('code.long', {}, idOf(name)) },
      { title: t('state'), cell: ({ enabled }) => enabledBadge(enabled) },
      { title: t('credential.ends'), cell: ({ expireTime }) => (expireTime ? time(expireTime) : t('never')) },
      { title: t('created'), cell: ({ createTime }) => time(createTime) },
      { title: t('acts'), cell: ({ name, enabled }) => administers && (enabled
        ? button(t('disable'), '', { title: t('credential.disable.title'), text: t('credential.disable.text', { id: idOf(name), name: client.displayName }) }, () => act('POST', `/v1/${name}:disable`), t('credential.disabled'))
        : button(t('enable'), '', null, () => act('POST', `/v1/${name}:enable`), t('credential.enabled'))) },
    ],
  });
  await read();
  return { refresh: () => read().catch((error) => fill(outcome, refusalBox(error))) };
}

// One more credential: a secret that is made here, or a certificate.
function newCredential(client, read) {
  const proof = choice({ label: t('credential.proof'), options: [['secret', t('credential.secret')], ['certificate', t('credential.certificate')]] });
  const certificate = field({ name: 'certificate', label: t('credential.certificate.id'), hint: t('credential.certificate.hint') });
  const ends = field({ name: 'expire_time', label: t('credential.ends'), hint: t('credential.ends.hint', { zone: Intl.DateTimeFormat().resolvedOptions().timeZone }), type: 'datetime-local', optional: true });
  const fit = () => { certificate.whole.hidden = proof.value !== 'certificate'; };
  proof.input.addEventListener('change', fit);
  fit();
  let secret = null;
  const shown = el('div');
  const made = form({
    fields: [proof, certificate, ends], action: t('credential.create'),
    draft: { name: `${client.name}.credential`, inputs: [proof, certificate, ends].map(({ input }) => input) },
    submit: async (signal) => {
      const body = { expireTime: ends.value ? new Date(ends.value).toISOString() : undefined };
      if (proof.value === 'certificate') {
        if (!certificate.value) throw faults([['certificate', t('missing')]]);
        body.certificate = certificate.value;
      } else {
        // The same until it is known to be there: a lost answer makes no second one.
        secret ??= await newSecret();
        body.heldSecret = secret.held;
      }
      try {
        await act('POST', `/v1/${client.name}/credentials`, body, signal);
      } catch (error) {
        if (error.reason === 'APPROVAL_PENDING' && body.heldSecret) fill(shown, secretCard(secret, client.displayName, true));
        if (error.reason !== 'NAME_TAKEN' || !body.heldSecret) throw error;
      }
      return body.heldSecret ? secret : null;
    },
    done: async (held) => {
      secret = null;
      announce(t('credential.created'));
      if (!held) return read();
      fill(shown, secretCard(held, client.displayName, false));
      shown.querySelector('h2').focus();
      return null;
    },
  });
  return el('section.card', { 'aria-labelledby': 'new-credential' }, el('h2', { id: 'new-credential' }, t('credential.new')), made.whole, shown);
}

function edit(place, path, client, configurations) {
  const name = field({ name: 'display_name', label: t('name'), value: client.displayName, required: true });
  const rights = rightsForm({ configurations, grantable: mayGrant(), rights: client.rights, limits: client.limits });
  const made = form({
    fields: [name], more: [rights.whole], action: t('save'),
    // Of the client as it is now alone.
    draft: { name: `${client.name}.${client.etag}`, inputs: [name.input, ...rights.inputs] },
    submit: (signal) => act('PUT', path, { etag: client.etag, displayName: name.value, ...rights.value() }, signal),
    done: () => {
      announce(t('client.saved'));
      location.hash = `#/${client.name}`;
    },
  });
  made.fields.push(...rights.fields);
  fill(place, el('p.back', {}, el('a', { href: `#/${client.name}` }, client.displayName)), el('h1', {}, t('client.edit.title', { name: client.displayName })),
    el('p.faint', {}, t('client.read', { time: timeText(client.updateTime) })), el('section.card', {}, made.whole));
  return {};
}
