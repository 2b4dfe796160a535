// Rows of the table of faults: when a target is left alone, and when it is
// asked again; and clients that leave.

import assert from 'node:assert/strict';

import { until, within } from '../until.mjs';

const CLOSE = { fault: 'reset', at: 0 };

const SHUT = { status: 503, code: 'upstream_unavailable', billed: 'Z',
  legs: '', headers: { 'retry-after': /^\d+$/, 'x-should-retry': /^true$/ } };

/** Makes the breaker open with five failures in a row. */
const trip = async (c) => {
  for (let i = 0; i < 5; i++) assert.equal((await c.ask()).status, 502);
};

const stateOf = async (c) => [(await c.target()).breaker,
  await c.metric('breaker_state')];

export const BREAKERS = [
  { id: 'breaker', fault: '5 requests in a row failed', shape: 'breaks',
    a: CLOSE, log: /breaker/, want: { ...SHUT, hits: [5, 0] },
    act: async (c) => {
      await trip(c);
      assert.deepEqual(await stateOf(c), ['open', 1]);
      return c.ask();
    } },
  { id: 'breaker-share', shape: 'breaks', log: /breaker/,
    fault: 'every other request failed, 10 of the last 20',
    want: { ...SHUT, hits: [20, 0] },
    act: async (c) => {
      for (let i = 0; i < 20; i++) {
        if (i % 2 === 1) c.a.script(CLOSE);
        const r = await c.ask();
        assert.equal(r.status, i % 2 === 1 ? 502 : 200, `request ${i}`);
      }
      return c.ask();
    } },
  { id: 'breaker-probe', shape: 'breaks', log: /breaker/,
    fault: '5 requests in a row failed, and its pause is over: one is let ' +
      'through, and is not answered yet',
    a: { ...CLOSE, times: 5 }, want: { ...SHUT, hits: [6, 0] },
    act: async (c) => {
      await trip(c);
      c.probe = c.a.script({ gateAfter: 'head' });
      c.asked = [];
      c.seenProbe = false;
      c.probe.reached.then(() => (c.seenProbe = true));
      await until('a probe', async () => {
        if (!c.seenProbe) c.asked.push(c.ask());
        await Promise.race([c.probe.reached, c.asked.at(-1)]);
        return c.seenProbe;
      });
      assert.equal(c.a.hits, 6);
      for (let i = 0; i < 5; i++) assert.equal((await c.ask()).status, 503);
      return c.ask();
    },
    also: async (c) => {
      c.probe.open();
      const all = await within(Promise.all(c.asked), 'the probe');
      assert.equal(all.filter((r) => r.status === 200).length, 1);
      assert.deepEqual(await stateOf(c), ['closed', 0]);
      for (let i = 0; i < 3; i++) assert.equal((await c.ask()).status, 200);
    } },
  { id: 'breaker-caller', shape: 'breaks',
    fault: '100 requests were refused for what they ask',
    want: { ok: true, status: 200, hits: [101, 0], billed: 'E', legs: '' },
    act: async (c) => {
      c.a.script({ fault: 'status', code: 400, times: 100 });
      for (let i = 0; i < 100; i++) assert.equal((await c.ask()).status, 400);
      assert.deepEqual(await stateOf(c), ['closed', 0]);
      return c.ask();
    } },
];

const GONE = { status: 499, legs: '' };

const BUSY = { fault: 'status', code: 503,
  edit: (plan) => plan.setHeader('retry-after-ms', '1900') };

export const CLIENTS = [
  { id: 'gone-waiting', fault: 'the client leaves before the first byte',
    shape: 'two', a: { gateAfter: 'head' },
    want: { ...GONE, hits: [1, 0], billed: 'H', attempts: 1 },
    act: (c) => c.leave(async () => {
      await c.a.waitFor(() => true);
    }),
    also: (c) => within(c.a.last.whenAborted(), 'the provider to be told') },
  { id: 'gone-pausing', shape: 'one', a: BUSY,
    fault: 'the client leaves while 503 is waited out',
    want: { ...GONE, hits: [1, 0], billed: 'Z', attempts: 1 },
    act: (c) => {
      const logged = c.gate.log.length;
      return c.leave(() => until('the pause', () =>
        /attempt again: .* wait_ms=/.test(c.gate.log.slice(logged))));
    } },
  { id: 'gone-midway', fault: 'the client leaves in the middle of a stream',
    shape: 'two', streams: [true], a: { gateAfter: 6 },
    want: { ...GONE, hits: [1, 0], billed: ['C', 'H'], attempts: 1 },
    act: (c) => c.leave(async (client) => {
      await client.reader.readUntil(Buffer.from('" 2"'));
    }),
    also: (c) => within(c.a.last.whenAborted(), 'the provider to be told') },
];
