// Call an API for a tenant with the AWS SDK v3 and Powertools' parameters. Paths come in on stdin:
//
//   printf '%s\n' /orders/1 /orders/2 | node call-api.mjs acme https://api.example
//
// A third argument says for how many seconds a token is cached, 300 at most and by default. Calls all
// at once, and prints "STATUS PATH" for each, "--- PATH" where there is no token or no answer; standard
// error says why.

import { createInterface } from 'node:readline';
import { SSMProvider } from '@aws-lambda-powertools/parameters/ssm';
import { SSMClient } from '@aws-sdk/client-ssm';

const [tenant, api, cacheSeconds = '300'] = process.argv.slice(2);
if (!api || !(cacheSeconds <= 300)) {
  console.error('Usage: node call-api.mjs TENANT API [CACHE_SECONDS] < PATHS');
  process.exit(2);
}

const ssm = new SSMProvider({
  awsSdkV3Client: new SSMClient({
    maxAttempts: 6, // reads share a quota with everybody in the account, so some are throttled
    requestHandler: { connectionTimeout: 5_000, requestTimeout: 10_000 }, // milliseconds
  }),
});
const underWay = new Map(); // one read of a tenant at a time, however many calls wait for it
const refused = new Map(); // by tenant, the token that an API refused while nobody had another

function readToken(tenant, { forceFetch = false } = {}) {
  const key = `${tenant} ${forceFetch}`;
  if (!underWay.has(key)) {
    const options = { decrypt: true, maxAge: Number(cacheSeconds), forceFetch };
    const read = ssm.get(`/visma/tokens/${tenant}`, options).finally(() => underWay.delete(key));
    underWay.set(key, read);
  }
  return underWay.get(key);
}

function call(path, token) {
  return fetch(api + path, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(30_000),
  });
}

async function callFor(tenant, path) {
  const token = await readToken(tenant);
  const answer = await call(path, token);
  if (answer.status !== 401 || token === refused.get(tenant)) return answer;
  const newer = await readToken(tenant, { forceFetch: true });
  if (newer !== token) return call(path, newer);
  refused.set(tenant, token);
  return answer;
}

createInterface({ input: process.stdin }).on('line', async (path) => {
  let status = '---';
  try {
    if (!path.startsWith('/')) throw new Error(`a path starts with /: ${path}`);
    const answer = await callFor(tenant, path);
    await answer.body?.cancel(); // a real service reads it
    status = answer.status;
  } catch (error) {
    const { name, message } = error.cause ?? error;
    console.error(`${tenant}: ${name}: ${message}`);
  }
  if (!/^2/.test(status)) process.exitCode = 1;
  console.log(`${status} ${path}`);
});
