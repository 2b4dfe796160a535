// What a silent stream gets, and that it disturbs nobody.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ask, collect, openaiFor, textOf } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

/** A rig whose streams are kept alive this way. */
async function withMode(mode, f) {
  const rig = await startRig({
    config: { keepalive: { mode, interval: '100ms' } } });
  try {
    await f(rig);
  } finally {
    await rig.close();
  }
}

const streamOf = (rig, path = '/v1/chat/completions', body = ask('count to 4',
  { stream: true })) => requestBytes('POST', path,
  [['Authorization', `Bearer ${rig.key}`]], JSON.stringify(body));

/** The text of a stream that paused after its 3rd event for a while. */
async function pausedStream(rig, enough, ...request) {
  const script = rig.up.script({ gateAfter: 3 });
  const c = await RawClient.connect(rig.address);
  await c.send(streamOf(rig, ...request));
  await script.reached;
  await enough(c);
  script.open();
  const r = await c.readReply();
  c.destroy();
  return r.text;
}

const bytesHeld = (c) => Buffer.concat(c.reader.chunks).toString();

describe('keep-alive of silent streams', GATE_ONLY, () => {
  test('comment: ": ping" and ONE newline, between events only', () =>
    withMode('comment', async (rig) => {
      const text = await pausedStream(rig, (c) => until('two pings', () =>
        bytesHeld(c).split(': ping\n').length > 2));
      assert.ok(text.split(': ping\n').length >= 3);
      assert.doesNotMatch(text, /: ping\n\n/);
      const rest = text.replaceAll(': ping\n', '');
      for (const e of rest.split('\n\n').filter(Boolean))
        assert.match(e, /^data: (\{.*\}|\[DONE\])$/);
      assert.match(rest, /data: \[DONE\]\n\n$/);
    }));

  test('comment: every client reads the stream as if nothing were', () =>
    withMode('comment', async (rig) => {
      const script = rig.up.script({ gateAfter: 3 });
      const s = await openaiFor(rig).chat.completions.create(
        ask('count to 4', { stream: true }));
      await script.reached;
      const pings = async () => Number(/^tollgate_keepalive_pings_total (\d+)/m
        .exec(await (await fetch(`${rig.origin}/metrics`)).text())?.[1] ?? 0);
      await until('pings', async () => (await pings()) >= 2);
      script.open();
      const chunks = await collect(s);
      assert.equal(textOf(chunks), '1 2 3 4');
      assert.equal(chunks.length, 6);
    }));

  test('chunk: an empty chunk in the shape of the stream', () =>
    withMode('chunk', async (rig) => {
      const text = await pausedStream(rig, (c) => until('chunks', () =>
        (bytesHeld(c).match(/"delta":\{\}/g) ?? []).length >= 2));
      const chunks = text.split('\n\n').filter((e) => e.startsWith('data: {'))
        .map((e) => JSON.parse(e.slice(6)));
      assert.ok(chunks.every((c) => c.object === 'chat.completion.chunk'));
      assert.ok(chunks.every((c) => c.id === chunks[0].id));
      assert.equal(textOf(chunks), '1 2 3 4');
    }));

  test('off: nothing is added', () =>
    withMode('off', async (rig) => {
      const text = await pausedStream(rig, async (c) => {
        const other = await startRig({
          config: { keepalive: { mode: 'comment', interval: '100ms' } } });
        await pausedStream(other, (d) => until('a ping there', () =>
          bytesHeld(d).includes(': ping\n')));
        await other.close();
        assert.doesNotMatch(bytesHeld(c), /ping/);
      });
      assert.doesNotMatch(text, /ping/);
      assert.equal(text.match(/data: /g).length, 7);
    }));

  test('a reply that is no stream gets none', () =>
    withMode('comment', async (rig) => {
      const script = rig.up.script({ gateAfter: 'head' });
      const c = await RawClient.connect(rig.address);
      await c.send(streamOf(rig, undefined, ask('say ok')));
      await script.reached;
      script.open();
      const r = await c.readReply();
      assert.equal(r.json.choices[0].message.content, 'ok');
      c.destroy();
    }));
});
