// What a client may do and how much, as a form and as words.

import { el } from './element.js';
import { choice, field, tick } from './form.js';
import { number } from './format.js';
import { t } from './texts.js';

export const GROUPS = ['VEND', 'MANAGE', 'CHANGE_KEYS', 'VERIFY', 'VERIFY_FOREIGN', 'READ_LEDGER', 'CONFIGURATIONS', 'PUBLIC_KEYS', 'CLIENTS', 'LEDGER', 'AUDIT'];
export const CREDITS = ['ELECTRICITY_CREDIT', 'WATER_CREDIT', 'GAS_CREDIT', 'TIME_CREDIT', 'ELECTRICITY_CURRENCY_CREDIT', 'WATER_CURRENCY_CREDIT', 'GAS_CURRENCY_CREDIT', 'TIME_CURRENCY_CREDIT'];
export const KINDS = [...CREDITS, 'METER_TEST', 'MAXIMUM_POWER_LIMIT', 'CLEAR_CREDIT', 'TARIFF_RATE', 'CLEAR_TAMPER', 'MAXIMUM_PHASE_POWER_UNBALANCE', 'WATER_METER_FACTOR', 'EXTENDED'];

// What most clients are.
export const PRESETS = {
  till: { mayDo: ['VEND', 'VERIFY'], mayGrant: [] },
  auditor: { mayDo: ['READ_LEDGER', 'AUDIT'], mayGrant: [] },
  administrator: { mayDo: ['VERIFY', 'READ_LEDGER', 'CONFIGURATIONS', 'PUBLIC_KEYS', 'CLIENTS', 'LEDGER', 'AUDIT'], mayGrant: GROUPS },
};

const UNITS = { ELECTRICITY_CREDIT: 'kWh', WATER_CREDIT: 'kl', GAS_CREDIT: 'm³', TIME_CREDIT: 'min' };

function kindText(kind) {
  return t(`kind.${kind.toLowerCase()}`);
}

function ticks(legend, values, chosen, text) {
  const boxes = values.map((value) => tick({ label: text(value), value, checked: chosen.includes(value) }));
  const whole = el('fieldset', {}, el('legend', {}, legend), el('div.ticks', {}, boxes.map((box) => box.whole)));
  return {
    whole, blame() {}, input: boxes[0]?.input, inputs: boxes.map(({ input }) => input),
    get chosen() { return boxes.filter(({ input }) => input.checked).map(({ input }) => input.value); },
    set chosen(wanted) { for (const { input } of boxes) input.checked = wanted.includes(input.value); },
  };
}

