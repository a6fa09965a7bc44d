// A sealed upload, made in the browser (docs/uploads.md): the vending key encrypted to the HSM's key,
// the attributes in clear, all of it signed. The key goes nowhere else.

import { des } from './des.js';
import { base64, hex, sign, unpem } from './signing.js';

const FORMAT = 'vendkey sealed upload 1';
const PURPOSE = 'vendkey sealed configuration 1';
// For so long an upload is meant.
const HOURS = 24;

// How many hex digits a vending key has under each derivation.
export const KEY_DIGITS = { '02': 16, '03': 32, '04': 40 };

const text = (words) => new TextEncoder().encode(words);
const repeated = (bytes, length) => Uint8Array.from({ length }, (_, at) => bytes[at % bytes.length]);

// The first 3 bytes of DES_VK(0^8), or of HMAC-SHA-256(VK, "vendkey kcv v1").
export async function checkValue(derivation, key) {
  if (derivation !== '04') return hex(des(key, new Uint8Array(8)).slice(0, 3));
  const hmac = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return hex((await crypto.subtle.sign('HMAC', hmac, text('vendkey kcv v1'))).slice(0, 3));
}

async function encryptTo(serverKey, suite, secret) {
  const hash = suite === 'RSA-OAEP-SHA-256' ? 'SHA-256' : 'SHA-1';
  const key = await crypto.subtle.importKey('spki', unpem(serverKey).bytes, { name: 'RSA-OAEP', hash }, false, ['encrypt']);
  return base64(await crypto.subtle.encrypt({ name: 'RSA-OAEP' }, key, secret));
}

// What is hidden under a mask key for DKGA02: the key twice, then the decoder key of the block
// `vendkey1` twice, under AES-256-CBC without padding.
async function masked(serverKey, suite, key) {
  const block = text('vendkey1');
  const decoder = des(key, block).map((byte, at) => byte ^ block[at] ^ key[at]);
  const clear = Uint8Array.from([...key, ...key, ...decoder, ...decoder]);
  const [mask, iv] = [crypto.getRandomValues(new Uint8Array(32)), crypto.getRandomValues(new Uint8Array(16))];
  const aes = await crypto.subtle.importKey('raw', mask, 'AES-CBC', false, ['encrypt']);
  // WebCrypto always pads: the block of padding behind is left out.
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CBC', iv }, aes, clear)).slice(0, 32);
  const made = { key: await encryptTo(serverKey, suite, mask), iv: base64(iv), ciphertext: base64(ciphertext) };
  for (const secret of [clear, mask, decoder]) secret.fill(0);
  return made;
}

// The document, and the key check value that the HSM must find. `key` is wiped.
export async function seal({ attributes, key, server, signer }) {
  const derivation = attributes.decoder_key_generation_algorithm;
  const kcv = await checkValue(derivation, key);
  const suite = server.suites[0];
  const form = derivation === '04' ? Uint8Array.from({ length: 64 }, (_, at) => key[at] ?? 0) : repeated(key, 24);
  const recipient = { server_key: server.fingerprint, suite, vending_key: await encryptTo(server.publicKeyPem, suite, form) };
  if (derivation === '02') recipient.mask = await masked(server.publicKeyPem, suite, key);
  form.fill(0);
  key.fill(0);
  const second = (time) => `${new Date(time).toISOString().slice(0, 19)}Z`;
  const now = Date.now();
  const content = text(JSON.stringify({
    purpose: PURPOSE,
    nonce: base64(crypto.getRandomValues(new Uint8Array(16))),
    not_before: second(now), not_after: second(now + HOURS * 3_600_000),
    attributes, kcv, recipients: [recipient],
  }, null, 2));
  const signature = await sign(signer, content);
  const document = { format: FORMAT, content: base64(content), signer: signer.fingerprint, signature: base64(signature) };
  return { document: JSON.stringify(document), kcv };
}
