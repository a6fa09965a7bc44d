// The page of who is not signed in.

import { el, fill } from './element.js';
import { faults, field, form } from './form.js';
import { signIn } from './session.js';
import { LANGUAGES, language, speak, t } from './texts.js';

const CREDENTIAL = /^vendkey_[0-9a-f]{16}_[0-9a-f]{64}$/;

// The words to change the language with, in their own language.
export function languages(drawn) {
  const select = el('select', { 'aria-label': t('language') },
    Object.entries(LANGUAGES).map(([tag, name]) => el('option', { value: tag, lang: tag, selected: tag === language() }, name)));
  select.addEventListener('change', async () => {
    await speak(select.value);
    drawn();
  });
  return select;
}

export function showSignIn(place, why) {
  const secret = field({
    name: 'credential', label: t('signin.credential'), hint: t('signin.credential.hint'), type: 'password',
    required: true, placeholder: 'vendkey_…', autocomplete: 'off', autocapitalize: 'off',
  });
  const file = el('input', { type: 'file', class: 'unseen', id: 'credential-file', tabindex: '-1', 'aria-hidden': 'true' });
  file.addEventListener('change', async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    secret.input.value = chosen.size < 4096 ? (await chosen.text()).trim() : '';
    file.value = '';
    if (CREDENTIAL.test(secret.value)) made.run();
    else secret.blame(t('signin.no.credential'));
  });
  const made = form({
    fields: [secret],
    action: t('signin.do'),
    more: [el('p.or', {}, el('button.quiet', { type: 'button', onclick: () => file.click() }, t('signin.file')), file)],
    submit: async () => {
      if (!CREDENTIAL.test(secret.value)) throw faults([['credential', t('signin.no.credential')]]);
      await signIn(secret.value);
    },
  });
  const certificate = location.protocol === 'https:' && form({
    fields: [], action: t('signin.certificate'), kind: '', submit: () => signIn(null),
  });
  const draw = () => showSignIn(place, why);
  document.title = `${t('signin.title')} – Vendkey`;
  fill(place, el('div.signin', {},
    el('main', { id: 'main' },
      el('div.brand', {}, el('img', { src: 'icon.svg', alt: '', width: '44', height: '44' }), el('span', {}, 'Vendkey')),
      el('h1', { tabindex: '-1' }, t('signin.title')),
      why && el('div.box.note', { role: 'status' }, t(`signin.why.${why}`)),
      el('p.lead', {}, t('signin.lead')),
      made.whole,
      certificate && [el('p.or', {}, el('span', {}, t('or'))), certificate.whole],
      el('p.faint', {}, t('signin.memory'))),
    el('footer', {}, languages(draw))));
  secret.input.focus();
}
