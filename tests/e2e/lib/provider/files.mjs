// Routes of the scripted provider that store or move bytes: files, uploads,
// audio, images, batches, vector stores.

import { Plan, jsonEvent } from './http.mjs';
import { CREATED, openaiError } from './openai.mjs';
import { PIXEL_PNG, countTokens, parseMultipart, patternBlocks, sha256 }
  from './text.mjs';

const fileObject = (f) => ({
  id: f.id,
  object: 'file',
  bytes: f.bytes,
  created_at: CREATED,
  filename: f.filename,
  purpose: f.purpose,
  status: 'processed',
});

/** Fields and files of a multipart request; throws on a malformed one. */
function formOf(rec) {
  const parts = parseMultipart(rec.header('content-type'), rec.body);
  const field = (name) =>
    parts.find((x) => x.name === name && x.filename === undefined)
      ?.data.toString('utf8');
  const file = (name) =>
    parts.find((x) => x.name === name && x.filename !== undefined);
  return { parts, field, file };
}

const withForm = (handler) => (p, rec, ...rest) => {
  let form;
  try {
    form = formOf(rec);
  } catch (e) {
    return openaiError(400, `Could not parse multipart form: ${e.message}`);
  }
  return handler(p, rec, form, ...rest);
};

const uploadFile = withForm((p, rec, form) => {
  const file = form.file('file');
  if (!file)
    return openaiError(400, "'file' is a required property", { param: 'file' });
  const f = {
    id: p.nextId('file'),
    bytes: file.data.length,
    data: Buffer.from(file.data),
    filename: file.filename,
    purpose: form.field('purpose') ?? 'assistants',
  };
  p.files.set(f.id, f);
  return Plan.json(fileObject(f));
});

/** A large download: /files/file-pattern-<bytes>/content. */
function patternContent(bytes) {
  return new Plan({
    headers: [['Content-Type', 'application/octet-stream']],
    blocks: patternBlocks(bytes),
    blockBytes: bytes,
  });
}

/** /files, /files/{id}, /files/{id}/content */
export function files(p, rec, id, sub) {
  if (id === undefined) {
    if (rec.method === 'POST') return uploadFile(p, rec);
    return Plan.json(p.page([...p.files.values()].map(fileObject)));
  }
  const pattern = /^file-pattern-(\d+)$/.exec(id);
  if (pattern && sub === 'content') return patternContent(Number(pattern[1]));
  const f = p.files.get(id);
  if (!f) return openaiError(404, `No such File object: ${id}`, { param: 'id' });
  if (sub === 'content')
    return Plan.bytes(f.data, 'application/octet-stream', 200, [
      ['Content-Disposition', `attachment; filename="${f.filename}"`],
    ]);
  if (rec.method === 'DELETE') {
    p.files.delete(id);
    return Plan.json({ id, object: 'file', deleted: true });
  }
  return Plan.json(fileObject(f));
}

/** /uploads, /uploads/{id}/parts, /complete, /cancel */
export function uploads(p, rec, id, sub) {
  if (id === undefined) {
    const u = {
      id: p.nextId('upload'), object: 'upload', status: 'pending',
      created_at: CREATED, expires_at: CREATED + 3600, file: null,
      bytes: rec.json?.bytes ?? 0, filename: rec.json?.filename ?? 'x',
      purpose: rec.json?.purpose ?? 'assistants', parts: new Map(),
    };
    p.uploads.set(u.id, u);
    return Plan.json(uploadObject(u));
  }
  const u = p.uploads.get(id);
  if (!u) return openaiError(404, `No such Upload object: ${id}`);
  if (sub === 'parts') return addPart(p, rec, u);
  if (sub === 'cancel') u.status = 'cancelled';
  if (sub === 'complete') completeUpload(p, rec, u);
  return Plan.json(uploadObject(u));
}

const uploadObject = ({ parts, ...u }) => u;

const addPart = withForm((p, rec, form, u) => {
  const data = form.file('data')?.data ?? Buffer.alloc(0);
  const id = p.nextId('part');
  u.parts.set(id, Buffer.from(data));
  return Plan.json({
    id, object: 'upload.part', created_at: CREATED, upload_id: u.id,
  });
});

function completeUpload(p, rec, u) {
  const ids = rec.json?.part_ids ?? [];
  const data = Buffer.concat(ids.map((k) => u.parts.get(k) ?? Buffer.alloc(0)));
  const f = {
    id: p.nextId('file'), bytes: data.length, data,
    filename: u.filename, purpose: u.purpose,
  };
  p.files.set(f.id, f);
  u.status = 'completed';
  u.file = fileObject(f);
}

/** Bytes that stand for spoken text: every value occurs. */
export function speechBytes(text) {
  const b = Buffer.alloc(4096);
  for (let i = 0; i < b.length; i++) b[i] = (i * 7 + text.length) & 255;
  return b;
}

