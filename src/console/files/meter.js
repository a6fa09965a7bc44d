// Numbers of meters: the decoder reference number that stands on one (11 or 13 digits), and the
// primary account number of 18 digits (IEC 62055-41, 6.1.2).

// The check digit over digits (ISO/IEC 7812, Luhn).
function check(digits) {
  const sum = [...digits].reverse().reduce((sum, digit, place) => {
    const value = Number(digit) * (place % 2 === 0 ? 2 : 1);
    return sum + (value > 9 ? value - 9 : value);
  }, 0);
  return String((10 - (sum % 10)) % 10);
}

// The 18 digits of a meter that was typed in any of its forms, with blanks or without; null where it
// is none.
export function pan(text) {
  const digits = text.replace(/[\s\-.]/g, '');
  if (!/^\d+$/.test(digits)) return null;
  const whole = { 11: () => `600727${digits}`, 13: () => `0000${digits}` }[digits.length]?.();
  const full = whole ? whole + check(whole) : digits;
  return full.length === 18 && check(full.slice(0, 17)) === full[17] ? full : null;
}

// How a meter's number is written on the meter.
export function drn(panDigits) {
  return panDigits.startsWith('0000') ? panDigits.slice(4, 17) : panDigits.slice(6, 17);
}
