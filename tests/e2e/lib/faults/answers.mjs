// Rows of the table of faults: answers that are broken, and streams that end
// before they should.

import { Plan, jsonEvent } from '../provider/http.mjs';

const BY_B = { ok: true, status: 200, billed: 'E', from: 'b' };

const BAD = { status: 502, code: 'upstream_bad_response', hits: [1, 0],
  attempts: 1, billed: 'H', legs: '',
  headers: { 'x-should-retry': /^true$/ } };

const CUT = { status: 200, event: 'upstream_incomplete', hits: [1, 0],
  attempts: 1, billed: 'C', legs: '' };

const WHOLE = { shape: 'two', streams: [false] };
const STREAM = { shape: 'two', streams: [true] };

const instead = (text, type) => ({
  edit: () => Plan.bytes(text, type, 200) });

const HALF = '{"id":"x","object":"chat.completion","choices":[';

export const BODIES = [
  { id: 'body-reset', fault: 'the connection is lost within a body',
    ...WHOLE, a: { fault: 'reset', body: 40 }, want: BAD },
  { id: 'body-short', fault: 'a body ends before its length', ...WHOLE,
    a: { fault: 'short_length' }, want: { ...BAD, billed: 'E' } },
  { id: 'body-chunk', fault: 'a chunk is malformed', ...WHOLE,
    a: { fault: 'bad_chunk' }, want: BAD },
  { id: 'body-half', fault: 'a body is no whole JSON', ...WHOLE,
    a: instead(HALF, 'application/json'), want: BAD },
  { id: 'body-html', fault: 'a page of HTML comes with status 200', ...WHOLE,
    a: instead('<html>hello</html>', 'text/html'), want: BAD },
  { id: 'body-no-http', fault: 'what comes is no HTTP', shape: 'two',
    a: { fault: 'garbage' }, want: BAD },
  { id: 'body-ambiguous', fault: 'a broken body, with retry_ambiguous',
    shape: 'amb2', streams: [false], a: { fault: 'short_length' },
    want: { ...BY_B, hits: [1, 1], attempts: 2, legs: 'E' } },
];

/** A stream that is an error and nothing else. */
const onlyError = (error) => ({ fault: 'error_only', edit: (plan) =>
  Object.assign(plan, { events: [jsonEvent({ error })] }) });

const OVERLOADED = { type: 'overloaded_error', code: null, param: null,
  message: 'Overloaded' };
const LIMITED = { type: 'requests', code: 'rate_limit_exceeded', param: null,
  message: 'Rate limit reached' };

export const STREAMS = [
  { id: 'stream-reset', fault: 'the connection is lost within a stream',
    ...STREAM, a: { fault: 'cut_events', after: 4, how: 'reset' }, want: CUT },
  { id: 'stream-chunk', fault: 'a stream is closed within its framing',
    ...STREAM, a: { fault: 'cut_events', after: 4, how: 'fin' }, want: CUT },
  { id: 'stream-unfinished', fault: 'a stream ends without its terminator',
    ...STREAM, a: { fault: 'cut_events', after: 4, how: 'clean' }, want: CUT },
  { id: 'stream-closed', ...STREAM, a: { fault: 'close_truncated', after: 4 },
    fault: 'a stream that ends with its connection ends too early',
    want: CUT },
  { id: 'stream-cut-ambiguous', shape: 'amb2', streams: [true],
    a: { fault: 'cut_events', after: 4, how: 'reset' },
    fault: 'the connection is lost within a stream, with retry_ambiguous',
    want: CUT },
  { id: 'stream-malformed', fault: 'an event of a stream is no JSON',
    ...STREAM, a: { fault: 'malformed' },
    want: { ok: true, status: 200, hits: [1, 0], attempts: 1,
      billed: ['E', 'C'] } },
  { id: 'stream-oversize', fault: 'a line of a stream is longer than 1 MiB',
    ...STREAM, a: { fault: 'oversize_data' },
    want: { ...CUT, event: 'upstream_bad_response' } },
  { id: 'stream-error', fault: 'an error comes within a stream', ...STREAM,
    a: { fault: 'error_event' },
    want: { ...CUT, event: 'server_error' } },
  { id: 'stream-overloaded', streams: [true], shape: 'one',
    a: onlyError(OVERLOADED),
    fault: 'a stream begins with the error that the provider is overloaded',
    want: { status: 200, event: 'overloaded_error', hits: [3, 0],
      attempts: 3, billed: 'Z', legs: '' } },
  { id: 'stream-overloaded-next', ...STREAM, a: onlyError(OVERLOADED),
    fault: 'the same; another target stands by',
    want: { ...BY_B, hits: [2, 1], attempts: 3, legs: '' } },
  { id: 'stream-limited-next', ...STREAM, a: onlyError(LIMITED),
    fault: 'a stream begins with the error that a limit is reached; ' +
      'another target stands by',
    want: { ...BY_B, hits: [1, 1], attempts: 2, legs: '' } },
];
