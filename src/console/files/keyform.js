// The attributes of a vending key as inputs, named as a configuration names them.

import { choice, field } from './form.js';
import { t } from './texts.js';

const options = (values, name = (value) => value) => values.map((value) => [value, name(value)]);

// The inputs, in the order in which they are shown; `values()` gives them by their names.
export function keyFields({ krn: revision = '1' } = {}) {
  const fields = [
    field({ name: 'supply_group_code', label: t('attribute.sgc'), hint: t('seal.sgc.hint'), inputmode: 'numeric', maxlength: 6, required: true }),
    field({ name: 'tariff_index', label: t('attribute.ti'), hint: t('seal.ti.hint'), inputmode: 'numeric', maxlength: 2, value: '01', required: true }),
    choice({ name: 'key_revision_no', label: t('attribute.krn'), value: revision, options: options('123456789'.split('')) }),
    choice({ name: 'key_type', label: t('attribute.kt'), value: '2', options: options(['0', '1', '2', '3'], (value) => `${value} · ${t(`kt.${value}`)}`) }),
    field({ name: 'key_expiry_no', label: t('attribute.ken'), hint: t('seal.ken.hint'), inputmode: 'numeric', value: '255', required: true }),
    choice({ name: 'base_date', label: t('attribute.base'), value: '2014', options: options(['1993', '2014', '2035'], (value) => `${value}-01-01`) }),
    choice({ name: 'encryption_algorithm', label: t('attribute.ea'), options: [['sta', 'EA07 · STA'], ['dea', 'EA09 · DEA'], ['misty1', 'EA11 · MISTY1']] }),
    choice({ name: 'decoder_key_generation_algorithm', label: t('attribute.dkga'), value: '04', options: options(['02', '03', '04'], (value) => `DKGA${value}`) }),
    choice({ name: 'issuer_identification_no', label: t('attribute.iin'), options: [['600727', `600727 · ${t('seal.iin.eleven')}`], ['0000', `0000 · ${t('seal.iin.thirteen')}`]] }),
  ];
  const one = (name) => fields.find((known) => known.name === name);
  return { fields, one, values: () => Object.fromEntries(fields.map((known) => [known.name, known.value])) };
}

const CIPHERS = { sta: 7, dea: 9, misty1: 11 };

// The same as the API names them.
export function keyAttributes(values) {
  return {
    iin: values.issuer_identification_no, sgc: values.supply_group_code, ti: values.tariff_index,
    krn: Number(values.key_revision_no), kt: Number(values.key_type), ken: Number(values.key_expiry_no),
    ea: CIPHERS[values.encryption_algorithm], dkga: Number(values.decoder_key_generation_algorithm), baseDate: Number(values.base_date),
  };
}
