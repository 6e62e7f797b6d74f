// Call an API for a tenant with the AWS SDK v3 and Powertools' parameters. Paths come in on stdin:
//
//   printf '%s\n' /orders/1 /orders/2 | node call-api.mjs acme https://api.example
//
// A third argument says for how many seconds a token is cached, 300 at most and by default. Calls ten
// at a time, and prints "STATUS PATH" for each, "--- PATH" where there is no token or no answer;
// standard error says why.

import { createInterface } from 'node:readline';
import { SSMProvider } from '@aws-lambda-powertools/parameters/ssm';
import { SSMClient } from '@aws-sdk/client-ssm';

const [tenant, api, cacheSeconds = '300', ...others] = process.argv.slice(2);
if (
  !/^[A-Za-z0-9_.-]{1,64}$/.test(tenant) ||
  !/^(https:\/\/.|http:\/\/127\.0\.0\.1:)/.test(api) ||
  !/^([1-9]\d?|[12]\d\d|300)$/.test(cacheSeconds) ||
  others.length
) {
  console.error('Usage: node call-api.mjs TENANT API [CACHE_SECONDS] < PATHS');
  console.error('The API has to be at https://…, and a token is cached for 1 to 300 seconds.');
  process.exit(2);
}

process.env.TZ = 'UTC'; // Powertools counts in local time, and in autumn an hour comes twice
const AT_ONCE = 10;
const ssm = new SSMProvider({
  awsSdkV3Client: new SSMClient({
    maxAttempts: 5, // reads share a quota with everybody in the account, so some are throttled
    requestHandler: {
      connectionTimeout: 3_000, // milliseconds
      requestTimeout: 5_000,
      throwOnRequestTimeout: true, // else it is only logged
    },
  }),
});
const reads = new Map(); // one of a tenant at a time, however many calls wait for it
const refused = new Map(); // by tenant, the token that an API refused while nobody had another

function readToken(tenant, { forceFetch = false } = {}) {
  const key = `${tenant} ${forceFetch}`;
  if (!reads.has(key)) {
    const read = fetchToken(tenant, forceFetch);
    reads.set(key, read);
    const forget = () => reads.delete(key);
    read.then(forget, () => setTimeout(forget, 1_000).unref()); // a failure stands for a second
  }
  return reads.get(key);
}

async function fetchToken(tenant, forceFetch) {
  const name = `/visma/tokens/${tenant}`;
  const options = { decrypt: true, maxAge: Number(cacheSeconds), forceFetch };
  const token = await ssm.get(name, options);
  // RFC 6750 §2.1; an error about anything else would show it
  if (!/^[\w.~+/-]+=*$/.test(token)) throw new Error(`${name} holds no access token`);
  return token;
}

function call(path, token) {
  return fetch(api.replace(/\/$/, '') + path, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(30_000),
  });
}

async function callFor(tenant, path) {
  const token = await readToken(tenant);
  const answer = await call(path, token);
  if (answer.status !== 401 || token === refused.get(tenant)) return answer;
  try {
    let newer = await readToken(tenant); // another call may have read it meanwhile
    if (newer === token) newer = await readToken(tenant, { forceFetch: true });
    if (newer !== token) {
      await answer.body?.cancel();
      return call(path, newer);
    }
    refused.set(tenant, token);
  } catch (error) {
    tell(path, error);
  }
  return answer;
}

function tell(path, error) {
  const { name, code = name, message } = error.cause ?? error;
  console.error(`${path}: ${code}: ${message}`);
}

async function statusOf(path) {
  try {
    if (!path.startsWith('/')) throw new Error(`a path starts with /: ${path}`);
    const answer = await callFor(tenant, path);
    await answer.body?.cancel(); // a real service reads it
    return answer.status;
  } catch (error) {
    tell(path, error);
    return '---';
  }
}

const paths = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function work() {
  for (let next = await paths.next(); !next.done; next = await paths.next()) {
    const status = await statusOf(next.value);
    if (!/^2/.test(status)) process.exitCode = 1;
    console.log(`${status} ${next.value}`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
