// The attributes of a vending key in the words of IEC 62055-41, and when a key ends.

import { el } from './element.js';
import { dateText } from './format.js';
import { t } from './texts.js';

const CIPHERS = { 7: 'EA07 · STA', 9: 'EA09 · DEA', 11: 'EA11 · MISTY1' };

// When the last token can be issued under a key: token identifiers are 24 bits of minutes since the
// base date, of which the key expiry number is the upper 8 (IEC 62055-41, 6.1.8).
export function keyEnd({ baseDate, ken = 0 }) {
  return new Date(Date.UTC(baseDate, 0, 1) + (ken + 1) * 65_536 * 60_000);
}

export function cipher({ ea }) {
  return CIPHERS[ea] ?? `EA${ea}`;
}

export function derivation({ dkga }) {
  return `DKGA0${dkga}`;
}

export function keyType({ kt = 0 }) {
  return `${kt} · ${t(`kt.${kt}`)}`;
}

// All of them, as a list of names and values.
export function attributeList(attributes) {
  const { iin, sgc, ti, krn, ken = 0, baseDate } = attributes;
  const rows = [
    [t('attribute.sgc'), 'SGC', el('span.figures', {}, sgc)],
    [t('attribute.ti'), 'TI', ti],
    [t('attribute.krn'), 'KRN', String(krn)],
    [t('attribute.kt'), 'KT', keyType(attributes)],
    [t('attribute.ken'), 'KEN', `${ken} · ${ken === 255 ? t('ken.never') : t('ken.until', { date: dateText(keyEnd(attributes)) })}`],
    [t('attribute.ea'), 'EA', cipher(attributes)],
    [t('attribute.dkga'), 'DKGA', derivation(attributes)],
    [t('attribute.base'), 'BDT', `${baseDate}-01-01`],
    [t('attribute.iin'), 'IIN', iin],
  ];
  return el('dl.facts', {}, rows.map(([name, short, value]) => [el('dt', {}, name, ' ', el('abbr', {}, short)), el('dd', {}, value)]));
}
