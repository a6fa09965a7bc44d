// The keys that sign uploads.

import { act, get } from '../api.js';
import { enabledBadge } from '../badge.js';
import { confirm } from '../dialog.js';
import { announce, el, fill } from '../element.js';
import { faults, field, form } from '../form.js';
import { copier, fingerprint, time } from '../format.js';
import { empty, listing } from '../listing.js';
import { refusalBox } from '../refusal.js';
import { saver } from '../secret.js';
import { client, may } from '../session.js';
import { holdSigner } from '../signer.js';
import { base64, make, pem } from '../signing.js';
import { t } from '../texts.js';

// More than any file of a public key has.
const LARGEST = 100_000;

export async function show(place, [first]) {
  return first ? one(place, first) : list(place);
}

function list(place) {
  const found = listing({
    caption: t('publicKeys.title'),
    link: ({ name }) => `#/${name}`,
    read: async (token, signal) => {
      const page = await get('/v1/publicKeys', { pageSize: 50, pageToken: token }, signal);
      return { items: page.publicKeys ?? [], next: page.nextPageToken };
    },
    none: empty(t('publicKeys.none'), el('p', {}, t(may('PUBLIC_KEYS') ? 'publicKeys.none.next' : 'publicKeys.none.ask'))),
    columns: [
      { title: t('name'), cell: ({ displayName }) => displayName },
      { title: t('state'), cell: ({ enabled }) => enabledBadge(enabled) },
      { title: t('publicKey.bits'), kind: 'figures', cell: ({ bits }) => String(bits) },
      { title: t('fingerprint'), cell: ({ fingerprint: hex }) => el('code', {}, `${hex.slice(0, 16)}…`) },
      { title: t('publicKey.owner'), cell: ({ owner }) => (owner === client().name ? t('you') : el('code.long', {}, owner)) },
      { title: t('created'), cell: ({ createTime }) => time(createTime) },
    ],
  });
  fill(place, el('h1', {}, t('publicKeys.title')), el('p.lead', {}, t('publicKeys.text')), found.whole,
    may('PUBLIC_KEYS') && [makePair(found.reload), register(found.reload)]);
  found.reload(false);
  return { refresh: found.refresh };
}

function register(reload) {
  const name = field({ name: 'display_name', label: t('name'), hint: t('publicKey.name.hint'), required: true });
  const file = field({ name: 'public_key', label: t('publicKey.file'), hint: t('publicKey.file.hint'), type: 'file', required: true });
  const made = form({
    fields: [name, file], action: t('publicKey.register'), draft: { name: 'publicKey', inputs: [name.input] },
    submit: async (signal) => {
      const [chosen] = file.input.files;
      const missing = [!name.value && ['display_name', t('missing')], !chosen && ['public_key', t('missing')]].filter(Boolean);
      if (missing.length) throw faults(missing);
      if (chosen.size > LARGEST) throw faults([['public_key', t('upload.large')]]);
      const bytes = new Uint8Array(await chosen.arrayBuffer());
      // What is a private key is kept back here: nobody else needs to have seen it.
      if (new TextDecoder().decode(bytes).includes('PRIVATE KEY')) throw faults([['public_key', t('publicKey.private')]]);
      return act('POST', '/v1/publicKeys', { displayName: name.value, publicKey: base64(bytes) }, signal);
    },
    done: async ({ name: made }) => {
      announce(t('publicKey.registered'));
      await reload(false);
      location.hash = `#/${made}`;
    },
  });
  return el('section.card', { 'aria-labelledby': 'register' }, el('h2', { id: 'register' }, t('publicKey.register.title')), made.whole);
}

