// Issues a token for electricity over HTTP with JSON, and repeats the request until there is an answer.
// Needs nothing but Node 18 or later.
//
// Usage: node issue_http.mjs URL CREDENTIAL-FILE CONFIGURATION METER KWH
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, credentialFile, configuration, meter, kwh] = process.argv.slice(2);
// With TLS, where the machine does not know the authority: NODE_EXTRA_CA_CERTS=ca.pem
const headers = {
  'Authorization': 'Bearer ' + readFileSync(credentialFile, 'utf8').trim(),
  'Content-Type': 'application/json',
};
// The requestId is made once for each sale and kept with it: whatever is asked again under it is answered, and never issued twice.
const body = JSON.stringify({ configuration, meter, requestId: randomUUID(), electricityCredit: { decimal: kwh } });

const issue = async () => {
  let answer, said;
  try {
    answer = await fetch(url + '/v1/tokens:issue', { method: 'POST', headers, body, signal: AbortSignal.timeout(5000) });
    said = await answer.json();
  } catch (error) {
    return { problem: String(error.cause ?? error), again: true };
  }
  if (answer.ok) return { token: said.token };
  const info = said.details?.find((detail) => detail.reason) ?? {};
  return {
    problem: `${info.reason ?? answer.status}: ${said.message}`,
    wait: Number(answer.headers.get('Retry-After')) * 1000,
    again: info.metadata?.issued === 'maybe' || [429, 503, 504].includes(answer.status),
  };
};

for (let attempt = 0; ; attempt++) {
  const { token, problem, wait, again } = await issue();
  if (token) {
    console.log(token);
    break;
  }
  if (!again || attempt === 7) {
    console.error(problem);
    process.exit(1);
  }
  await sleep(wait || 100 * 2 ** attempt);
}
