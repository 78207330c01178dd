// An identity provider for tests: the package oidc-provider (certified OpenID Connect) with four people and its own plain
// pages for logging in. Arguments: its port, the pool's address. Prints `ready` once it listens.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, pool] = process.argv.slice(2);
const packages = createRequire(process.cwd() + '/');
const { default: Provider } = await import(pathToFileURL(packages.resolve('oidc-provider')).href);

const people = {
  ann: { name: 'ann', groups: ['ml', 'leads'] },
  bob: { name: 'bob', groups: ['ml'] },
  // As a directory may call somebody.
  zoe: { name: "DOMAIN\\Zoë O'Brien", groups: ['ml'] },
  // Calls themself what the pool's owner is called.
  eve: { name: process.env.POND_OWNER, groups: ['leads'] },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'pond',
    client_secret: 'not a secret in a test',
    redirect_uris: [`${pool}/login/provider/done`],
  }],
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  pkce: { required: () => true },
  findAccount: (_ctx, id) => people[id] && {
    accountId: id,
    claims: () => ({ sub: `subject-${id}`, preferred_username: people[id].name, groups: people[id].groups }),
  },
  features: { devInteractions: { enabled: true } },
});

// For tests: groups change while people are away.
provider.use(async (ctx, next) => {
  const [, id, groups] = ctx.path.match(/^\/test\/(\w+)\/(.*)$/) ?? [];
  if (!id) return next();
  people[id].groups = groups.split(',').filter(Boolean);
  ctx.body = 'done';
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
