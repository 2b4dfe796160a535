// What stored and shared replies cost: by default nothing, or what they cost
// the request that they were made for; in rows, budgets, limits, reports,
// metrics, access lines and heads.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { amountOf, dollars, noneHeld, standOf, startPriced }
  from './lib/budget.mjs';
import { ask, collect, openaiFor } from './lib/openai.mjs';
import { GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

const PRICES = [
  { model: 'demo', input: 1.25, cached_input: 0.125, output: 10 },
  { model: 'vector', input: 0.02 },
  { model: 'claude-*', input: 3, output: 15 },
];

/** What answers in either dialect. */
const upstreams = (up) => [upstreamEntry(up, { models: ['demo', 'vector'] }),
  upstreamEntry(up, { name: 'claude', dialect: 'anthropic',
    models: ['claude-*'] })];

const CACHE = { responses: { enabled: true, size: '64MiB' } };

const headersOf = (key, more = {}) => ({
  authorization: `Bearer ${key.key}`, 'content-type': 'application/json',
  ...more });

/** One request of <key>: its reply, read to its end. */
async function post(rig, key, body, { path = '/v1/chat/completions',
  headers } = {}) {
  const r = await fetch(rig.origin + path, { method: 'POST',
    headers: headersOf(key, headers), body: JSON.stringify(body) });
  const text = await r.text();
  return { status: r.status, text, how: r.headers.get('x-tollgate-cache'),
    id: r.headers.get('x-request-id'), headers: r.headers };
}

const rowOf = (rig, id) => until(`the row of ${id}`, async () => {
  const r = await rig.gate.ctl(['request', 'show', id]);
  return r.code === 0 && r.json;
});

/** The sum of a metric over its series. */
async function metric(rig, name) {
  const text = await (await fetch(`${rig.origin}/metrics`)).text();
  return text.split('\n').filter((l) => l.startsWith(`tollgate_${name}{`) ||
    l.startsWith(`tollgate_${name} `))
    .reduce((s, l) => s + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);
}

/** A question that nobody asked before, to be answered the same each time. */
let serial = 0;
const fresh = (more) => ask(`question ${++serial}, word by word`,
  { temperature: 0, max_tokens: 40, ...more });

function keys(rig) {
  let n = 0;
  rig.key_ = (...args) => rig.gate.createKey(`m${++n}`, ...args);
  return rig;
}

describe('a stored reply costs nothing by default', GATE_ONLY, () => {
  let rig;

  before(async () => {
    rig = keys(await startPriced(PRICES, { config: (up) => ({
      upstreams: upstreams(up), cache: CACHE }) }));
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  for (const stream of [false, true])
    test(`its row says what it saved, stream ${stream}`, async () => {
      const key = await rig.key_();
      const body = fresh(stream
        ? { stream, stream_options: { include_usage: true } } : {});
      const first = await post(rig, key, body);
      const again = await post(rig, key, body);
      assert.deepEqual([first.how, again.how], ['miss', 'hit']);
      assert.equal(first.headers.get('age'), null);
      assert.match(again.headers.get('age'), /^[0-5]$/);
      assert.notEqual(first.id, again.id);
      assert.equal(again.text, first.text);
      assert.equal(rig.up.requests.length, 1);
      assert.equal(again.headers.get('x-tollgate-attempts'), '0');
      assert.equal(again.headers.get('x-tollgate-target'), 'up');
      if (!stream)
        assert.equal(again.headers.get('x-tollgate-cost-usd'), '0.000000000');
      const paid = await rowOf(rig, first.id);
      const row = await rowOf(rig, again.id);
      assert.deepEqual([paid.cache, paid.saved_input_tokens,
        paid.saved_output_tokens, paid.saved_usd],
      ['miss', 0, 0, '0.000000000']);
      assert.ok(paid.input_tokens > 0 && paid.output_tokens > 0);
      assert.ok(amountOf(paid.cost_usd) > 0);
      assert.deepEqual([row.cache, row.input_tokens, row.output_tokens,
        row.cost_usd, row.attempts, row.status, row.estimated, row.unpriced],
      ['hit', 0, 0, '0.000000000', 0, 200, false, false]);
      assert.deepEqual([row.saved_input_tokens, row.saved_output_tokens,
        row.saved_usd], [paid.input_tokens, paid.output_tokens, paid.cost_usd]);
      for (const member of ['target', 'target_model', 'model', 'endpoint',
        'stream', 'usage_source', 'finish'])
        assert.equal(row[member], paid[member], member);
      const line = await rig.gate.accessRow('hit', (l) => l.id === again.id);
      assert.deepEqual([line.cache, line.status, line.cost_nusd,
        line.input_tokens, line.output_tokens, line.attempts],
      ['hit', 200, 0, 0, 0, 0]);
      const missed = await rig.gate.accessRow('miss', (l) => l.id === first.id);
      assert.equal(missed.cache, 'miss');
    });

  test('usage tells hits and savings, and the ledger stands', async () => {
    const key = await rig.key_();
    const body = fresh();
    const before_ = {};
    const names = ['cache_hits_total', 'cache_misses_total',
      'cache_saved_tokens_total', 'cache_saved_cost_usd_total',
      'coalesced_total', 'requests_total'];
    for (const n of names) before_[n] = await metric(rig, n);
    const first = await post(rig, key, body);
    for (let i = 0; i < 3; i++)
      assert.equal((await post(rig, key, body)).how, 'hit');
    await post(rig, key, fresh({ temperature: 1 })); // of its own
    const paid = await rowOf(rig, first.id);
    const tokens = paid.input_tokens + paid.output_tokens;
    for (const by of ['key', 'model', 'target', 'day', 'team']) {
      const data = await rig.gate.usageOf(5, '--key', key.id, '--by', by);
      assert.equal(data.length, 1);
      const [sum] = data;
      assert.deepEqual([sum.requests, sum.cache_hits, sum.cache_misses,
        sum.coalesced, sum.errors], [5, 3, 1, 0, 0], by);
      assert.equal(sum.saved_input_tokens, 3 * paid.input_tokens);
      assert.equal(sum.saved_output_tokens, 3 * paid.output_tokens);
      assert.equal(amountOf(sum.saved_usd), 3 * amountOf(paid.cost_usd));
    }
    const table = await rig.gate.ctl(['usage', '--by', 'key'], { json: false });
    assert.match(table.stdout, /HITS +JOINED +SAVED IN +SAVED OUT +SAVED USD/);
    assert.match(table.stdout, /TOTAL .*\d\.\d{9}\n/);
    await until('the metrics', async () =>
      await metric(rig, 'requests_total') === before_.requests_total + 5);
    const now = {};
    for (const n of names) now[n] = await metric(rig, n) - before_[n];
    assert.equal(now.cache_hits_total, 3);
    assert.equal(now.cache_misses_total, 1);
    assert.equal(now.coalesced_total, 0);
    assert.equal(now.cache_saved_tokens_total, 3 * tokens);
    assert.equal(Math.round(now.cache_saved_cost_usd_total * 1e9),
      3 * amountOf(paid.cost_usd));
    await rig.gate.must(['ledger', 'verify']);
    const top = await rig.gate.ctl(['top'], { json: false });
    assert.match(top.stdout, /^cache +[\d.]+ \/s hits +.*saved \$0\.0/m);
  });

  test('a budget that is used up still lets it through', async () => {
    const body = fresh();
    const key = await rig.key_('--budget', '100-output-tokens/total');
    const first = await post(rig, key, body);
    assert.equal(first.how, 'miss');
    await noneHeld(rig, 'key', key.id);
    const [b] = await standOf(rig, 'key', key.id);
    await rig.gate.must(['key', 'update', key.id, '--budget',
      `${b.spent}-output-tokens/total`]);
    const refused = await post(rig, key, fresh());
    assert.equal(refused.status, 429);
    const again = await post(rig, key, body);
    assert.deepEqual([again.status, again.how, again.text],
      [200, 'hit', first.text]);
    assert.equal((await standOf(rig, 'key', key.id))[0].spent, b.spent);
  });

  test('limits on requests count it', async () => {
    const key = await rig.key_('--rpm', '3');
    const body = fresh();
    const how = [];
    for (let i = 0; i < 4; i++) {
      const r = await post(rig, key, body);
      how.push(r.status === 200 ? r.how : r.status);
    }
    assert.deepEqual(how, ['miss', 'hit', 'hit', 429]);
  });

  test('limits on tokens count it by the tokens of the reply', async () => {
    const key = await rig.key_('--tpm', '100000');
    const body = fresh();
    const first = await post(rig, key, body);
    const paid = await rowOf(rig, first.id);
    const at1 = Number((await post(rig, key, body)).headers
      .get('x-ratelimit-remaining-tokens'));
    let last;
    for (let i = 0; i < 20; i++) last = await post(rig, key, body);
    const at2 = Number(last.headers.get('x-ratelimit-remaining-tokens'));
    const each = paid.input_tokens + paid.output_tokens;
    // what flows back meanwhile is less than 100000 a minute allows
    assert.ok(at1 - at2 <= 20 * each, `${at1} ${at2} ${each}`);
    assert.ok(at1 - at2 > 20 * each - 5000, `${at1} ${at2} ${each}`);
  });

  test('embeddings and messages are priced and saved alike', async () => {
    const key = await rig.key_();
    const cases = [
      ['/v1/embeddings', { model: 'vector', input: `text ${++serial}` }],
      ['/v1/messages', { model: 'claude-a', max_tokens: 30, temperature: 0,
        messages: [{ role: 'user', content: `text ${++serial}` }] }],
    ];
    for (const [path, body] of cases) {
      const first = await post(rig, key, body, { path });
      const again = await post(rig, key, body, { path });
      assert.deepEqual([first.how, again.how], ['miss', 'hit'], path);
      const paid = await rowOf(rig, first.id);
      const row = await rowOf(rig, again.id);
      assert.ok(amountOf(paid.cost_usd) > 0, path);
      assert.equal(row.saved_usd, paid.cost_usd);
      assert.equal(row.saved_input_tokens, paid.input_tokens);
      assert.equal(row.endpoint, paid.endpoint);
    }
  });

  test('what is not stored is refused where nothing else is wanted',
    async () => {
      const headers = { 'cache-control': 'only-if-cached' };
      const key = await rig.key_();
      const body = fresh();
      const none = await post(rig, key, body, { headers });
      assert.equal(none.status, 504);
      const { error } = JSON.parse(none.text);
      assert.deepEqual([error.type, error.code, error.param],
        ['invalid_request_error', 'not_cached', null]);
      assert.equal(none.headers.get('x-should-retry'), 'false');
      assert.equal(none.how, 'miss');
      assert.equal(rig.up.requests.length, 0);
      await post(rig, key, body);
      const some = await post(rig, key, body, { headers });
      assert.deepEqual([some.status, some.how], [200, 'hit']);
      // in the other shape, and to the official clients
      const client = new Anthropic({ apiKey: key.key, baseURL: rig.origin,
        maxRetries: 3 });
      await assert.rejects(client.messages.create({ model: 'claude-a',
        max_tokens: 3, temperature: 0,
        messages: [{ role: 'user', content: `no ${++serial}` }] }, { headers }),
      (e) => e.status === 504 && e.error.type === 'error' &&
        e.error.error.type === 'invalid_request_error');
      const openai = openaiFor(rig, { apiKey: key.key, maxRetries: 3 });
      await assert.rejects(openai.chat.completions.create(fresh(), { headers }),
        (e) => e.status === 504 && e.code === 'not_cached');
      assert.equal(rig.up.requests.length, 1);
      const row = await rowOf(rig, none.id);
      assert.deepEqual([row.status, row.reason, row.cost_usd],
        [504, 'not_cached', '0.000000000']);
    });

  test('who joins a call saves it, who leads it pays, once', async () => {
    const key = await rig.key_();
    for (const stream of [false, true]) {
      const body = fresh({ stream });
      const script = rig.up.script({ gateAfter: stream ? 2 : 'head' });
      const n0 = rig.up.requests.length;
      const all = [post(rig, key, body)];
      await script.reached;
      for (let i = 0; i < 5; i++) all.push(post(rig, key, body));
      await until('five wait', async () =>
        await metric(rig, 'in_flight') >= 6 && true);
      script.open();
      const replies = await Promise.all(all);
      assert.equal(rig.up.requests.length, n0 + 1);
      const counts = {};
      for (const r of replies) counts[r.how] = (counts[r.how] ?? 0) + 1;
      assert.deepEqual(counts, { miss: 1, joined: 5 });
      for (const r of replies) assert.equal(r.text, replies[0].text);
      const paid = await rowOf(rig, replies[0].id);
      assert.ok(amountOf(paid.cost_usd) > 0);
      for (const r of replies.slice(1)) {
        const row = await rowOf(rig, r.id);
        assert.deepEqual([row.cache, row.cost_usd, row.input_tokens,
          row.attempts, row.target],
        ['joined', '0.000000000', 0, 0, 'up']);
        assert.deepEqual([row.saved_input_tokens, row.saved_output_tokens,
          row.saved_usd],
        [paid.input_tokens, paid.output_tokens, paid.cost_usd]);
        assert.equal(r.headers.get('age'), null);
      }
    }
    await rig.gate.must(['ledger', 'verify']);
  });
});

describe('a stored reply is charged in full', GATE_ONLY, () => {
  let rig;

  before(async () => {
    rig = keys(await startPriced(PRICES, { config: (up) => ({
      upstreams: upstreams(up), cache: { ...CACHE, charge: 'full' } }) }));
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  for (const stream of [false, true])
    test(`it costs what it cost, also budgets, stream ${stream}`, async () => {
      const key = await rig.key_('--budget', '$1/total',
        '--budget', '100000-tokens/day');
      const body = fresh({ stream });
      const first = await post(rig, key, body);
      const paid = await rowOf(rig, first.id);
      const again = await post(rig, key, body);
      assert.equal(again.how, 'hit');
      assert.equal(again.text, first.text);
      const row = await rowOf(rig, again.id);
      assert.deepEqual([row.cache, row.cost_usd, row.input_tokens,
        row.output_tokens, row.attempts],
      ['hit', paid.cost_usd, paid.input_tokens, paid.output_tokens, 0]);
      assert.equal(row.saved_usd, paid.cost_usd);
      if (!stream)
        assert.equal(again.headers.get('x-tollgate-cost-usd'), paid.cost_usd);
      await noneHeld(rig, 'key', key.id);
      const stand = await standOf(rig, 'key', key.id);
      assert.deepEqual(stand.map((b) => b.spent),
        [2 * amountOf(paid.cost_usd),
          2 * (paid.input_tokens + paid.output_tokens)]);
      assert.equal(rig.up.requests.length, 1);
      await rig.gate.must(['ledger', 'verify']);
    });

  test('a budget that it would overrun refuses it before a byte', async () => {
    const key = await rig.key_();
    const body = fresh();
    const first = await post(rig, key, body);
    const paid = await rowOf(rig, first.id);
    const cost = amountOf(paid.cost_usd);
    for (const [spec, spent] of [
      [(n) => `${dollars(n * cost)}/total`, cost],
      [(n) => `${n * paid.output_tokens}-output-tokens/total`,
        paid.output_tokens],
      [(n) => `${n * paid.input_tokens}-input-tokens/month`,
        paid.input_tokens]]) {
      // twice what it cost: its own, and one that was stored
      await rig.gate.must(['key', 'update', key.id, '--budget', spec(1)]);
      const full = await post(rig, key, body);
      assert.equal(full.status, 429, `${spec(1)} ${full.text}`);
      const { error } = JSON.parse(full.text);
      assert.deepEqual([error.type, error.code],
        ['insufficient_quota', 'insufficient_quota']);
      assert.equal(full.headers.get('age'), null);
      const before_ = (await standOf(rig, 'key', key.id))[0].spent;
      await rig.gate.must(['key', 'update', key.id, '--budget',
        spec(before_ / spent + 1)]);
      const fits = await post(rig, key, body);
      assert.deepEqual([fits.status, fits.how], [200, 'hit'], spec(2));
      await noneHeld(rig, 'key', key.id);
      assert.equal((await standOf(rig, 'key', key.id))[0].spent,
        before_ + spent);
      const more = await post(rig, key, body);
      assert.equal(more.status, 429);
    }
    assert.equal(rig.up.requests.length, 1);
    await rig.gate.must(['ledger', 'verify']);
  });

  test('of a crowd as many are served as the budget affords', async () => {
    const key = await rig.key_();
    const body = fresh();
    const paid = await rowOf(rig, (await post(rig, key, body)).id);
    await rig.gate.must(['key', 'update', key.id, '--budget',
      `${dollars(8 * amountOf(paid.cost_usd))}/total`]);
    const all = await Promise.all(Array.from({ length: 40 },
      () => post(rig, key, body)));
    const served = all.filter((r) => r.status === 200);
    assert.equal(served.length, 7); // the first was the eighth
    assert.ok(served.every((r) => r.how === 'hit' && r.text === all
      .find((x) => x.status === 200).text));
    assert.ok(all.every((r) => r.status === 200 || r.status === 429));
    assert.equal(rig.up.requests.length, 1);
    await noneHeld(rig, 'key', key.id);
    await rig.gate.must(['ledger', 'verify']);
  });

  test('one with a hard budget joins nobody, others pay what they joined',
    async () => {
      const hard = await rig.key_('--budget', '$1/total');
      const soft = await rig.key_('--budget', '$1/total', '--soft');
      for (const [key, calls] of [[hard, 3], [soft, 1]]) {
        const body = fresh();
        const scripts = [];
        const n0 = rig.up.requests.length;
        const script = rig.up.script({ gateAfter: 'head', times: 3 });
        scripts.push(script);
        const all = [post(rig, key, body)];
        await script.reached;
        all.push(post(rig, key, body), post(rig, key, body));
        await until('three run', async () =>
          await metric(rig, 'in_flight') >= 4 - 1 &&
          rig.up.requests.length === n0 + calls);
        script.open();
        const replies = await Promise.all(all);
        const costs = [];
        for (const r of replies) {
          assert.equal(r.status, 200);
          costs.push((await rowOf(rig, r.id)).cost_usd);
        }
        assert.equal(rig.up.requests.length, n0 + calls);
        assert.ok(amountOf(costs[0]) > 0);
        assert.deepEqual(costs, [costs[0], costs[0], costs[0]]);
      }
    });

  test('a reload changes the rule, and says what needs a restart', async () => {
    const key = await rig.key_();
    const body = fresh();
    await post(rig, key, body);
    const config = rig.gate.config;
    try {
      rig.gate.writeConfig({ ...config, cache: { ...CACHE, charge: 'none' } });
      assert.equal((await rig.gate.reload()).code, 0);
      const r = await until('the new rule', async () => {
        const got = await post(rig, key, body);
        return got.headers.get('x-tollgate-cost-usd') === '0.000000000' && got;
      });
      assert.equal((await rowOf(rig, r.id)).cost_usd, '0.000000000');
      rig.gate.writeConfig({ ...config, cache: {
        responses: { enabled: false, size: '32MiB' }, charge: 'full' } });
      const { stdout, stderr, json } = await rig.gate.reload();
      const text = stdout + stderr + JSON.stringify(json ?? '');
      assert.match(text, /cache\.responses\.enabled holds only after/);
      assert.match(text, /cache\.responses\.size holds only after/);
      assert.equal((await post(rig, key, body)).how, 'hit');
    } finally {
      rig.gate.writeConfig(config);
      await rig.gate.reload();
    }
  });
});

describe('a reply whose time is over', GATE_ONLY, () => {
  let rig;

  before(async () => {
    rig = keys(await startPriced(PRICES, { config: (up) => ({
      upstreams: upstreams(up), cache: { responses: { ...CACHE.responses,
        ttl: '1s', stale_if_error: '1h' } },
      routes: [{ model: 'demo', targets: [{ upstream: 'up' }] },
        { model: 'long', targets: [{ upstream: 'up', model: 'demo' }],
          cache_ttl: '1h' },
        { model: 'no', targets: [{ upstream: 'up', model: 'demo' }],
          cache: 'never' },
        { model: 'all', targets: [{ upstream: 'up', model: 'demo' }],
          cache: 'always' }] }) }));
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  /** Until a stored reply of a second is old. */
  const grow = () => {
    const end = performance.now() + 1100;
    return until('a second went by', () => performance.now() > end);
  };

  for (const stream of [false, true])
    test(`stands in for an error, whose call is paid, stream ${stream}`,
      async () => {
        const key = await rig.key_();
        const body = fresh({ stream });
        const first = await post(rig, key, body);
        await grow();
        rig.up.script({ fault: 'http500' });
        const saved = await post(rig, key, body);
        assert.deepEqual([saved.status, saved.how, saved.text],
          [200, 'hit', first.text]);
        assert.match(saved.headers.get('age'), /^[1-9]$/);
        const paid = await rowOf(rig, first.id);
        const row = await rowOf(rig, saved.id);
        assert.deepEqual([row.cache, row.status, row.attempts, row.cost_usd,
          row.saved_usd, row.legs.length],
        ['hit', 200, 1, '0.000000000', paid.cost_usd, 1]);
        const renewed = await post(rig, key, body);
        assert.equal(renewed.how, 'miss');
        await rig.gate.must(['ledger', 'verify']);
      });

  test('is renewed beside, by a request that is paid', async () => {
    const config = rig.gate.config;
    rig.gate.writeConfig({ ...config, cache: { responses: {
      ...CACHE.responses, ttl: '1s', stale_while_revalidate: '1h' } } });
    assert.equal((await rig.gate.reload()).code, 0);
    const key = await rig.key_();
    const body = fresh();
    const first = await post(rig, key, body);
    await grow();
    const stale = await post(rig, key, body);
    assert.deepEqual([stale.how, stale.text], ['hit', first.text]);
    const [sum] = await rig.gate.usageOf(3, '--key', key.id);
    assert.deepEqual([sum.cache_hits, sum.cache_misses], [1, 2]);
    const paid = await rowOf(rig, first.id);
    assert.equal(amountOf(sum.cost_usd), 2 * amountOf(paid.cost_usd));
    const anew = await post(rig, key, body);
    assert.equal(anew.how, 'hit');
    assert.notEqual(anew.text, first.text); // the provider numbers its replies
    assert.equal(rig.up.requests.length, 2);
    rig.gate.writeConfig(config);
    await rig.gate.reload();
  });

  test('has the time, and the rule, of its route', async () => {
    const key = await rig.key_();
    const bodies = ['long', 'no', 'all'].map((model) => ({ ...fresh(), model }));
    const sampled = { ...fresh({ temperature: 1 }), model: 'all' };
    for (const b of [...bodies, sampled]) await post(rig, key, b);
    assert.equal((await post(rig, key, sampled)).how, 'hit');
    await grow();
    const how = [];
    for (const b of bodies) how.push((await post(rig, key, b)).how);
    assert.deepEqual(how, ['hit', 'bypass', 'miss']);
  });
});

describe('the official clients see whence a reply came', GATE_ONLY, () => {
  let rig;

  before(async () => {
    rig = keys(await startPriced(PRICES, { config: (up) => ({
      upstreams: upstreams(up), cache: CACHE }) }));
  });
  after(() => rig?.close());

  test('and get the same object', async () => {
    const client = openaiFor(rig);
    const body = fresh();
    const first = await client.chat.completions.create(body).withResponse();
    const again = await client.chat.completions.create(body).withResponse();
    assert.equal(again.response.headers.get('x-tollgate-cache'), 'hit');
    assert.deepEqual({ ...again.data, _request_id: 0 },
      { ...first.data, _request_id: 0 });
    const streamed = { ...fresh(), stream: true };
    const a = await collect(await client.chat.completions.create(streamed));
    const b = await collect(await client.chat.completions.create(streamed));
    assert.deepEqual(a, b);
  });
});