// The inputs of rights and limits, and what they say. `grantable`: what the person may give.
export function rightsForm({ rights = {}, limits = {}, configurations, grantable }) {
  const offered = GROUPS.filter((group) => grantable.includes(group) || rights.mayDo?.includes(group) || rights.mayGrant?.includes(group));
  const groupText = (group) => t(`group.${group}`);
  const mayDo = ticks(t('rights.do'), offered, rights.mayDo ?? [], groupText);
  const mayGrant = ticks(t('rights.grant'), offered, rights.mayGrant ?? [], groupText);
  const groups = field({ name: 'rights.supply_groups', label: t('rights.groups'), hint: t('rights.groups.hint'), inputmode: 'numeric', value: (rights.supplyGroups ?? []).join(' ') });
  const only = configurations.length > 0 && ticks(t('rights.configurations'), configurations.map(({ name }) => name), rights.configurations ?? [],
    (name) => { const one = configurations.find((known) => known.name === name); return `${one.displayName} · ${one.kcv || '–'}`; });
  const kinds = ticks(t('rights.kinds'), KINDS, rights.tokenKinds ?? [], kindText);
  const amounts = CREDITS.map((kind) => {
    const known = limits.amounts?.find((limit) => limit.tokenKind === kind) ?? {};
    const unit = UNITS[kind] ? ` (${UNITS[kind]})` : '';
    return {
      kind,
      perToken: field({ label: t('limits.per.token', { kind: kindText(kind), unit }), inputmode: 'decimal', value: known.perToken ?? '' }),
      perDay: field({ label: t('limits.per.day', { kind: kindText(kind), unit }), inputmode: 'decimal', value: known.perDay ?? '' }),
    };
  });
  const plain = (name, key) => field({ name: `limits.${name}`, label: t(`limits.${name}`), inputmode: 'numeric', value: limits[key] ?? '' });
  const counts = {
    tokensPerDay: plain('tokens_per_day', 'tokensPerDay'),
    requestsPerSecond: plain('requests_per_second', 'requestsPerSecond'),
    uploadsPerMinute: plain('uploads_per_minute', 'uploadsPerMinute'),
    alarmSharePercent: plain('alarm_share_percent', 'alarmSharePercent'),
  };
  const value = () => {
    // Named by their places, so that a refusal finds them.
    const given = amounts.filter(({ perToken, perDay }) => perToken.value || perDay.value);
    given.forEach(({ perToken, perDay }, place) => {
      perToken.name = `limits.amounts[${place}].per_token`;
      perDay.name = `limits.amounts[${place}].per_day`;
    });
    return {
      rights: {
        mayDo: mayDo.chosen, mayGrant: mayGrant.chosen, tokenKinds: kinds.chosen,
        configurations: only ? only.chosen : [], supplyGroups: groups.value.split(/[\s,;]+/).filter(Boolean),
      },
      limits: {
        amounts: given.map(({ kind, perToken, perDay }) => ({ tokenKind: kind, perToken: perToken.value.replace(',', '.'), perDay: perDay.value.replace(',', '.') })),
        ...Object.fromEntries(Object.entries(counts).filter(([, one]) => one.value).map(([key, one]) => [key, one.value])),
      },
    };
  };
  const details = (summary, open, ...content) => el('details', { open }, el('summary', {}, summary), el('div.inside', {}, content));
  const more = amounts.slice(1);
  const whole = [
    mayDo.whole,
    details(t('rights.scope'), Boolean(rights.supplyGroups?.length || rights.configurations?.length || rights.tokenKinds?.length),
      el('p.hint', {}, t('rights.scope.text')), groups.whole, only && only.whole, kinds.whole),
    details(t('limits.title'), Object.keys(limits).length > 0, el('p.hint', {}, t('limits.text')),
      el('div.pairs', {}, amounts[0].perToken.whole, amounts[0].perDay.whole, Object.values(counts).map((one) => one.whole)),
      details(t('limits.more'), more.some(({ perToken, perDay }) => perToken.value || perDay.value), el('div.pairs', {}, more.map(({ perToken, perDay }) => [perToken.whole, perDay.whole])))),
    details(t('rights.grant.title'), Boolean(rights.mayGrant?.length), el('p.hint', {}, t('rights.grant.text')), mayGrant.whole),
  ];
  const fields = [groups, ...amounts.flatMap(({ perToken, perDay }) => [perToken, perDay]), ...Object.values(counts)];
  const preset = (name) => {
    mayDo.chosen = PRESETS[name].mayDo;
    mayGrant.chosen = PRESETS[name].mayGrant;
  };
  const inputs = [mayDo, mayGrant, kinds, only].flatMap((one) => one?.inputs ?? []).concat(fields.map(({ input }) => input));
  return { whole, fields, inputs, value, preset };
}

export function presetChoice(chosen) {
  const one = choice({ label: t('preset'), options: Object.keys(PRESETS).map((name) => [name, t(`preset.${name}`)]), hint: t('preset.hint') });
  one.input.addEventListener('change', () => chosen(one.value));
  return one;
}

// Rights and limits as a list of names and values.
export function rightsList({ rights = {}, limits = {} }, nameOf = (name) => name) {
  const words = (values, text, none) => (values?.length ? values.map(text).join(', ') : none);
  const group = (one) => t(`group.${one}`);
  const scope = [...(rights.supplyGroups ?? []).map((code) => t('rights.group', { code })), ...(rights.configurations ?? []).map(nameOf)];
  const rows = [
    [t('rights.do'), words(rights.mayDo, group, t('none'))],
    [t('rights.grant'), words(rights.mayGrant, group, t('none'))],
    [t('rights.scope.of'), scope.join(', ') || t('all')],
    [t('rights.kinds'), words(rights.tokenKinds, kindText, t('all'))],
    ...(limits.amounts ?? []).flatMap(({ tokenKind, perToken, perDay }) => [
      perToken && [t('limits.per.token', { kind: kindText(tokenKind), unit: '' }), `${number(perToken)} ${UNITS[tokenKind] ?? ''}`],
      perDay && [t('limits.per.day', { kind: kindText(tokenKind), unit: '' }), `${number(perDay)} ${UNITS[tokenKind] ?? ''}`],
    ]).filter(Boolean),
    ...[['tokensPerDay', 'tokens_per_day'], ['requestsPerSecond', 'requests_per_second'], ['uploadsPerMinute', 'uploads_per_minute'], ['alarmSharePercent', 'alarm_share_percent']]
      .filter(([key]) => limits[key] !== undefined).map(([key, name]) => [t(`limits.${name}`), number(limits[key])]),
  ];
  return el('dl.facts', {}, rows.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}
