// A client of gRPC-Web with nothing but fetch: one call in bytes or as text. Frames are made by hand,
// as the protocol has them: a flag, a length of 4 bytes, and then a message (0) or trailers (128).
//
// Usage: node grpc_web.mjs URL bytes|text CREDENTIAL MESSAGE-IN-BASE64 [ORIGIN]
// Prints the status, the content type, the message in base64 and the trailers as JSON.
const [url, form, credential, message, origin] = process.argv.slice(2);
const kind = form === 'text' ? 'application/grpc-web-text+proto' : 'application/grpc-web+proto';
const content = Buffer.from(message, 'base64');
const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), content]);
frame.writeUInt32BE(content.length, 1);
const headers = { 'content-type': `${kind}; charset=utf-8`, 'x-grpc-web': '1' };
if (credential) headers.authorization = `Bearer ${credential}`;
if (origin) headers.origin = origin;
const answer = await fetch(url, { method: 'POST', headers, body: form === 'text' ? frame.toString('base64') : frame });
const raw = Buffer.from(await answer.arrayBuffer());
// Text may be several parts of base64, one after the other, each with its own end.
const parts = raw.toString('latin1').match(/[A-Za-z0-9+/]+={0,2}/g) ?? [];
const bytes = form === 'text' ? Buffer.concat(parts.map((part) => Buffer.from(part, 'base64'))) : raw;
const found = { status: answer.status, kind: answer.headers.get('content-type'), trailers: Object.fromEntries(answer.headers), message: null };
for (let at = 0; at < bytes.length;) {
  const length = bytes.readUInt32BE(at + 1);
  const held = bytes.subarray(at + 5, at + 5 + length);
  if (bytes[at] & 128) for (const line of held.toString('latin1').split('\r\n').filter(Boolean)) found.trailers[line.slice(0, line.indexOf(':'))] = line.slice(line.indexOf(':') + 1).trim();
  else found.message = held.toString('base64');
  at += 5 + length;
}
console.log(JSON.stringify(found));
