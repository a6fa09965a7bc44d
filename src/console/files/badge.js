// States, told by a word and by a colour.

import { el } from './element.js';
import { t } from './texts.js';

const KINDS = {
  ENABLED: 'good', VALID: 'good', DONE: 'good', VALID_FOREIGN: 'good', METER_TEST: 'good',
  DISABLED: 'idle', REJECTED: 'idle', EXPIRED: 'idle', NOT_ISSUED_HERE: 'idle',
  IMPORTING: 'note', PENDING: 'note', APPROVED: 'note',
  DESTROY_SCHEDULED: 'bad', DESTROYED: 'bad', FAILED: 'bad', CRC_MISMATCH: 'bad', NOT_A_TOKEN: 'bad',
};

export function badge(state) {
  return el(`span.badge.${KINDS[state] ?? 'note'}`, {}, t(`state.${state}`));
}

export function enabledBadge(enabled) {
  return badge(enabled ? 'ENABLED' : 'DISABLED');
}
