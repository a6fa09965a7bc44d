// The key that signs an upload: the file of a private key, opened in the browser, that belongs to a
// registered public one. It stays open until the page is left, so that it is asked for once.

import { el } from './element.js';
import { faults, field } from './form.js';
import { session } from './session.js';
import { open, SigningFault } from './signing.js';
import { t } from './texts.js';

let opened = null;
session.addEventListener('out', () => { opened = null; });

export function holdSigner(made) {
  opened = made;
}

// The inputs, and what opens the key. `registered`: the public keys that may have signed.
export function signerFields(registered) {
  const known = () => opened && registered.find((key) => key.fingerprint === opened.fingerprint);
  const file = field({ name: 'signing_key', label: t('signer.file'), hint: t('signer.file.hint'), type: 'file' });
  const passphrase = field({ name: 'passphrase', label: t('signer.passphrase'), hint: t('signer.passphrase.hint'), type: 'password' });
  const held = known();
  const whole = el('div', {}, held && el('p', {}, t('signer.open', { name: held.displayName })), file.whole, passphrase.whole);
  if (held) for (const one of [file, passphrase]) one.whole.hidden = true;
  const openKey = async () => {
    if (known()) return opened;
    const [chosen] = file.input.files;
    if (!chosen) throw faults([['signing_key', t('missing')]]);
    let found;
    try {
      found = await open(await chosen.text(), passphrase.input.value);
    } catch (error) {
      if (!(error instanceof SigningFault)) throw error;
      throw faults([error.code === 'passphrase' ? ['passphrase', t('signer.passphrase.wrong')] : ['signing_key', t(`signer.${error.code}`)]]);
    }
    if (!registered.some((key) => key.fingerprint === found.fingerprint)) throw faults([['signing_key', t('signer.unregistered')]]);
    opened = found;
    passphrase.input.value = '';
    return opened;
  };
  return { whole, fields: [file, passphrase], open: openKey };
}
