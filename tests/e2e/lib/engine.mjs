// A daemon that answers from its own engine, with one key.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

import { CONTEXT, writeModel } from './gguf.mjs';
import { Rig } from './rig.mjs';
import { killStrays, startTollgate } from './tollgate.mjs';
import { until } from './until.mjs';

export { CONTEXT };

const TOP = fileURLToPath(new URL('../../..', import.meta.url));
const DATA = process.env.TOLLGATE_TEST_DATA ?? path.join(TOP, '../shared/data');

/** A real trained model, where the test data is. */
export const STORIES = path.join(DATA, 'models/stories260K.gguf');
export const HAVE_STORIES = {
  skip: !fs.existsSync(STORIES) && `${STORIES} is not here`,
};

/** Where models run that do not say where: E2E_DEVICE, cuda:0 for example. */
export const DEVICE = process.env.E2E_DEVICE && { device: process.env.E2E_DEVICE };
/** What tests say of bits holds on a GPU where it is asked for. */
const EXACT = process.env.E2E_DEVICE && { deterministic: true };

after(killStrays);

let dir;

/** The file of the model that tests make themselves. */
export function tinyModel(options) {
  dir ??= fs.mkdtempSync(path.join(os.tmpdir(), 'tg-model-'));
  const name = `tiny-${options ? JSON.stringify(options).length : 0}.gguf`;
  const file = path.join(dir, name);
  if (!fs.existsSync(file)) writeModel(file, options);
  return file;
}

after(() => dir && fs.rmSync(dir, { recursive: true, force: true }));

class EngineRig extends Rig {
  async close() {
    try {
      await this.gate.stop();
    } finally {
      this.gate.remove();
    }
  }

  /** One number of /metrics; labels as they are written there. */
  async metric(name, labels = '') {
    const r = await fetch(`${this.origin}/metrics`);
    const text = await r.text();
    const line = text.split('\n').find((l) =>
      l.startsWith(`tollgate_${name}${labels ? `{${labels}` : ' '}`));
    return line === undefined ? undefined : Number(line.split(' ').pop());
  }

  /** Waits until nothing runs or waits in the engine. */
  idle(model = 'demo') {
    return until('the engine is idle', async () =>
      (await this.metric('engine_batch', `model="${model}"`)) === 0 &&
      (await this.metric('engine_queue', `model="${model}"`)) === 0);
  }
}

/** Options: model (fields of its entry), engine, config, file, env. */
export async function startEngine({ model = {}, engine = {}, config = {},
  file, env } = {}) {
  const gate = await startTollgate({
    engine: {
      models: [{ name: 'demo', path: file ?? tinyModel(), ...DEVICE,
        ...model }],
      ...EXACT,
      ...engine,
    },
    ...config,
  }, env ? { env } : undefined);
  try {
    const rig = new EngineRig({}, gate, await gate.createKey('e2e'));
    await until('the model is loaded', async () =>
      (await fetch(`${gate.origin}/readyz`)).status === 200);
    return rig;
  } catch (e) {
    await gate.kill9();
    gate.remove();
    throw e;
  }
}
