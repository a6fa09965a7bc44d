// A configuration, filled in and sealed in the browser: the vending key leaves it encrypted to the
// HSM alone.

import { act, all, get } from '../api.js';
import { attributeList } from '../attributes.js';
import { announce, el, fill } from '../element.js';
import { faults, field, form, tick } from '../form.js';
import { checkValue as shownValue, fingerprint } from '../format.js';
import { keyFields } from '../keyform.js';
import { KEY_DIGITS, checkValue, seal } from '../sealing.js';
import { fromHex } from '../signing.js';
import { client } from '../session.js';
import { signerFields } from '../signer.js';
import { t } from '../texts.js';
import { tabs } from './configurations.js';

export async function show(place) {
  const [{ sealing }, keys] = await Promise.all([get('/v1/serverKey'), all('/v1/publicKeys', 'publicKeys')]);
  const head = [el('h1', {}, t('seal.title')), tabs('configurations/seal'), el('p.lead', {}, t('seal.text'))];
  if (!sealing) {
    fill(place, head, el('div.box.note', {}, t('seal.no.key')));
    return {};
  }
  const own = keys.filter((key) => key.enabled && key.owner === client().name);
  if (!own.length) {
    fill(place, head, el('div.box.note', {}, el('p', {}, t('seal.no.signer')), el('p', {}, el('a', { href: '#/publicKeys' }, t('seal.make.signer')))));
    return {};
  }
  const name = field({ name: 'name', label: t('name'), hint: t('seal.name.hint'), required: true });
  const about = keyFields();
  const dkga = about.one('decoder_key_generation_algorithm');
  const key = field({ name: 'vending_key', label: t('seal.key'), hint: t('seal.key.hint'), type: 'password', required: true, class: 'digits' });
  const value = el('p', { 'aria-live': 'polite' });
  const compared = tick({ label: t('seal.compared') });
  const signer = signerFields(own);
  const digits = () => KEY_DIGITS[dkga.value];
  const clear = () => key.value.replace(/[\s:]/g, '').toLowerCase();
  const look = async () => {
    const given = clear();
    if (given.length !== digits() || !/^[0-9a-f]*$/.test(given)) {
      fill(value, el('span.faint', {}, t('seal.digits', { given: given.length, wanted: digits() })));
      return;
    }
    const bytes = fromHex(given);
    fill(value, `${t('kcv')}: `, shownValue(await checkValue(dkga.value, bytes)));
    bytes.fill(0);
  };
  key.input.addEventListener('input', look);
  dkga.input.addEventListener('change', look);
  look();
  const shown = tick({ label: t('seal.show') });
  shown.input.addEventListener('change', () => { key.input.type = shown.input.checked ? 'text' : 'password'; });
  const attributes = [name, ...about.fields];
  const send = (document, validateOnly) => (signal) => act('POST', '/v1/configurations:importSealed', { document, validateOnly }, signal);
  const made = form({
    fields: [name, ...attributes.slice(1), key, ...signer.fields], action: t('seal.check'),
    // Never the vending key, nor what opens the signing key.
    draft: { name: 'seal', inputs: attributes.map(({ input }) => input), lasts: true },
    grouped: [
      el('fieldset', {}, el('legend', {}, t('attributes')), name.whole, el('div.pairs', {}, attributes.slice(1).map((one) => one.whole))),
      el('fieldset', {}, el('legend', {}, t('seal.key')), key.whole, shown.whole, value),
      el('fieldset', {}, el('legend', {}, t('seal.server')), el('p', {}, t('seal.server.text')), el('p', {}, fingerprint(sealing.fingerprint)), compared.whole),
      el('fieldset', {}, el('legend', {}, t('seal.signer')), signer.whole),
    ],
    submit: async (signal) => {
      const missing = [...attributes, key].filter((one) => !one.value).map((one) => [one.name, t('missing')]);
      const given = clear();
      if (key.value && (given.length !== digits() || !/^[0-9a-f]*$/.test(given))) missing.push(['vending_key', t('seal.digits', { given: given.length, wanted: digits() })]);
      if (missing.length) throw faults(missing);
      if (!compared.input.checked) throw faults([[t('seal.server'), t('seal.compare.first')]]);
      const opened = await signer.open();
      const named = Object.fromEntries(attributes.map((one) => [one.name, one.value]));
      const sealed = await seal({
        attributes: { ...named, token_carrier_type: 'numeric' }, key: fromHex(given), server: sealing, signer: opened,
      });
      const answer = await send(sealed.document, true)(signal);
      return { ...answer, ...sealed };
    },
    done: async ({ configuration, existing, document, kcv }, outcome) => {
      // What was typed is sealed now; nobody needs it any more.
      key.input.value = '';
      look();
      const store = form({
        fields: [], action: t('upload.store'), submit: send(document, false),
        done: ({ configuration: stored, existing: known }) => {
          made.kept.clear();
          announce(t(known ? 'upload.existing' : 'upload.done'));
          location.hash = `#/${stored.name}`;
        },
      });
      fill(outcome, el('section.card.inner', { 'aria-labelledby': 'checked' },
        el('h2', { id: 'checked', tabindex: '-1' }, t('upload.checked', { name: configuration.displayName })),
        existing && el('p', {}, t('upload.existing')),
        el('p.large', {}, shownValue(configuration.kcv)),
        el('p', {}, t(configuration.kcv === kcv ? 'seal.same' : 'seal.other')),
        attributeList(configuration.attributes), store.whole));
      outcome.querySelector('h2').focus();
    },
  });
  fill(place, head, el('section.card', {}, made.whole));
  return {};
}
