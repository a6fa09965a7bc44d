// Issues a token for electricity, and repeats the request until there is an answer.
//
// Usage: node issue.js PROTO-FOLDER ADDRESS CREDENTIAL-FILE CONFIGURATION METER KWH
const fs = require('fs');
const { randomUUID } = require('crypto');
const { setTimeout: sleep } = require('timers/promises');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [proto, address, credentialFile, configuration, meter, kwh] = process.argv.slice(2);
const loaded = loader.loadSync('vendkey/v1/token.proto', { includeDirs: [proto], keepCase: true });
const { TokenService } = grpc.loadPackageDefinition(loaded).vendkey.v1;
// With TLS: grpc.credentials.createSsl(fs.readFileSync('ca.pem'))
const tokens = new TokenService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('authorization', 'Bearer ' + fs.readFileSync(credentialFile, 'utf8').trim());

// The request_id is made once for each sale and kept with it: whatever is asked again under it is answered, and never issued twice.
const request = { configuration, meter, request_id: randomUUID(), electricity_credit: { decimal: kwh } };
const { UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, CANCELLED, UNKNOWN } = grpc.status;
const AGAIN = [UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, CANCELLED, UNKNOWN];

const issue = () =>
  new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 5000 };
    tokens.issueToken(request, metadata, options, (error, token) => (error ? reject(error) : resolve(token)));
  });

(async () => {
  for (let attempt = 0; ; attempt++) {
    try {
      console.log((await issue()).token);
      return tokens.close();
    } catch (error) {
      if (!AGAIN.includes(error.code) || attempt === 7) {
        console.error(`${grpc.status[error.code]}: ${error.details}`);
        process.exit(1);
      }
      await sleep(100 * 2 ** attempt);
    }
  }
})();
