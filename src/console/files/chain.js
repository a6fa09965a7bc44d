// Verification of audit chains in the browser, as `vendkey audit verify` does it: every record's hash
// follows from the one before, none is missing, and the last ones are those of a signed checkpoint
// (docs/ledger.md).

import { fromBase64, fromHex, hex, unpem } from './signing.js';

const START = new Uint8Array(32);
const text = (words) => new TextEncoder().encode(words);

// The most faults that are told.
export const MOST_FAULTS = 100;

function big(value, size) {
  const bytes = new Uint8Array(size);
  let rest = BigInt(value);
  for (let at = size - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

function sized(words) {
  const bytes = text(words);
  return [big(bytes.length, 4), bytes];
}

const optional = (bytes) => (bytes === undefined ? [Uint8Array.of(0)] : [Uint8Array.of(1), bytes]);
const hexed = (digits) => (digits === undefined ? undefined : fromHex(digits));

// The bytes over which a record's hash goes, after the hash of the one before.
function canonical(line, before) {
  const { chain, position, time_ms: time, token, act } = line;
  const parts = [text('vendkey record v1\0'), fromHex(chain), before, big(position, 8), big(time, 8)];
  if (token) {
    const { class: kind, block, target } = token;
    parts.push(Uint8Array.of(1, token.kind), fromHex(token.client), ...sized(token.credential), fromHex(token.request_id),
      ...optional(hexed(token.configuration)),
      ...optional(token.base_date === undefined ? undefined : big(token.base_date, 2)),
      ...optional(token.tid === undefined ? undefined : big(token.tid, 4)),
      ...optional(token.rnd === undefined ? undefined : Uint8Array.of(token.rnd)),
      ...optional(block === undefined ? undefined : Uint8Array.of(kind, ...fromHex(block))),
      ...optional(target === undefined ? undefined : Uint8Array.of(...fromHex(target), Number(token.roll_over), Number(token.transfer_sgc))),
      fromHex(token.subject));
  } else {
    parts.push(Uint8Array.of(2), ...sized(act.kind), ...optional(hexed(act.actor)),
      Uint8Array.of(act.credential === undefined ? 0 : 1), ...sized(act.credential ?? ''), ...sized(act.details));
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// A verification under way: feed it lines in the order of an export.
export class Verification {
  chains = new Map();
  faults = [];
  lost = [];
  records = 0;

  constructor(checkpoint) {
    this.checkpoint = checkpoint;
  }

  fault(kind, chain, values) {
    this.faults.push({ kind, chain, ...values });
  }

  async feed(line) {
    this.records += 1;
    const known = this.chains.get(line.chain) ?? { position: 0, hash: START, named: null };
    this.chains.set(line.chain, known);
    const { position } = line;
    if (position <= known.position) {
      this.fault('repeated', line.chain, { position });
      return;
    }
    const follows = hex(await crypto.subtle.digest('SHA-256', canonical(line, known.hash))) === line.hash;
    const gap = position > known.position + 1;
    if (gap && follows && line.act?.kind === 'restore.accepted') this.lost.push({ chain: line.chain, from: known.position + 1, to: position - 1 });
    else if (gap) this.fault('cut', line.chain, { from: known.position + 1, to: position - 1 });
    else if (!follows) this.fault('changed', line.chain, { position });
    known.position = position;
    // From what it says of itself, so that one change is one fault.
    known.hash = fromHex(line.hash);
    const head = this.checkpoint?.heads.find(({ chain }) => chain === line.chain);
    if (head && head.position === position) known.named = line.hash;
  }

  finish() {
    for (const { chain, position, hash } of this.checkpoint?.heads ?? []) {
      const known = this.chains.get(chain);
      const last = known?.position ?? 0;
      if (last < position) this.fault('truncated', chain, { last, position });
      else if (known.named !== hash) this.fault('rewritten', chain, { position });
    }
    for (const chain of this.checkpoint ? this.chains.keys() : []) {
      if (!this.checkpoint.heads.some((head) => head.chain === chain)) this.fault('unknown', chain, {});
    }
    return this;
  }
}

// A checkpoint whose signature by the key holds; throws the name of what is wrong.
export async function readCheckpoint(words, keyPem) {
  const lines = words.replace(/\r/g, '').trimEnd().split('\n');
  const signed = lines.slice(0, -1).map((line) => `${line}\n`).join('');
  const [title, , time] = lines;
  const heads = lines.filter((line) => line.startsWith('chain ')).map((line) => {
    const [, chain, position, hash] = line.split(' ');
    return { chain, position: Number(position), hash };
  });
  const named = lines.find((line) => line.startsWith('key '))?.slice(4);
  const signature = lines.at(-1).startsWith('signature ') ? fromBase64(lines.at(-1).slice(10)) : null;
  if (title !== 'vendkey checkpoint v1' || !named || !signature) throw new Error('no.checkpoint');
  const { bytes } = unpem(keyPem);
  if (hex(await crypto.subtle.digest('SHA-256', bytes)) !== named) throw new Error('other.key');
  const key = await crypto.subtle.importKey('spki', bytes, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['verify']);
  if (!(await crypto.subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, key, signature, text(signed)))) throw new Error('bad.signature');
  return { heads, time: Number(time.slice(5)), key: named };
}
