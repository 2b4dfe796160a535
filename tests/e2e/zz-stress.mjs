import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ask } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';
const SECS = Number(process.env.SECS ?? 60);
test('stress', { timeout: 500000 }, async () => {
  const rig = await startRig({ config: { workers: 4, cache: { responses: { enabled: !process.env.OFF, size: '4MiB', max_entry: process.env.ENTRY ?? '64KiB', ttl: '2s', stale_while_revalidate: '1s', stale_if_error: '5s' } } } });
  rig.up.gapMs = 1;
  const other = (await rig.gate.createKey('o')).key;
  const end = performance.now() + SECS * 1000;
  const tally = {};
  const rnd = (n) => Math.floor(Math.random() * n);
  const FAULTS = [{ fault: 'status', code: 500 }, { fault: 'status', code: 400 }, { fault: 'cut_events', after: 5 }, { fault: 'reset', at: 0 }, { fault: 'cut_events', after: 8, how: 'clean' }, { fault: 'short_length' }, { fault: 'rate_limit' }];
  const expected = (n) => Array.from({ length: n }, (_, i) => i + 1).join(' ');
  async function one() {
    const n = 20 + rnd(Number(process.env.SPREAD ?? 20)) * (rnd(5) === 0 ? 40 : 1), stream = rnd(2) === 0;
    const body = ask(`count to ${n}`, { seed: rnd(Number(process.env.SEEDS ?? 5)), stream });
    if (rnd(20) === 0) rig.up.script({ ...FAULTS[rnd(FAULTS.length)] });
    const headers = [['Authorization', `Bearer ${rnd(4) ? rig.key : other}`]];
    if (rnd(15) === 0) headers.push(['Cache-Control', ['no-cache', 'no-store', 'max-age=1', 'only-if-cached'][rnd(4)]]);
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions', headers, JSON.stringify(body)));
    if (rnd(6) === 0) { setTimeout(() => (rnd(2) ? c.destroy() : c.reset()), rnd(60)); }
    else if (rnd(6) === 0) { c.pause(); setTimeout(() => c.resume(), rnd(150)); }
    let r;
    try { r = await c.readReply({ method: 'POST' }); } catch (e) { r = { error: e }; }
    c.destroy();
    const how = r?.headers ? r.header('x-tollgate-cache') : 'none';
    const k = `${r?.status ?? 'gone'} ${how} ${r?.complete}`;
    tally[k] = (tally[k] ?? 0) + 1;
    if (r?.status === 200 && r.complete) {
      let text;
      if (stream) {
        if (/\{"error"/.test(r.text)) { tally.broken = (tally.broken ?? 0) + 1; return; }
        assert.match(r.text, /data: \[DONE\]\n\n$/);
        text = [...r.text.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]).choices[0]?.delta?.content ?? '').join('');
      } else text = r.json.choices[0].message.content;
      assert.equal(text.replace(/[ ,\n]+/g, ' ').trim(), expected(n));
    }
  }
  const errors = [];
  await Promise.all(Array.from({ length: Number(process.env.N ?? 40) }, async () => {
    while (performance.now() < end && !errors.length) try { await one(); } catch (e) { errors.push(e); }
  }));
  console.log(JSON.stringify(tally), 'upstream', rig.up.hits, 'rss', rig.gate.rssBytes() >> 20, 'peak', rig.gate.peakRssBytes() >> 20);
  if (errors.length) console.log(errors[0]);
  const metric = async () => (await (await rig.fetch('/metrics')).text());
  await until('calm', async () => /^tollgate_in_flight 1$/m.test(await metric()), 20000).catch((e) => errors.push(e));
  console.log((await metric()).split('\n').filter((l) => /^tollgate_(cache|coal|in_flight|conn|buff)/.test(l)).join('\n'));
  assert.equal(errors.length, 0);
  await rig.close();
});
