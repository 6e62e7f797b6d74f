// Call an API for a tenant with the AWS SDK v3 and Powertools' parameters. It reads paths from stdin:
//
//   printf '%s\n' /orders/1 /orders/2 | node call-api.mjs acme https://api.example
//
// A third argument is for how many seconds a token is cached, 300 at most and by default. Calls ten
// paths at a time, and prints "STATUS PATH" for each, or "--- PATH" if there is no token or answer;
// standard error says why.

import { createInterface } from 'node:readline';
import { SSMProvider } from '@aws-lambda-powertools/parameters/ssm';
import { SSMClient } from '@aws-sdk/client-ssm';

const [tenant, api, cacheSeconds = '300', ...others] = process.argv.slice(2);
if (
  !/^[A-Za-z0-9_.-]{1,64}$/.test(tenant) ||
  !/^(https:\/\/.|http:\/\/127\.0\.0\.1:\d+(\/|$))/.test(api) ||
  !/^([1-9]\d?|[12]\d\d|300)$/.test(cacheSeconds) ||
  others.length
) {
  console.error('Usage: node call-api.mjs TENANT API [CACHE_SECONDS] < PATHS');
  console.error('The API has to be at https://…, and a token is cached for 1 to 300 seconds.');
  process.exit(2);
}

process.env.TZ = 'UTC'; // Powertools counts in local time, and in autumn an hour comes twice
if (api.startsWith('http:')) process.env.no_proxy = '127.0.0.1'; // where NODE_USE_ENV_PROXY is set
const AT_ONCE = 10;
const client = new SSMClient({
  maxAttempts: 5, // reads share a quota with everybody in the account, so some are throttled
  requestHandler: {
    connectionTimeout: 3_000, // milliseconds
    requestTimeout: 5_000,
    throwOnRequestTimeout: true, // else it is only logged
  },
});
client.middlewareStack.add((next) => async (args) => next(checked(args)), { step: 'finalizeRequest' });
const ssm = new SSMProvider({ awsSdkV3Client: client });
const parameter = `/visma/tokens/${tenant}`; // for many tenants, keep what follows for each
const reads = new Map(); // by forceFetch: calls at the same time wait for one read
let refused; // the token that the API refused while nobody had another

function checked(args) {
  const { protocol, hostname } = args.request;
  if (protocol === 'https:' || ['127.0.0.1', 'localhost'].includes(hostname)) return args;
  throw new Error('AWS_ENDPOINT_URL is not https, so a token would be sent in clear text');
}

function readToken({ forceFetch = false } = {}) {
  if (!reads.has(forceFetch)) {
    const read = fetchToken(forceFetch);
    reads.set(forceFetch, read);
    const forget = () => reads.delete(forceFetch);
    read.then(forget, () => setTimeout(forget, 2_000).unref()); // no new read for 2 s after a failure
  }
  return reads.get(forceFetch);
}

async function fetchToken(forceFetch) {
  const token = await ssm.get(parameter, { decrypt: true, maxAge: Number(cacheSeconds), forceFetch });
  // RFC 6750 §2.1; fetch would quote another text in its error
  if (!/^[\w.~+/-]+=*$/.test(token)) throw new Error(`${parameter} holds no access token`);
  return token;
}

function call(path, token) {
  return fetch(api.replace(/\/$/, '') + path, {
    headers: { authorization: `Bearer ${token}` },
    redirect: 'manual',
    signal: AbortSignal.timeout(30_000),
  });
}

async function callWithToken(path) {
  const token = await readToken();
  const answer = await call(path, token);
  if (answer.status !== 401 || token === refused) return answer;
  try {
    let newer = await readToken(); // another call may have read it meanwhile
    if (newer === token) newer = await readToken({ forceFetch: true });
    if (newer !== token) {
      await answer.body?.cancel();
      return call(path, newer);
    }
    refused = token;
  } catch (error) {
    tell(path, error);
  }
  return answer;
}

function tell(path, error) {
  const { name, code, message } = error.cause ?? error;
  console.error(`${shown(path)}: ${typeof code === 'string' ? code : name}: ${message}`);
}

function shown(path) {
  return path.replaceAll(/[^ -~]/gu, '?'); // a terminal would obey some of these characters
}

async function statusOf(path) {
  try {
    if (shown(path) !== path) throw new Error('a path is ASCII, and percent-encoded');
    if (!path.startsWith('/')) throw new Error(`a path starts with /: ${path}`);
    const answer = await callWithToken(path);
    await answer.body?.cancel(); // a real program reads it
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
    console.log(`${status} ${shown(next.value)}`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
