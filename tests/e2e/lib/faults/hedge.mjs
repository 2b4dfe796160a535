// Rows of the table of faults: upstreams whose first byte is late, where the
// route asks another target beside the first (hedge_after).

import { until, within } from '../until.mjs';

const SERVED = { ok: true, status: 200, billed: 'E', attempts: 2,
  hits: [1, 1] };

const told = (rec) => within(rec.whenAborted(), 'the provider to be told');

export const HEDGES = [
  { id: 'late-other', fault: 'the first byte is late; another target is quick',
    shape: 'hedge', a: { gateAfter: 'head' },
    want: { ...SERVED, from: 'b', legs: 'H' },
    also: (c) => told(c.a.last) },
  { id: 'late-first', shape: 'hedge', b: { gateAfter: 'head' },
    fault: 'the first byte is late, but comes before that of another target',
    want: { ...SERVED, from: 'a', legs: 'H' },
    act: async (c) => {
      const first = c.a.script({ gateAfter: 'head' });
      const reply = c.ask();
      await c.b.waitFor(() => true);
      first.open();
      return reply;
    },
    also: (c) => told(c.b.last) },
  { id: 'late-fails', fault: 'the first byte is late; another target fails',
    shape: 'hedge', b: { fault: 'status', code: 500 },
    want: { ...SERVED, from: 'a', legs: '' },
    act: async (c) => {
      const over = await c.total('hedges_total');
      const first = c.a.script({ gateAfter: 'head' });
      const reply = c.ask();
      await until('its failure is seen', async () =>
        await c.total('hedges_total') > over);
      first.open();
      return reply;
    } },
  { id: 'late-not', fault: 'the first byte is not late', shape: 'patient',
    want: { ...SERVED, from: 'a', attempts: 1, hits: [1, 0], legs: '' } },
  { id: 'late-gone', fault: 'the client leaves while two targets are asked',
    shape: 'hedge', a: { gateAfter: 'head' }, b: { gateAfter: 'head' },
    want: { status: 499, hits: [1, 1], billed: 'H', legs: 'H' },
    act: (c) => c.leave(() => c.b.waitFor(() => true)),
    also: (c) => Promise.all([told(c.a.last), told(c.b.last)]) },
];