// A key pair of this browser's making.
function makePair(reload) {
  const name = field({ name: 'display_name', label: t('name'), hint: t('publicKey.name.hint'), required: true });
  const passphrase = field({ name: 'passphrase', label: t('signer.passphrase'), hint: t('signer.passphrase.new'), type: 'password', autocomplete: 'new-password', required: true });
  const again = field({ name: 'passphrase_again', label: t('signer.passphrase.again'), type: 'password', autocomplete: 'new-password', required: true });
  const shown = el('div');
  // The same pair until it is registered: a lost answer makes no second one.
  let pair = null;
  const made = form({
    fields: [name, passphrase, again], action: t('signer.make'), draft: { name: 'signer', inputs: [name.input] },
    submit: async (signal) => {
      const wrong = [
        !name.value && ['display_name', t('missing')],
        passphrase.input.value.length < 12 && ['passphrase', t('signer.passphrase.short')],
        passphrase.input.value !== again.input.value && ['passphrase_again', t('signer.passphrase.differs')],
      ].filter(Boolean);
      if (wrong.length) throw faults(wrong);
      pair ??= await make(passphrase.input.value);
      const body = { displayName: name.value, publicKey: base64(new TextEncoder().encode(pem('PUBLIC KEY', pair.spki))) };
      try {
        await act('POST', '/v1/publicKeys', body, signal);
      } catch (error) {
        if (error.reason !== 'APPROVAL_PENDING') throw error;
        save();
        throw error;
      }
      return pair;
    },
    done: async () => {
      holdSigner(pair);
      save();
      pair = null;
      for (const one of [passphrase, again]) one.input.value = '';
      await reload(false);
      shown.querySelector('h3').focus();
    },
  });
  const save = () => fill(shown, el('div.box.good', { role: 'status' }, el('h3', { tabindex: '-1' }, t('signer.made')),
    el('p', {}, saver(pair.file, 'signing-key.pem', t('secret.save')))));
  return el('section.card', { 'aria-labelledby': 'make' }, el('h2', { id: 'make' }, t('signer.make.title')), el('p.faint', {}, t('signer.make.text')), made.whole, shown);
}

async function one(place, id) {
  const outcome = el('div.outcome');
  const read = async () => draw(await get(`/v1/publicKeys/${id}`));
  const change = (verb, kind, { name, displayName }) => el('button', {
    type: 'button', class: kind, onclick: async (event) => {
      const pressed = event.currentTarget;
      if (verb === 'disable' && !(await confirm({ title: t('publicKey.disable.title', { name: displayName }), text: t('publicKey.disable.text'), action: t('disable'), grave: true }))) return;
      pressed.disabled = true;
      fill(outcome);
      try {
        await act('POST', `/v1/${name}:${verb}`);
        announce(t(`publicKey.${verb}d`));
        await read();
      } catch (error) {
        fill(outcome, refusalBox(error, () => pressed.click()));
      } finally {
        pressed.disabled = false;
      }
    },
  }, t(verb));
  const draw = (key) => fill(place, el('p.back', {}, el('a', { href: '#/publicKeys' }, t('publicKeys.title'))),
    el('div.heading', {}, el('h1', {}, key.displayName), enabledBadge(key.enabled)),
    key.warnings?.length && el('div.box.note', {}, el('ul', {}, key.warnings.map(({ code, message }) => el('li', {}, message, ' ', el('code', {}, code))))),
    may('PUBLIC_KEYS') && el('div.actions', {}, key.enabled ? change('disable', 'grave', key) : change('enable', 'main', key)),
    outcome,
    el('section.card', { 'aria-labelledby': 'fingerprint' }, el('h2', { id: 'fingerprint' }, t('fingerprint')), el('p', {}, fingerprint(key.fingerprint)), el('p.faint', {}, t('fingerprint.text'))),
    el('section.card', { 'aria-labelledby': 'key' }, el('h2', { id: 'key' }, t('publicKey')), el('dl.facts', {},
      el('dt', {}, t('publicKey.bits')), el('dd', {}, `RSA, ${key.bits}`),
      el('dt', {}, t('publicKey.owner')), el('dd', {}, key.owner === client().name ? t('you') : el('code.long', {}, key.owner)),
      el('dt', {}, t('created')), el('dd', {}, time(key.createTime)),
      el('dt', {}, t('name.resource')), el('dd', {}, el('code.long', {}, key.name), ' ', copier(key.name, t('name.resource'))),
      el('dt', {}, 'PEM'), el('dd', {}, copier(key.publicKeyPem, 'PEM')))));
  await read();
  return { refresh: () => read().catch(() => {}) };
}
