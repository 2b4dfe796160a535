// Codex CLI, offline, over the Responses API.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { runProgram } from './lib/tollgate.mjs';

const BIN = fileURLToPath(
  new URL('./node_modules/@openai/codex/bin/codex.js', import.meta.url));

/** Why Codex cannot be tested here; false when it can. */
function obstacle() {
  if (!fs.existsSync(BIN)) return 'Codex CLI is not installed';
  const r = spawnSync(process.execPath, [BIN, '--version']);
  return r.status !== 0 && `Codex CLI does not run here: ${r.stderr}`;
}

const skip = obstacle();
let rig;
let home;
before(async () => {
  if (skip) return;
  rig = await startRig();
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-codex-'));
  fs.writeFileSync(path.join(home, 'config.toml'), `
model = "demo"
model_provider = "tg"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.tg]
name = "tg"
base_url = "${rig.baseUrl}"
env_key = "TG_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`);
});
after(async () => {
  await rig?.close();
  if (home) fs.rmSync(home, { recursive: true, force: true });
});

const codex = (prompt, env = {}, more = []) =>
  runProgram(process.execPath, [BIN, 'exec', '--skip-git-repo-check',
    '--sandbox', 'read-only', '--json', ...more, prompt], {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home, CODEX_HOME: home,
      TG_KEY: rig.key, ...env },
  });

describe('codex', { skip }, () => {
  test('one turn prints the answer', async () => {
    const r = await codex('say hello from the provider');
    assert.equal(r.code, 0, r.stderr);
    const items = r.stdout.split('\n').filter((l) => l.startsWith('{'))
      .map((l) => JSON.parse(l));
    const text = items.map((i) => i.item?.text ?? '').join('');
    assert.match(text, /hello from the provider/);
    const req = rig.up.requests.find((q) => q.path.endsWith('/responses'));
    assert.equal(req.method, 'POST');
    assert.equal(req.json.stream, true);
    assert.equal(req.header('accept-encoding') ?? 'identity', 'identity');
  });

  test('a key with a hard budget: without the provider\'s search', GATE_ONLY,
    async () => {
      const key = await rig.gate.createKey('frugal', '--budget',
        '1G-tokens/day');
      const bad = await codex('say ok', { TG_KEY: key.key });
      assert.notEqual(bad.code, 0);
      assert.match(bad.stdout + bad.stderr, /tools\[\d+\].*web_search/);
      const good = await codex('say ok', { TG_KEY: key.key },
        ['-c', 'web_search="disabled"']);
      assert.equal(good.code, 0, good.stderr);
    });

  test('a wrong key is told to the user', GATE_ONLY, async () => {
    const r = await codex('say x', { TG_KEY: 'sk-tg-wrong' });
    assert.notEqual(r.code, 0);
    assert.match(r.stdout + r.stderr, /401|invalid_api_key|Unauthorized/i);
  });
});
