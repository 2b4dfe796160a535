// One provider, one daemon before it, one key: what most suites need.  With
// E2E_DIRECT=1 there is no daemon and clients talk to the provider, which
// shows that a suite's expectations are the clients' own.

import { after } from 'node:test';

import { UPSTREAM_KEY, killStrays, startTollgate } from './tollgate.mjs';
import { Upstream, startUpstream } from './upstream.mjs';

export const DIRECT = process.env.E2E_DIRECT === '1';

after(async () => {
  await killStrays();
  for (const up of Upstream.live) await up.close();
});

/** For tests of what only tollgate does. */
export const GATE_ONLY = { skip: DIRECT && 'needs tollgate' };

/** What keeps each failure of a provider to the request that meets it: no
 * second attempt, and nobody is left alone for what others met before. */
export const ALONE = {
  retries: { attempts: 1 }, breaker: { failures: 0 } };

/** The config entry for a scripted provider. */
export const upstreamEntry = (up, extra = {}) => ({
  name: 'up',
  base_url: up.baseUrl,
  api_key: 'env:E2E_UPSTREAM_KEY',
  dialect: 'openai',
  models: ['*'],
  ...ALONE,
  ...extra,
});

export class Rig {
  constructor(up, gate, key) {
    this.up = up;
    this.gate = gate;
    this.keyObject = key;
    this.key = gate ? key.key : UPSTREAM_KEY;
  }

  get origin() {
    return this.gate ? this.gate.origin : this.up.origin;
  }

  get baseUrl() {
    return `${this.origin}/v1`;
  }

  /** Where raw connections go. */
  get address() {
    return { host: '127.0.0.1', port: (this.gate ?? this.up).port };
  }

  /** A request with fetch, key included. */
  fetch(path, { headers = {}, json, ...init } = {}) {
    const body = json === undefined ? init.body : JSON.stringify(json);
    const type = json === undefined ? {} : { 'content-type': 'application/json' };
    return fetch(this.origin + path, {
      method: body === undefined ? 'GET' : 'POST',
      ...init,
      headers: { authorization: `Bearer ${this.key}`, ...type, ...headers },
      body,
    });
  }

  /** Forgets what was asked, and what it made the gateway think of its
   * providers: limits and rests that they told. */
  async clear() {
    this.up.clear();
    for (const { name } of this.gate?.config.upstreams ?? [])
      await this.gate.must(['target', 'resume', name]);
  }

  async close() {
    const problems = [];
    const attempt = async (f) => {
      try {
        await f();
      } catch (e) {
        problems.push(e);
      }
    };
    if (this.gate) {
      await attempt(() => this.gate.stop());
      await attempt(() => this.gate.remove());
    }
    await attempt(() => this.up.close());
    if (problems.length) throw problems[0];
  }
}

/** Options: upstream (provider options), entry (its config), config, env,
 * before (words that the command of the daemon follows). */
export async function startRig(options = {}) {
  const up = await startUpstream({ keys: [UPSTREAM_KEY], ...options.upstream });
  if (DIRECT) return new Rig(up, null, null);
  let gate;
  try {
    gate = await startTollgate({
      passthrough: 'up',
      upstreams: [upstreamEntry(up, options.entry)],
      ...(typeof options.config === 'function'
        ? options.config(up) : options.config),
    }, { env: options.env, before: options.before });
    return new Rig(up, gate, await gate.createKey('e2e'));
  } catch (e) {
    await gate?.kill9();
    gate?.remove();
    await up.close();
    throw e;
  }
}
