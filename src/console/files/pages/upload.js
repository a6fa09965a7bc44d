// The upload of three files, as the openssl commands and `vendkey configuration encrypt` make them.

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
  const checked = async ({ configuration, existing }, outcome) => {
    const store = form({ fields: [], action: t('upload.store'), submit: send(false), done: uploaded });
    fill(outcome, el('section.card', { 'aria-labelledby': 'checked' },
      el('h2', { id: 'checked', tabindex: '-1' }, t('upload.checked', { name: configuration.displayName })),
      existing && el('p', {}, t('upload.existing')),
      el('p.large', {}, checkValue(configuration.kcv)), el('p', {}, t('upload.compare')),
      attributeList(configuration.attributes), store.whole));
    outcome.querySelector('h2').focus();
  };
  const check = form({ fields, action: t('upload.check'), submit: send(true), done: checked });
  fill(place, el('h1', {}, t('upload.title')), tabs('configurations/upload'),
    el('p.lead', {}, t('upload.text')),
    el('section.card', { 'aria-labelledby': 'files' }, el('h2', { id: 'files' }, t('upload.files')), check.whole));
  return {};
}
