// Checks of upstreams that go with no request: what they find, and that they
// cost nothing.

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { Authority } from './lib/certs.mjs';
import { ask } from './lib/openai.mjs';
import { ALONE, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until } from './lib/until.mjs';

const chat = async (rig) => (await rig.fetch('/v1/chat/completions',
  { json: ask('say ok') })).status;

const listed = async (rig) =>
  (await rig.gate.must(['target', 'list'])).data.find((t) => t.name === 'up');

const breakerIs = (rig, state) => until(`the breaker is ${state}`,
  async () => (await listed(rig)).breaker === state);

describe('health', GATE_ONLY, () => {
  let rig;
  const start = async (health, breaker = {}) => {
    rig = await startRig({ config: (up) => ({ upstreams: [upstreamEntry(up, {
      ...ALONE, health, breaker: { failures: 3, window: '30s', open: '300ms',
        ...breaker } })] }) });
  };
  afterEach(() => rig?.close());

  for (const kind of ['connect', 'models'])
    test(`${kind}: one that is gone is found out, and that it is back`,
      async () => {
        await start({ interval: '50ms', kind });
        await rig.up.refuse();
        await breakerIs(rig, 'open');
        assert.equal(await chat(rig), 503);
        await rig.up.listen();
        await breakerIs(rig, 'closed');
        const t = await listed(rig);
        assert.equal(t.requests, 0);
        assert.ok(rig.up.requests.every((r) => r.path === '/v1/models'));
        assert.equal(rig.up.requests.length > 0, kind === 'models');
        assert.equal(await chat(rig), 200);
        await until('that is logged', () =>
          /health check fails: upstream=up/.test(rig.gate.log) &&
          /health check is good again: upstream=up/.test(rig.gate.log));
      });

  test('one that fails requests has to serve one well', async () => {
    await start({ interval: '20ms', kind: 'models' }, { open: '4s' });
    rig.up.script({ fault: 'status', code: 500, times: 3,
      match: (r) => r.path !== '/v1/models' });
    for (let i = 0; i < 3; i++) assert.equal(await chat(rig), 500);
    assert.equal(await chat(rig), 503);
    await breakerIs(rig, 'half_open');
    const asked = rig.up.requests.length;
    assert.equal((await listed(rig)).breaker, 'half_open');
    assert.equal(rig.up.requests.length, asked);
    assert.equal(await chat(rig), 200);
    await breakerIs(rig, 'closed');
  });

  for (const [what, days, state] of [['good', 1, 'closed'],
    ['expired', -1, 'open']])
    test(`over TLS, a certificate that is ${what}`, async () => {
      const authority = new Authority();
      const two = await startUpstream({ keys: [UPSTREAM_KEY],
        tls: authority.issue(['127.0.0.1'], { days }) });
      try {
        rig = await startRig({ config: { upstreams: [upstreamEntry(two, {
          ...ALONE, health: { interval: '50ms' }, breaker: { open: '1h' },
          tls: { ca: authority.file } })] } });
        await until('it was checked', async () => (await (await fetch(
          `${rig.gate.origin}/metrics`)).text())
          .match(/^tollgate_health_checks_total\{target="up"\} [1-9]/m));
        await breakerIs(rig, state);
        assert.equal(await chat(rig), state === 'open' ? 503 : 200);
        assert.equal(two.hits, state === 'open' ? 0 : 1);
      } finally {
        await two.close();
      }
    });

  test('no interval, no checks', async () => {
    await start({ interval: '0s', kind: 'models' });
    assert.equal(await chat(rig), 200);
    const text = await (await fetch(`${rig.gate.origin}/metrics`)).text();
    assert.match(text, /^tollgate_health_checks_total\{target="up"\} 0$/m);
    assert.equal(rig.up.requests.length, 1);
  });
});
