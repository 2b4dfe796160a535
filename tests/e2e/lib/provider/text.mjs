// What the scripted provider says and how it counts: words, tokens, sample
// values for JSON schemas, multipart bodies.  Everything is a pure function
// of its input, so that a test can compute what it must receive.

import { createHash } from 'node:crypto';

export const sha256 = (bytes) =>
  createHash('sha256').update(bytes).digest('hex');

/** Tokens of a text: its words.  Crude, but exact and the same everywhere. */
export function countTokens(text) {
  const m = String(text).match(/\S+/g);
  return m ? m.length : 0;
}

/** Splits a text into the pieces a model would stream: a word and its space. */
export const pieces = (text) => String(text).match(/\s*\S+\s*$|\s*\S+/g) ?? [];

/** Plain text of a chat message's or a Messages block's content. */
export function contentText(content) {
  if (content === null || content === undefined) return '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((p) => (typeof p === 'string' ? p : (p.text ?? p.output ?? '')))
    .filter((t) => typeof t === 'string')
    .join(' ');
}

/** Describes the parts of a message that are not text, for the reply. */
export function describeParts(content) {
  if (!Array.isArray(content)) return [];
  const seen = [];
  for (const p of content) {
    const url =
      p.image_url?.url ??
      (typeof p.image_url === 'string' ? p.image_url : undefined) ??
      p.source?.data ??
      p.source?.url ??
      p.input_audio?.data ??
      p.file?.file_data;
    if (url === undefined) continue;
    const m = /^data:([^;,]+);base64,(.*)$/s.exec(url);
    const kind = p.type.replace(/^input_/, '');
    if (m) {
      const bytes = Buffer.from(m[2], 'base64');
      seen.push(`${kind} ${m[1]} ${bytes.length} bytes ${sha256(bytes)}`);
    } else if (/^https?:/.test(url)) {
      seen.push(`${kind} ${url}`);
    } else {
      const bytes = Buffer.from(url, 'base64');
      seen.push(`${kind} ${bytes.length} bytes ${sha256(bytes)}`);
    }
  }
  return seen;
}

/** The sentence the demo model answers with. */
export function answerTo(text, parts = []) {
  if (parts.length > 0) return `I see ${parts.join(' and ')}.`;
  const said = text.trim();
  if (/^say /i.test(said)) return said.slice(4);
  const n = /^count to (\d+)/i.exec(said);
  if (n) {
    const k = Math.min(Number(n[1]), 100000);
    return Array.from({ length: k }, (_, i) => String(i + 1)).join(' ');
  }
  if (said === '') return 'Hello! Ask me anything.';
  return `You said: ${said}`;
}

/** Applies max tokens and stop strings; tells how the text ended. */
export function limitText(text, { max, stop } = {}) {
  let out = text;
  let finish = 'stop';
  const stops = stop === undefined || stop === null ? [] : [stop].flat();
  for (const s of stops) {
    const at = out.indexOf(s);
    if (at >= 0) out = out.slice(0, at);
  }
  const ps = pieces(out);
  if (Number.isInteger(max) && ps.length > max) {
    out = ps.slice(0, max).join('');
    finish = 'length';
  }
  return { text: out, finish };
}

/** A value that satisfies a JSON schema (the subset strict mode allows). */
export function sampleOf(schema, root = schema) {
  if (schema === true || schema === undefined || schema === null) return null;
  if (schema.$ref) {
    const path = schema.$ref.replace(/^#\/?/, '').split('/').filter(Boolean);
    return sampleOf(
      path.reduce((s, k) => s?.[k], root),
      root,
    );
  }
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  const alt = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (Array.isArray(alt)) return sampleOf(alt[0], root);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type) {
    case 'object': {
      const o = {};
      for (const [k, v] of Object.entries(schema.properties ?? {}))
        o[k] = sampleOf(v, root);
      return o;
    }
    case 'array': {
      const n = Math.max(schema.minItems ?? 1, 1);
      return Array.from({ length: n }, () => sampleOf(schema.items, root));
    }
    case 'integer':
      return Math.ceil(schema.minimum ?? 7);
    case 'number':
      return schema.minimum ?? 1.5;
    case 'boolean':
      return true;
    case 'string':
      return schema.format === 'date-time' ? '2026-01-02T03:04:05Z' : 'sample';
    default:
      return null;
  }
}

/** An embedding: unit-less, deterministic, exactly representable in float32. */
export function embeddingOf(input, dimensions = 8) {
  const h = createHash('sha256').update(JSON.stringify(input)).digest();
  return Array.from({ length: dimensions }, (_, i) => {
    const v = h[i % h.length] ^ (i >> 5);
    return Math.fround((v - 128) / 256);
  });
}

/** Base64 of little-endian float32, as the API encodes embeddings. */
export function floatsToBase64(values) {
  const b = Buffer.alloc(values.length * 4);
  values.forEach((v, i) => b.writeFloatLE(v, i * 4));
  return b.toString('base64');
}

/**
 * Parts of a multipart/form-data body: [{name, filename, type, data}].
 * Throws on a body that is not what its content-type announces.
 */
export function parseMultipart(contentType, body) {
  const m = /boundary=(?:"([^"]+)"|([^;]+))/i.exec(contentType ?? '');
  if (!m) throw new Error('multipart without boundary');
  const mark = Buffer.from(`--${m[1] ?? m[2].trim()}`);
  const parts = [];
  let at = body.indexOf(mark);
  if (at < 0) throw new Error('multipart boundary not found');
  for (;;) {
    at += mark.length;
    if (body.subarray(at, at + 2).toString('latin1') === '--') return parts;
    const headEnd = body.indexOf('\r\n\r\n', at);
    const next = body.indexOf(Buffer.concat([Buffer.from('\r\n'), mark]), at);
    if (headEnd < 0 || next < 0) throw new Error('multipart cut short');
    const head = body.subarray(at + 2, headEnd).toString('utf8');
    const field = (re) => re.exec(head)?.[1];
    parts.push({
      name: field(/name="([^"]*)"/i),
      filename: field(/filename="([^"]*)"/i),
      type: field(/^content-type:\s*(.*)$/im)?.trim(),
      data: body.subarray(headEnd + 4, next),
    });
    at = next + 2;
  }
}

/** A stream of deterministic bytes, in blocks, for large transfers. */
export function* patternBlocks(total, block = 65536) {
  const base = Buffer.alloc(block);
  for (let i = 0; i < block; i++) base[i] = (i * 131 + (i >> 8) * 7) & 255;
  for (let left = total; left > 0; left -= block)
    yield left >= block ? base : base.subarray(0, left);
}

/** A PNG of one pixel, for image routes. */
export const PIXEL_PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA' +
    'hKmMIQAAAABJRU5ErkJggg==',
  'base64',
);
