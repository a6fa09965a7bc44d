// The upload of what was encrypted elsewhere: three files, as the openssl commands and `vendkey
// configuration encrypt` make them, or one sealed document of `vendkey configuration seal`.

import { act } from '../api.js';
import { attributeList } from '../attributes.js';
import { announce, el, fill } from '../element.js';
import { faults, field, form } from '../form.js';
import { checkValue } from '../format.js';
import { t } from '../texts.js';
import { tabs } from './configurations.js';

const PARTS = ['data', 'digest', 'key'];
// More than any file of an upload has.
const LARGEST = 1_000_000;

export async function show(place) {
  const texts = {};
  const fields = PARTS.map((part) => {
    const one = field({ name: part, label: t(`upload.${part}`), hint: t(`upload.${part}.hint`), type: 'file', required: true });
    one.input.addEventListener('change', async () => {
      const [file] = one.input.files;
      texts[part] = file && file.size <= LARGEST ? await file.text() : undefined;
      if (file && file.size > LARGEST) one.blame(t('upload.large'));
    });
    return one;
  });
  const send = (validateOnly) => (signal) => {
    const missing = PARTS.filter((part) => texts[part] === undefined).map((part) => [part, t('upload.missing')]);
    if (missing.length) throw faults(missing);
    return act('POST', '/v1/configurations:upload', { ...texts, validateOnly }, signal);
  };
  const uploaded = ({ configuration, existing }) => {
    announce(t(existing ? 'upload.existing' : 'upload.done'));
    location.hash = `#/${configuration.name}`;
  };
  const checked = (stores) => async ({ configuration, existing }, outcome) => {
    const store = form({ fields: [], action: t('upload.store'), submit: stores, done: uploaded });
    fill(outcome, el('section.card.inner', { 'aria-label': t('upload.checked', { name: configuration.displayName }) },
      el('h2', { tabindex: '-1' }, t('upload.checked', { name: configuration.displayName })),
      existing && el('p', {}, t('upload.existing')),
      el('p.large', {}, checkValue(configuration.kcv)), el('p', {}, t('upload.compare')),
      attributeList(configuration.attributes), store.whole));
    outcome.querySelector('h2').focus();
  };
  const check = form({ fields, action: t('upload.check'), submit: send(true), done: checked(send(false)) });
  const sealed = field({ name: 'document', label: t('upload.document'), hint: t('upload.document.hint'), type: 'file', required: true });
  const sendSealed = (validateOnly) => async (signal) => {
    const [file] = sealed.input.files;
    if (!file) throw faults([['document', t('upload.missing')]]);
    if (file.size > LARGEST) throw faults([['document', t('upload.large')]]);
    return act('POST', '/v1/configurations:importSealed', { document: await file.text(), validateOnly }, signal);
  };
  const checkSealed = form({ fields: [sealed], action: t('upload.check'), submit: sendSealed(true), done: checked(sendSealed(false)) });
  fill(place, el('h1', {}, t('upload.title')), tabs('configurations/upload'),
    el('p.lead', {}, t('upload.text')),
    el('section.card', { 'aria-labelledby': 'files' }, el('h2', { id: 'files' }, t('upload.files')), check.whole),
    el('section.card', { 'aria-labelledby': 'sealed' }, el('h2', { id: 'sealed' }, t('upload.sealed')), checkSealed.whole));
  return {};
}
