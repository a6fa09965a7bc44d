// The proof of the trail: its chains, read from the server or from an export, against a checkpoint.

import { get } from '../api.js';
import { MOST_FAULTS, Verification, readCheckpoint } from '../chain.js';
import { announce, el, fill } from '../element.js';
import { choice, faults, field, form } from '../form.js';
import { fingerprint, number, timeText } from '../format.js';
import { many, t } from '../texts.js';
import { tabs } from './trail.js';

// The records of this server, one after the other.
async function* served(signal) {
  const ledger = await get('/v1/ledger', {}, signal).catch(() => null);
  const all = Number(ledger?.records ?? 0);
  let count = 0;
  for (let token = ''; ;) {
    const page = await get('/v1/events', { pageSize: 1000, pageToken: token }, signal);
    for (const { record } of page.events ?? []) {
      count += 1;
      yield [JSON.parse(record), all ? count / all : null];
    }
    if (!page.more) return;
    token = page.nextPageToken;
  }
}

// The lines of a file, however large.
async function* exported(file) {
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
  let [held, read] = ['', 0];
  for (;;) {
    const { done, value = '' } = await reader.read();
    const lines = (held + value).split('\n');
    read += value.length;
    held = done ? '' : lines.pop();
    for (const line of lines) if (line.trim()) yield [JSON.parse(line), read / file.size];
    if (done) return;
  }
}

export async function show(place) {
  const source = choice({ label: t('proof.source'), options: [['server', t('proof.server')], ['file', t('proof.file')]] });
  const file = field({ name: 'export', label: t('proof.export'), hint: t('proof.export.hint'), type: 'file' });
  const kept = field({ name: 'checkpoint', label: t('proof.checkpoint'), hint: t('proof.checkpoint.hint'), type: 'file', optional: true });
  const fit = () => { file.whole.hidden = source.value !== 'file'; };
  source.input.addEventListener('change', fit);
  fit();
  const bar = el('progress', { max: '1', 'aria-label': t('proof.progress'), hidden: true });
  const told = el('p.faint', {});
  const made = form({
    fields: [source, file, kept], action: t('proof.do'), more: [bar, told],
    submit: async (signal) => {
      const last = await get('/v1/checkpoint', {}, signal);
      const chosen = file.input.files[0];
      if (source.value === 'file' && !chosen) throw faults([['export', t('missing')]]);
      const words = kept.input.files[0] ? await kept.input.files[0].text() : last.text;
      let checkpoint = null;
      if (words) {
        try {
          checkpoint = await readCheckpoint(words, last.auditKeyPem);
        } catch (error) {
          throw faults([['checkpoint', t(`proof.${error.message}`)]]);
        }
      }
      const verification = new Verification(checkpoint);
      bar.hidden = false;
      bar.removeAttribute('value');
      try {
        for await (const [line, share] of source.value === 'file' ? exported(chosen) : served(signal)) {
          signal.throwIfAborted();
          await verification.feed(line);
          if (verification.records % 500 === 0) {
            if (share !== null) bar.value = Math.min(share, 1);
            told.textContent = many('proof.read', verification.records);
          }
        }
      } catch (error) {
        if (error instanceof SyntaxError || error instanceof TypeError) throw faults([['export', t('proof.no.export', { line: number(verification.records + 1) })]]);
        throw error;
      } finally {
        bar.hidden = true;
        told.textContent = '';
      }
      return { verification: verification.finish(), checkpoint, key: last };
    },
    done: ({ verification, checkpoint, key }, outcome) => {
      fill(outcome, result(verification, checkpoint, key));
      outcome.querySelector('h2').focus();
      announce(outcome.querySelector('h2').textContent);
    },
  });
  fill(place, el('h1', {}, t('proof.title')), tabs('trail/proof'), el('p.lead', {}, t('proof.text')), el('section.card', {}, made.whole));
  return {};
}

function result({ records, faults: found, lost, chains }, checkpoint, { auditKeyFingerprint }) {
  const sound = found.length === 0;
  return el('div', {},
    el('div', { class: `box ${sound ? 'good' : 'bad'}` },
      el('h2', { tabindex: '-1' }, sound ? t('proof.sound') : many('proof.faults', found.length)),
      el('p', {}, many('proof.records', records), ' ', many('proof.chains', chains.size)),
      checkpoint ? el('p', {}, t('proof.against', { time: timeText(new Date(checkpoint.time).toISOString()) })) : el('p', {}, t('proof.alone')),
      !sound && el('ul', {}, found.slice(0, MOST_FAULTS).map(({ kind, chain, ...values }) =>
        el('li', {}, t(`proof.${kind}`, Object.fromEntries(Object.entries(values).map(([name, value]) => [name, number(value)]))), ' ', el('code', {}, chain.slice(0, 8))))),
      lost.length > 0 && el('ul', {}, lost.map(({ from, to }) => el('li', {}, t('proof.lost', { from: number(from), to: number(to) }))))),
    checkpoint && el('p.faint', {}, t('proof.key')),
    checkpoint && el('p', {}, fingerprint(auditKeyFingerprint)));
}
