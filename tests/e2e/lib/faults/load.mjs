// Rows of the table of faults: targets that have no room for more requests,
// and how many attempts are made in all when many requests fail.

import assert from 'node:assert/strict';

import { rawRequest } from '../raw.mjs';
import { until, within } from '../until.mjs';

const FULL = { status: 503, code: 'overloaded', billed: 'Z', legs: '',
  headers: { 'retry-after': /^\d+$/, 'x-should-retry': /^true$/ } };

const SERVED = { ok: true, status: 200, billed: 'E', legs: '' };

/** A request that takes the one place there is, until `first.open()`. */
const taken = {
  before: async (c) => {
    c.first = c.a.script({ gateAfter: 'head' });
    c.holder = c.ask();
    await c.first.reached;
  },
  undo: async (c) => {
    c.first.open();
    await c.holder;
  },
};

/** It is opened before the account is looked at. */
const opened = (then) => async (c, seen) => {
  c.first.open();
  assert.equal((await within(c.holder, 'the first')).status, 200);
  await then?.(c, seen);
};

const waiting = (c, n) => until(`${n} wait`, async () =>
  (await c.metric('queue_waiting')) === n);

const never = async (c) => {
  assert.equal(c.a.hits, 1, 'it was never sent');
  await waiting(c, 0);
};

export const PLACES = [
  { id: 'full-waits', fault: 'all places are taken, and one gets free',
    shape: 'line', ...taken, want: { ...SERVED, hits: [2, 0], attempts: 1 },
    act: async (c) => {
      const second = c.ask();
      await waiting(c, 1);
      c.first.open();
      return second;
    }, also: opened() },
  { id: 'full-late', fault: 'all places are taken for longer than queue.wait',
    shape: 'line', ...taken, want: { ...FULL, hits: [1, 0] },
    also: opened(never) },
  { id: 'full-next', shape: 'line2', ...taken,
    fault: 'the same; another target stands by',
    want: { ...SERVED, from: 'b', hits: [1, 1] }, also: opened() },
  { id: 'full-queue', fault: 'all places are taken, and all to wait as well',
    shape: 'line', ...taken, want: { ...FULL, hits: [1, 0] },
    act: async (c) => {
      c.second = c.ask();
      await waiting(c, 1);
      return c.ask();
    },
    also: opened(async (c) => {
      await within(c.second, 'the second');
      await waiting(c, 0);
    }) },
  { id: 'full-gone', fault: 'the client leaves while it waits for a place',
    shape: 'line', ...taken,
    want: { status: 499, billed: 'Z', legs: '', hits: [1, 0] },
    act: (c) => c.leave(() => waiting(c, 1)), also: opened(never) },
];

const BUSY = { fault: 'status', code: 503, error_code: 'their_code' };

const NO_MORE = { status: 503, code: 'their_code', billed: 'Z', legs: '',
  attempts: 1, headers: { 'retry-after': /^\d+$/ } };

/** Requests that it takes at most until no more attempts are made. */
const MANY = 300;

export const SHARES = [
  { id: 'many-fail', shape: 'always', a: { ...BUSY, times: 1e9 },
    fault: 'hundreds of requests get 503: the share for retries is used up',
    want: NO_MORE, shown: '503 `their_code`, told when / a (all of them ' +
      'together at most a tenth, or 100 in 10 s, more than there were ' +
      'requests) / free',
    act: async (c) => {
      for (let i = 1; i <= MANY; i++) {
        const r = await c.ask();
        if (r.header('x-tollgate-attempts') !== '1') continue;
        assert.ok(c.a.hits <= i + 110, `${c.a.hits} for ${i}`);
        return r;
      }
      throw new Error(`${c.a.hits} for ${MANY} requests`);
    } },
];

export const TOLD = [
  { id: 'many-retry', shape: 'always', schemes: ['http'], streams: [false],
    fault: 'clients tell by x-stainless-retry-count that they try again ' +
      'themselves, more often than that share',
    want: { ...NO_MORE, hits: [121, 0] },
    act: async (c) => {
      const head = c.bytes().toString().replace('\r\n',
        '\r\nX-Stainless-Retry-Count: 1\r\n');
      for (let i = 0; i < 120; i++)
        assert.equal((await rawRequest(c.address, head)).status, 200);
      c.a.script(BUSY);
      return c.ask();
    } },
];
