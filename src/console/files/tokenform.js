// Which token somebody wants: its kind, and how much.

import { choice, field } from './form.js';
import { t } from './texts.js';

const UNITS = ['electricity_credit', 'water_credit', 'gas_credit', 'time_credit'];
const CURRENCIES = UNITS.map((kind) => kind.replace('_credit', '_currency_credit'));
const POWERS = ['maximum_power_limit', 'maximum_phase_power_unbalance'];
const REGISTERS = ['tariff_rate', 'water_meter_factor'];
export const VENDED = [...UNITS, ...CURRENCIES, 'meter_test'];
export const MANAGED = [...POWERS, ...REGISTERS, 'clear_credit', 'clear_tamper'];
const WITHOUT_AMOUNT = ['clear_credit', 'clear_tamper', 'meter_test'];

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

function content(kind, amount) {
  if ([...UNITS, ...CURRENCIES].includes(kind)) return { decimal: amount };
  if (POWERS.includes(kind)) return { watts: amount };
  if (REGISTERS.includes(kind)) return { value: Number(amount) };
  if (kind === 'clear_credit') return { register: 'ALL' };
  if (kind === 'meter_test') return { all: {} };
  return {};
}

function unitOf(kind) {
  if (UNITS.includes(kind)) return t(`unit.${kind}`);
  if (CURRENCIES.includes(kind)) return t('unit.currency');
  return t(POWERS.includes(kind) ? 'unit.watts' : 'unit.register');
}

// The inputs; `value()` is the content as the API takes it. `changed` hears of another kind.
export function tokenFields(kinds, changed = () => {}) {
  const kind = choice({ name: 'content', label: t('token.kind'), options: kinds.map((one) => [one, t(`kind.${one}`)]), required: true });
  const amount = field({ name: kinds, label: t('issue.amount'), inputmode: 'decimal', required: true });
  const needsAmount = () => !WITHOUT_AMOUNT.includes(kind.value);
  const fit = () => {
    amount.whole.hidden = !needsAmount();
    amount.whole.querySelector('label').textContent = unitOf(kind.value);
    changed(kind.value);
  };
  kind.input.addEventListener('change', fit);
  fit();
  return {
    kind, amount, missing: () => needsAmount() && !amount.value,
    value: () => ({ [camel(kind.value)]: content(kind.value, amount.value.replace(',', '.')) }),
  };
}
