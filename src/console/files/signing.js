// Keys that sign uploads, in the browser: made here and saved encrypted under a passphrase, or opened
// from a PEM file (PKCS#8, encrypted by PBES2 as openssl makes it, or plain; PKCS#1). Private keys are
// kept as keys that nothing can read out again.

const RSA = { name: 'RSA-PSS', hash: 'SHA-256' };
const BITS = 3072;
const ROUNDS = 600_000;
const OID = {
  rsa: '2a864886f70d010101', pbes2: '2a864886f70d01050d', pbkdf2: '2a864886f70d01050c',
  sha1: '2a864886f70d0207', sha256: '2a864886f70d0209', sha384: '2a864886f70d020a', sha512: '2a864886f70d020b',
  aes128: '608648016503040102', aes192: '608648016503040116', aes256: '60864801650304012a',
};
const HASHES = { [OID.sha1]: 'SHA-1', [OID.sha256]: 'SHA-256', [OID.sha384]: 'SHA-384', [OID.sha512]: 'SHA-512' };
const AES = { [OID.aes128]: 128, [OID.aes192]: 192, [OID.aes256]: 256 };

// Why a file cannot be used: `code` names the text.
export class SigningFault extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
export const base64 = (bytes) => btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(''));
export const fromBase64 = (text) => Uint8Array.from(atob(text.replace(/\s/g, '')), (letter) => letter.charCodeAt(0));

export function pem(label, bytes) {
  return `-----BEGIN ${label}-----\n${base64(bytes).replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;
}

export function unpem(text) {
  const found = /-----BEGIN ([A-Z ]+)-----([\s\S]*?)-----END \1-----/.exec(text);
  if (!found) throw new SigningFault('no.pem');
  return { label: found[1], head: found[2].includes(':'), bytes: found[2].includes(':') ? null : fromBase64(found[2]) };
}

// DER: a value with its tag and length.
function der(tag, ...parts) {
  const body = parts.flatMap((part) => [...part]);
  const length = body.length < 128 ? [body.length]
    : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Uint8Array.from([tag, ...length, ...body]);
}
const sequence = (...parts) => der(0x30, ...parts);
const oid = (text) => der(6, fromHex(text));
const octets = (bytes) => der(4, bytes);
const NULL = Uint8Array.of(5, 0);

// The values within a value.
function inside(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at];
    let length = bytes[at + 1];
    let start = at + 2;
    if (length > 128) {
      const count = length - 128;
      length = bytes.slice(start, start + count).reduce((sum, byte) => sum * 256 + byte, 0);
      start += count;
    }
    if (start + length > bytes.length) throw new SigningFault('broken');
    found.push({ tag, body: bytes.slice(start, start + length) });
    at = start + length;
  }
  return found;
}

async function aesKey(passphrase, salt, rounds, hash, bits, use) {
  const base = await crypto.subtle.importKey('raw', new TextEncoder().encode(passphrase), 'PBKDF2', false, ['deriveKey']);
  return crypto.subtle.deriveKey({ name: 'PBKDF2', salt, iterations: rounds, hash }, base, { name: 'AES-CBC', length: bits }, false, [use]);
}

async function encrypted(pkcs8, passphrase) {
  const [salt, iv] = [crypto.getRandomValues(new Uint8Array(16)), crypto.getRandomValues(new Uint8Array(16))];
  const key = await aesKey(passphrase, salt, ROUNDS, 'SHA-256', 256, 'encrypt');
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CBC', iv }, key, pkcs8));
  const rounds = Uint8Array.from([ROUNDS >> 16, (ROUNDS >> 8) & 255, ROUNDS & 255]);
  const derivation = sequence(oid(OID.pbkdf2), sequence(octets(salt), der(2, rounds), sequence(oid(OID.sha256), NULL)));
  const scheme = sequence(oid(OID.pbes2), sequence(derivation, sequence(oid(OID.aes256), octets(iv))));
  return sequence(scheme, octets(ciphertext));
}

async function decrypted(bytes, passphrase) {
  const [whole] = inside(bytes);
  const [algorithm, data] = inside(whole.body);
  const [scheme, parameters] = inside(algorithm.body);
  if (hex(scheme.body) !== OID.pbes2) throw new SigningFault('old.encryption');
  const [derivation, cipher] = inside(parameters.body).map(({ body }) => inside(body));
  const [salt, rounds, ...more] = inside(derivation[1].body);
  const prf = more.find(({ tag }) => tag === 0x30);
  const hash = prf ? HASHES[hex(inside(prf.body)[0].body)] : 'SHA-1';
  const bits = AES[hex(cipher[0].body)];
  if (hex(derivation[0].body) !== OID.pbkdf2 || !hash || !bits) throw new SigningFault('old.encryption');
  const count = rounds.body.reduce((sum, byte) => sum * 256 + byte, 0);
  const key = await aesKey(passphrase, salt.body, count, hash, bits, 'decrypt');
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-CBC', iv: cipher[1].body }, key, data.body));
  } catch {
    throw new SigningFault('passphrase');
  }
}

// A key with its public half: what signs, and the fingerprint by which a server knows it.
async function usable(pkcs8) {
  let open;
  try {
    open = await crypto.subtle.importKey('pkcs8', pkcs8, RSA, true, ['sign']);
  } catch {
    throw new SigningFault('no.rsa');
  }
  const { n, e } = await crypto.subtle.exportKey('jwk', open);
  const publicKey = await crypto.subtle.importKey('jwk', { kty: 'RSA', n, e }, RSA, true, ['verify']);
  const spki = new Uint8Array(await crypto.subtle.exportKey('spki', publicKey));
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, RSA, false, ['sign']);
  return { key, spki, fingerprint: hex(await crypto.subtle.digest('SHA-256', spki)) };
}

// Makes a key pair. `file`: the private key for its owner to keep, encrypted.
export async function make(passphrase) {
  const pair = await crypto.subtle.generateKey({ ...RSA, modulusLength: BITS, publicExponent: Uint8Array.of(1, 0, 1) }, true, ['sign', 'verify']);
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey));
  const made = { ...(await usable(pkcs8)), file: pem('ENCRYPTED PRIVATE KEY', await encrypted(pkcs8, passphrase)) };
  pkcs8.fill(0);
  return made;
}

// Opens the file of a private key.
export async function open(text, passphrase) {
  const { label, head, bytes } = unpem(text);
  if (head) throw new SigningFault('old.encryption');
  const forms = {
    'ENCRYPTED PRIVATE KEY': () => decrypted(bytes, passphrase),
    'PRIVATE KEY': () => bytes,
    'RSA PRIVATE KEY': () => sequence(der(2, [0]), sequence(oid(OID.rsa), NULL), octets(bytes)),
  };
  if (!forms[label]) throw new SigningFault(label.includes('PUBLIC') ? 'public' : 'no.rsa');
  const pkcs8 = await forms[label]();
  const opened = await usable(pkcs8);
  pkcs8.fill(0);
  return opened;
}

// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
export async function sign({ key }, bytes) {
  return new Uint8Array(await crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, key, bytes));
}
