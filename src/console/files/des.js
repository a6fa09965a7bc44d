// DES of one block (FIPS 46-3), which WebCrypto lacks. It makes the key check value of a DES key, and
// what a sealed upload of one needs; nothing is kept secret by it here.

const IP = '58504234261810026052443628201204625446383022140664564840322416085749413325170901595143352719110361534537292113056355473931231507';
const FP = '40084816562464323907471555236331380646145422623037054513532161293604441252206028350343115119592734024210501858263301410949175725';
const E = '320102030405040506070809080910111213121314151617161718192021202122232425242526272829282930313201';
const P = '1607202129122817011523260518311002082414322703091913300622110425';
const PC1 = '5749413325170901585042342618100259514335271911036052443663554739312315076254463830221406615345372921130528201204';
const PC2 = '141711240105032815062110231912042608160727201302415231374755304051453348444939563453464250362932';
const SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
const S = [
  'e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d',
  'f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9',
  'a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c',
  '7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e',
  '2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453',
  'c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d',
  '4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c',
  'd2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b',
];

const places = (text) => text.match(/\d\d/g).map((place) => Number(place) - 1);
const moved = (bits, table) => places(table).map((place) => bits[place]);
const bitsOf = (bytes) => Array.from(bytes, (byte) => Array.from({ length: 8 }, (_, place) => (byte >> (7 - place)) & 1)).flat();
const bytesOf = (bits) => Uint8Array.from({ length: bits.length / 8 }, (_, at) => bits.slice(at * 8, at * 8 + 8).reduce((byte, bit) => byte * 2 + bit, 0));

function boxed(bits) {
  return S.flatMap((rows, box) => {
    const six = bits.slice(box * 6, box * 6 + 6);
    const row = rows.split(' ')[six[0] * 2 + six[5]];
    const value = parseInt(row[six[1] * 8 + six[2] * 4 + six[3] * 2 + six[4]], 16);
    return [8, 4, 2, 1].map((bit) => (value & bit ? 1 : 0));
  });
}

function roundKeys(key) {
  let halves = moved(bitsOf(key), PC1);
  return SHIFTS.map((shift) => {
    const turned = (half) => [...half.slice(shift), ...half.slice(0, shift)];
    halves = [...turned(halves.slice(0, 28)), ...turned(halves.slice(28))];
    return moved(halves, PC2);
  });
}

function block(bytes, keys) {
  const bits = moved(bitsOf(bytes), IP);
  let [left, right] = [bits.slice(0, 32), bits.slice(32)];
  for (const key of keys) {
    const mixed = moved(boxed(moved(right, E).map((bit, at) => bit ^ key[at])), P);
    [left, right] = [right, left.map((bit, at) => bit ^ mixed[at])];
  }
  return bytesOf(moved([...right, ...left], FP));
}

// Encrypts a block under a key of 8 bytes, or of 16 (two keys: encrypt, decrypt, encrypt).
export function des(key, bytes) {
  const first = roundKeys(key.slice(0, 8));
  if (key.length === 8) return block(bytes, first);
  return block(block(block(bytes, first), roundKeys(key.slice(8)).reverse()), first);
}
