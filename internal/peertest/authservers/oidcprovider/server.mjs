// An OpenID provider for tests: the package oidc-provider with its data in
// memory and plain forms for login and consent. Its configuration is the first
// line of standard input, and it prints its address, and the one for clients with a
// certificate. It ends when standard input does, so that it never outlives the test.

import { createServer } from 'node:http';
import { createServer as createTLSServer } from 'node:https';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Provider, errors } from 'oidc-provider';

const input = createInterface({ input: process.stdin });
input.on('close', () => process.exit(0));
const config = await new Promise((resolve) => {
  input.once('line', (line) => resolve(JSON.parse(line)));
});

// Everything stays: the package's own adapter forgets after 1,000 records,
// which a client would see as a grant that was lost.
const records = new Map();
const grants = new Map(); // grant ID -> keys of its tokens
class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    records.set(key, { payload, expires: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
    if (payload.grantId && this.model !== 'Session' && this.model !== 'Interaction') {
      if (!grants.has(payload.grantId)) grants.set(payload.grantId, new Set());
      grants.get(payload.grantId).add(key);
    }
  }
  async find(id) {
    const record = records.get(this.key(id));
    return record && record.expires > Date.now() ? record.payload : undefined;
  }
  async findByUid(uid) {
    for (const [key, record] of records) {
      if (key.startsWith(`${this.model}:`) && record.payload.uid === uid) return record.payload;
    }
    return undefined;
  }
  async findByUserCode() { return undefined; }
  async consume(id) { records.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { records.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const key of grants.get(grantId) ?? []) records.delete(key);
    grants.delete(grantId);
  }
}

const clients = new Memory('Client');
for (const client of config.clients) await clients.upsert(client.client_id, client);

// What answers is there once the provider is, which must know the addresses.
let answer;
async function listen(server) {
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return `127.0.0.1:${server.address().port}`;
}
const address = await listen(createServer((req, res) => answer(req, res)));
const secure = config.tls
  ? await listen(createTLSServer({ ...config.tls, requestCert: true, rejectUnauthorized: false }, (req, res) => answer(req, res)))
  : '';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const provider = new Provider(config.issuer, {
  adapter: Memory,
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'key-1', alg: 'ES256', use: 'sig' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  scopes: config.scopes,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none',
    ...(config.tls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
  ],
  enabledJWA: { clientAuthSigningAlgValues: config.assertionAlgs },
  discovery: config.tls && {
    mtls_endpoint_aliases: {
      token_endpoint: `https://${secure}/token`,
      revocation_endpoint: `https://${secure}/token/revocation`,
      pushed_authorization_request_endpoint: `https://${secure}/request`,
    },
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: config.requirePAR },
    mTLS: config.tls && {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => (ctx.socket.encrypted ? ctx.socket.getPeerX509Certificate() : undefined),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_subject_dn'
        && ctx.socket.getPeerX509Certificate().subject.split('\n').reverse().join(',') === expected,
    },
    resourceIndicators: config.resource && {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== config.resource) throw new errors.InvalidTarget();
        return { audience: resource, scope: 'contacts.read', accessTokenTTL: config.tokenLife, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
      },
    },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: config.tokenLife,
    AuthorizationCode: 60,
    ClientCredentials: config.tokenLife,
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  renderError: (ctx, out) => { ctx.body = out; },
});

provider.proxy = true; // in front of it, X-Forwarded-Proto is set

const escape = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function page(res, title, body) {
  res.setHeader('Content-Type', 'text/html; charset=utf-8');
  res.end(`<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`);
}

async function read(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
}

// register adds or replaces a client.
async function register(req, res) {
  const client = JSON.parse(await read(req));
  await clients.upsert(client.client_id, client);
  await provider.Client.find(client.client_id); // to say at once what is wrong with it
  res.statusCode = 204;
  res.end();
}

async function interaction(req, res) {
  const details = await provider.interactionDetails(req, res);
  const { prompt, params, session } = details;
  if (req.method === 'GET') {
    if (prompt.name === 'login') {
      return page(res, 'Sign in', '<form method="post"><label>Name <input name="username"></label> '
        + '<label>Password <input name="password" type="password"></label> <button>Sign in</button></form>');
    }
    return page(res, 'Consent', `<p>${escape(params.client_id)} asks for: ${escape(params.scope)}</p>`
      + '<form method="post"><button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button></form>');
  }

  const form = new URLSearchParams(await read(req));
  let result;
  if (prompt.name === 'login' && form.get('password') !== config.password) {
    result = { error: 'access_denied', error_description: 'wrong password' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: `sub-of-${form.get('username')}` } };
  } else if (form.get('decision') === 'allow') {
    const grant = details.grantId
      ? await provider.Grant.find(details.grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
    if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
    for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
      grant.addResourceScope(resource, scopes.join(' '));
    }
    result = { consent: { grantId: await grant.save() } };
  } else {
    result = { error: 'access_denied', error_description: 'the person said no' };
  }
  return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: prompt.name !== 'login' });
}

const serve = provider.callback();
answer = (req, res) => {
  const own = req.url === '/clients' ? register : req.url.startsWith('/interaction/') ? interaction : serve;
  return own(req, res).catch((err) => {
    res.statusCode = 500;
    res.end(`${err} ${err.error_description ?? ''}`);
  });
};
console.log(`listening on ${address} ${secure}`);