function speech(p, rec) {
  const req = rec.json ?? {};
  const data = speechBytes(req.input ?? '');
  rec.cost.input = countTokens(req.input ?? '');
  if (req.stream_format !== 'sse')
    return new Plan({
      framing: 'chunked',
      headers: [['Content-Type', 'audio/mpeg']],
      blocks: [data.subarray(0, 1000), data.subarray(1000)],
    });
  const events = [0, 1024, 2048, 3072].map((i) =>
    jsonEvent({
      type: 'speech.audio.delta',
      audio: data.subarray(i, i + 1024).toString('base64'),
    }),
  );
  const usage = {
    input_tokens: rec.cost.input, output_tokens: 4,
    total_tokens: rec.cost.input + 4,
  };
  events.push({
    ...jsonEvent({ type: 'speech.audio.done', usage }), done: true, tokens: 4,
  });
  return Plan.events(events);
}

const transcribe = withForm((p, rec, form, translate) => {
  const file = form.file('file');
  if (!file) return openaiError(400, "'file' is required", { param: 'file' });
  const verb = translate ? 'Translated' : 'Heard';
  const text =
    `${verb} ${file.data.length} bytes of ${file.filename} ` +
    sha256(file.data);
  const usage = {
    type: 'tokens', input_tokens: 10, output_tokens: countTokens(text),
    total_tokens: 10 + countTokens(text),
    input_token_details: { text_tokens: 0, audio_tokens: 10 },
  };
  rec.cost.input = 10;
  if (form.field('stream') === 'true') {
    const events = text.split(' ').map((w) => ({
      ...jsonEvent({ type: 'transcript.text.delta', delta: `${w} ` }),
      tokens: 1,
    }));
    events.push({
      ...jsonEvent({ type: 'transcript.text.done', text, usage }), done: true,
    });
    return Plan.events(events);
  }
  const format = form.field('response_format') ?? 'json';
  if (format === 'text') return Plan.bytes(`${text}\n`, 'text/plain');
  if (format === 'verbose_json')
    return Plan.json({ task: 'transcribe', duration: 1, text, language: 'en' });
  return Plan.json({ text, usage });
});

/** /audio/{speech,transcriptions,translations} */
export function audio(p, rec, op) {
  if (op === 'speech') return speech(p, rec);
  if (op === 'transcriptions') return transcribe(p, rec, false);
  if (op === 'translations') return transcribe(p, rec, true);
  return undefined;
}

const imageUsage = (prompt) => ({
  input_tokens: countTokens(prompt),
  output_tokens: 272,
  total_tokens: countTokens(prompt) + 272,
  input_tokens_details: { text_tokens: countTokens(prompt), image_tokens: 0 },
});

function imageReply(rec, prompt, n, stream, kind) {
  const b64 = PIXEL_PNG.toString('base64');
  const usage = imageUsage(prompt);
  rec.cost.input = usage.input_tokens;
  if (!stream) {
    const plan = Plan.json({
      created: CREATED,
      data: Array.from({ length: n }, () => ({ b64_json: b64 })),
      usage,
    });
    plan.tokens = 272;
    return plan;
  }
  const common = {
    b64_json: b64, created_at: CREATED, size: '1024x1024', quality: 'high',
    background: 'opaque', output_format: 'png',
  };
  const t = `image_${kind}`;
  return Plan.events([
    jsonEvent(
      { type: `${t}.partial_image`, partial_image_index: 0, ...common },
      `${t}.partial_image`,
    ),
    {
      ...jsonEvent({ type: `${t}.completed`, usage, ...common }, `${t}.completed`),
      done: true,
      tokens: 272,
    },
  ]);
}

const editImage = withForm((p, rec, form) => {
  const image = form.file('image') ?? form.file('image[]');
  if (!image) return openaiError(400, "'image' is required", { param: 'image' });
  rec.imageHash = sha256(image.data);
  return imageReply(
    rec, form.field('prompt') ?? '', Number(form.field('n') ?? 1),
    form.field('stream') === 'true', 'edit',
  );
});

function editJson(rec) {
  const req = rec.json ?? {};
  return imageReply(rec, req.prompt ?? '', req.n ?? 1, req.stream, 'edit');
}

/** /images/{generations,edits,variations} */
export function images(p, rec, op) {
  if (op === 'generations') {
    const r = rec.json ?? {};
    return imageReply(rec, r.prompt ?? '', r.n ?? 1, r.stream, 'generation');
  }
  if (op !== 'edits' && op !== 'variations') return undefined;
  return rec.json ? editJson(rec) : editImage(p, rec);
}

/** A collection of plain JSON objects: create, get, list, delete, verbs. */
export function collection(name, object, statusOf = {}) {
  return (p, rec, id, sub, subId) => {
    const all = p.collection(name);
    if (id === undefined) {
      if (rec.method !== 'POST') return Plan.json(p.page([...all.values()]));
      const o = {
        id: p.nextId(name.replace(/s$/, '')), object, created_at: CREATED,
        ...rec.json, status: 'completed',
      };
      all.set(o.id, o);
      return Plan.json(o);
    }
    const o = all.get(id);
    if (!o) return openaiError(404, `No ${object} with id '${id}'.`);
    if (sub in statusOf) return Plan.json(Object.assign(o, statusOf[sub]));
    if (sub !== undefined)
      return collection(`${name}.${sub}`, `${object}.${sub.replace(/s$/, '')}`)(
        p, rec, subId,
      );
    if (rec.method === 'DELETE') {
      all.delete(id);
      return Plan.json({ id, object: `${object}.deleted`, deleted: true });
    }
    if (rec.method === 'POST') Object.assign(o, rec.json);
    return Plan.json(o);
  };
}
