// Rows of the table of faults that do not hold yet.

export const PENDING = new Set([
  'refused', 'refused-next', 'refused-fallback', 'unknown-host-next',
  'tls-name-next', 'tls-cut', 'tls-silent', 'tls-silent-next',
  'reset-ambiguous', 'reset-ambiguous-same', 'reset-ambiguous-again',
  'stale-race-ambiguous', 'silent-ambiguous', 'body-ambiguous',
  'stream-overloaded', 'stream-overloaded-next', 'stream-limited-next',
  'limit-soon', 'limit-unsaid', 'limit-reset', 'limit-next', 'limit-all',
  'limit-key', 'spent-insuffic', 'spent-insuffic-next', 'spent-enforced',
  'spent-enforced-next', 'fails-500', 'fails-500-once', 'fails-500-next',
  'fails-502', 'fails-502-once', 'fails-502-next', 'fails-504',
  'fails-504-once', 'fails-504-next', 'fails-html', 'fails-fallback',
  'busy-503', 'busy-503-once', 'busy-503-next', 'busy-529', 'busy-529-once',
  'busy-529-next', 'busy-late-next', 'key-401-other', 'key-401-next',
  'key-403-other', 'key-403-next', 'too-long-fallback', 'filtered-fallback',
  'gone-pausing',
]);
