// Dialogs: one question at a time. The browser keeps the focus inside and gives it back.

import { el } from './element.js';
import { t } from './texts.js';

// Shows a dialog and answers what its buttons say; null where it was left. `buttons` are
// [value, text, class].
export function ask({ title, content, buttons }) {
  return new Promise((done) => {
    const heading = el('h2', { id: 'dialog-title', tabindex: '-1' }, title);
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' }, heading, content,
      el('div.actions', {}, buttons.map(([value, text, kind = '']) =>
        el('button', { type: 'button', class: kind, onclick: () => dialog.close(value) }, text))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
    heading.focus();
  });
}

// Whether a person wants what will happen. What cannot be taken back asks for a word to be typed.
export async function confirm({ title, text, action, grave = false, word = null }) {
  const input = word && el('input', { type: 'text', autocomplete: 'off', id: 'dialog-word' });
  const content = [
    [text].flat().map((part) => (typeof part === 'string' ? el('p', {}, part) : part)),
    word && el('p', {}, el('label', { for: 'dialog-word' }, t('dialog.type', { word })), input),
  ];
  const kind = grave ? 'grave' : 'main';
  const asked = ask({ title, content: el('div', {}, content), buttons: [['', t('cancel')], ['yes', action, kind]] });
  if (word) {
    const yes = document.querySelector('dialog .actions button:last-child');
    yes.disabled = true;
    input.addEventListener('input', () => { yes.disabled = input.value.trim() !== word; });
    input.focus();
  }
  return (await asked) === 'yes';
}
