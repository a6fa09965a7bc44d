// Secrets of clients: made here, shown once, never sent. The server learns a hash alone.

import { el } from './element.js';
import { copier } from './format.js';
import { t } from './texts.js';

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

// A new credential: its text, and what the server is told of it.
export async function newSecret() {
  const id = hex(crypto.getRandomValues(new Uint8Array(8)));
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', secret));
  const text = `vendkey_${id}_${hex(secret)}`;
  secret.fill(0);
  return { text, held: { keyId: id, secretSha256: hex(hash) } };
}

// A text as a file that the browser saves.
export function saver(text, name, words) {
  return el('button', {
    type: 'button', class: 'main', onclick: () => {
      const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
      const link = el('a', { href: url, download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    },
  }, words);
}

// The credential, this once.
export function secretCard({ text }, displayName, later) {
  const file = `${displayName.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || 'client'}.credential`;
  return el('section.card.inner', { 'aria-labelledby': 'secret' },
    el('h2', { id: 'secret', tabindex: '-1' }, t('secret.title')),
    el('p', {}, t(later ? 'secret.later' : 'secret.text')),
    el('p', {}, el('code.long.secret', {}, text)),
    el('div.actions', {}, saver(`${text}\n`, file, t('secret.save')), copier(text, t('secret.title'))));
}
