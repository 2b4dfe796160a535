// The official openai client, pointed at a rig.

import OpenAI from 'openai';

export { OpenAI };

/** A client without retries, unless told otherwise. */
export const openaiFor = (rig, options = {}) =>
  new OpenAI({
    baseURL: rig.baseUrl, apiKey: rig.key, maxRetries: 0, timeout: 60000,
    logLevel: 'off',
    ...options,
  });

export const ask = (content, more = {}) => ({
  model: 'demo', messages: [{ role: 'user', content }], ...more,
});

/** All chunks of a stream. */
export async function collect(stream) {
  const all = [];
  for await (const x of stream) all.push(x);
  return all;
}

export const textOf = (chunks, index = 0) =>
  chunks.flatMap((c) => c.choices ?? [])
    .filter((c) => c.index === index)
    .map((c) => c.delta.content ?? '').join('');
